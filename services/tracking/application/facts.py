"""The facts behind behaviours: which commands record them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.tracking.application.channel_commands import RecordTouches
from services.tracking.application.group_commands import GroupFact, RecordGroupFacts
from services.tracking.domain.group import PARTICIPATIONS, Change
from services.tracking.domain.touches import CONTACTS, Touch

CHANGES: Final[Mapping[str, Change]] = {"group_joined": Change.JOINED, "group_left": Change.LEFT}


@dataclass(frozen=True, slots=True)
class BehaviourFact:
    """A behaviour of which more is to be recorded than that it happened."""

    position: int
    tenant: str
    node: UUID
    event_type: str
    occurred_at: datetime
    app: str
    code_key: str
    staff: str
    group_id: str
    properties: Mapping[str, Any]


def commands_of(facts: Sequence[BehaviourFact]) -> list[tuple[str, Any]]:
    """With each command its tenant: one for each node, and for each of its groups, in the order in which behaviours came."""
    touches: dict[tuple[str, UUID], list[Touch]] = {}
    in_groups: dict[tuple[str, str, UUID], list[GroupFact]] = {}
    for it in facts:
        if it.event_type in CONTACTS:
            touches.setdefault((it.tenant, it.node), []).append(_touch(it))
        if it.event_type in CHANGES or (it.group_id and it.event_type in PARTICIPATIONS):
            fact = GroupFact(CHANGES.get(it.event_type), it.occurred_at)
            in_groups.setdefault((it.tenant, it.group_id, it.node), []).append(fact)
    return [
        *((tenant, RecordTouches(tenant, node, tuple(found))) for (tenant, node), found in touches.items()),
        *((key[0], RecordGroupFacts(*key, tuple(found))) for key, found in in_groups.items()),
    ]


def _touch(fact: BehaviourFact) -> Touch:
    is_new = fact.properties.get("is_new_follow") is True
    return Touch(fact.event_type, fact.code_key, fact.app, fact.staff, fact.occurred_at, is_new)
