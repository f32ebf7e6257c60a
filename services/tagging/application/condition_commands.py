"""What conditions are held to before they are kept, and how large a tenant allows them to be (spec TG-4)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Audiences
from services.tagging.application.standing import taxonomy_of
from services.tagging.domain.conditions import DEFAULT_LIMITS, Limits
from services.tagging.domain.conditions.checking import check_words
from services.tagging.domain.conditions.vocabulary import TagWord
from services.tagging.domain.segments import Definition
from services.tagging.domain.tag_definitions import TagStatus, ValueMode
from services.tagging.domain.taxonomy import Taxonomy
from services.tagging.domain.tenant_settings import TenantSettings, settings_id


@dataclass(frozen=True, slots=True)
class UpdateConditionLimits:
    """Allow conditions of so many leaves, nested so deep."""

    leaves: int
    depth: int


def update_condition_limits(command: UpdateConditionLimits, work: UnitOfWork) -> Limits:
    tenant = work.context.tenant
    settings = work.find(TenantSettings, settings_id(tenant))
    if settings is None:
        settings = TenantSettings(settings_id(tenant), tenant)
        work.add(settings)
    settings.limit_conditions(command.leaves, command.depth, work.now)
    return settings.limits


def check_definition(definition: Definition, work: UnitOfWork, audiences: Audiences) -> None:
    """Raises ConditionTooComplex, and what `check_words` does, with the path of the leaf."""
    settings = work.find(TenantSettings, settings_id(work.context.tenant))
    definition.check(settings.limits if settings else DEFAULT_LIMITS)
    placed = list(definition.placed())
    if placed:
        check_words(placed, replace(audiences.vocabulary(work), tags=tag_words(taxonomy_of(work))))


def tag_words(taxonomy: Taxonomy | None) -> Mapping[str, TagWord]:
    """What conditions must know of the tags that are defined. Customers are told apart by chosen values only."""
    return {
        key: TagWord(
            archived=it.status is not TagStatus.ACTIVE,
            values=None if it.mode is ValueMode.UNDECLARED else frozenset(it.values),
        )
        for key, it in (taxonomy.tags if taxonomy else {}).items()
    }
