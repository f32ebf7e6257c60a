"""Registering groups, and taking in who is in them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.errors import FutureTimestamp
from services.tracking.domain.group import (
    Change,
    CommunityGroup,
    GroupMembership,
    GroupTerms,
    group_key,
    membership_key,
)

FUTURE_TOLERANCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class UpsertGroup:
    """`tenant` is that of the caller, as below."""

    tenant: str
    group_id: str
    terms: GroupTerms


@dataclass(frozen=True, slots=True)
class RecordGroupMembership:
    """The person of `node` joined or left."""

    tenant: str
    group_id: str
    node: UUID
    change: Change
    at: datetime


@dataclass(frozen=True, slots=True)
class GroupFact:
    """A behaviour in a group: a change, or (None) taking part."""

    change: Change | None
    at: datetime


@dataclass(frozen=True, slots=True)
class RecordGroupFacts:
    """What the person of `node` did in a group, in the order in which it became known."""

    tenant: str
    group_id: str
    node: UUID
    facts: tuple[GroupFact, ...]


def upsert_group(command: UpsertGroup, work: UnitOfWork) -> CommunityGroup:
    id = group_key(work.context.tenant, command.group_id)
    group = work.find(CommunityGroup, id)
    if group is None:
        group = CommunityGroup(id, work.context.tenant, command.group_id, command.terms)
        work.add(group)
    group.change(command.terms)
    return group


def record_group_membership(command: RecordGroupMembership, work: UnitOfWork) -> GroupMembership:
    """Raises FutureTimestamp."""
    if command.at > work.now + FUTURE_TOLERANCE:
        raise FutureTimestamp(field="change_time")
    membership = _membership(command.group_id, command.node, work)
    membership.move(command.change, command.at)
    return membership


def record_group_facts(command: RecordGroupFacts, work: UnitOfWork) -> None:
    membership = _membership(command.group_id, command.node, work)
    for fact in command.facts:
        if fact.change is None:
            membership.take_part(fact.at)
        else:
            membership.move(fact.change, fact.at)


def _membership(group_id: str, node: UUID, work: UnitOfWork) -> GroupMembership:
    id = membership_key(work.context.tenant, group_id, node)
    found = work.find(GroupMembership, id)
    if found is None:
        found = GroupMembership(id, work.context.tenant, group_id, node)
        work.add(found)
    return found


HANDLERS: Final[Handlers] = (
    handler(UpsertGroup, upsert_group, loads=lambda it: [group_key(it.tenant, it.group_id)]),
    handler(
        RecordGroupMembership,
        record_group_membership,
        loads=lambda it: [membership_key(it.tenant, it.group_id, it.node)],
    ),
    handler(RecordGroupFacts, record_group_facts, loads=lambda it: [membership_key(it.tenant, it.group_id, it.node)]),
)
