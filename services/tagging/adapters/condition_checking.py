"""Whether a definition would be kept: by the limits and words of the caller's tenant."""

from dataclasses import replace

from chassis import context as contexts
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.read_models import ReadModels
from services.tagging.adapters.tag_methods import settings_of_tenant
from services.tagging.application.condition_commands import tag_words
from services.tagging.domain.conditions import DEFAULT_LIMITS, AttributeTest, Limits
from services.tagging.domain.conditions.checking import check_words
from services.tagging.domain.conditions.dimensions import BUILT_IN
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.segments import Definition
from services.tagging.domain.taxonomy import Taxonomy, taxonomy_id
from services.tagging.domain.tenant_settings import TenantSettings, settings_id
from services.tagging.read_models import vocabularies


async def check(definition: Definition, bus: CommandBus, read_models: ReadModels) -> None:
    """Refuse a definition as it would be when it is kept."""
    tenant = contexts.current().tenant
    found = await bus.load_all((settings_id(tenant), taxonomy_id(tenant)))
    settings, taxonomy = found.get(settings_id(tenant)), found.get(taxonomy_id(tenant))
    definition.check(settings.limits if isinstance(settings, TenantSettings) else DEFAULT_LIMITS)
    words = Vocabulary(tags=tag_words(taxonomy if isinstance(taxonomy, Taxonomy) else None))
    placed = list(definition.placed())
    if any(isinstance(leaf, AttributeTest) and leaf.key not in BUILT_IN for _, leaf in placed):
        words = replace(words, attributes=(await _attributes(tenant, read_models)).attributes)
    check_words(placed, words)


async def limits_of_tenant(bus: CommandBus) -> Limits:
    settings = await settings_of_tenant(bus)
    return settings.limits if settings else DEFAULT_LIMITS


async def vocabulary_of_tenant(bus: CommandBus, read_models: ReadModels) -> Vocabulary:
    tenant = contexts.current().tenant
    try:
        taxonomy = await bus.load(Taxonomy, taxonomy_id(tenant))
    except AggregateNotFound:
        taxonomy = None
    return replace(await _attributes(tenant, read_models), tags=tag_words(taxonomy))


async def _attributes(tenant: str, read_models: ReadModels) -> Vocabulary:
    return await read_models.query(lambda rows: vocabularies.vocabulary(rows, tenant))
