"""Whether a definition would be kept: by the limits and words of the caller's tenant."""

import asyncio
from dataclasses import replace

from chassis import context as contexts
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.read_models import ReadModels
from services.tagging.adapters.tag_methods import settings_of_tenant
from services.tagging.application.condition_commands import tag_words
from services.tagging.domain.conditions import DEFAULT_LIMITS, Limits
from services.tagging.domain.conditions.checking import check_words
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.segments import Definition
from services.tagging.domain.taxonomy import Taxonomy, taxonomy_id
from services.tagging.read_models import vocabularies


async def check(definition: Definition, bus: CommandBus, read_models: ReadModels) -> None:
    """Refuse a definition as it would be when it is kept."""
    limits, words = await asyncio.gather(limits_of_tenant(bus), vocabulary_of_tenant(bus, read_models))
    definition.check(limits)
    check_words(definition.placed(), words)


async def limits_of_tenant(bus: CommandBus) -> Limits:
    settings = await settings_of_tenant(bus)
    return settings.limits if settings else DEFAULT_LIMITS


async def vocabulary_of_tenant(bus: CommandBus, read_models: ReadModels) -> Vocabulary:
    tenant = contexts.current().tenant
    taxonomy, words = await asyncio.gather(
        _taxonomy(tenant, bus), read_models.query(lambda rows: vocabularies.vocabulary(rows, tenant))
    )
    return replace(words, tags=tag_words(taxonomy))


async def _taxonomy(tenant: str, bus: CommandBus) -> Taxonomy | None:
    try:
        return await bus.load(Taxonomy, taxonomy_id(tenant))
    except AggregateNotFound:
        return None
