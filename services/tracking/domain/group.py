"""Community groups (TR-8): who is in them, from facts in any order of arrival.

Every fact is kept; whether somebody is a member at some time is what the last fact before it says.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id

PARTICIPATIONS: Final = frozenset({"group_message_sent", "activity_joined", "checkin", "link_clicked"})
"""What members do in a group, where it says in which."""


class Change(StrEnum):
    """What happened to a membership."""

    JOINED = "JOINED"
    LEFT = "LEFT"


@dataclass(frozen=True, slots=True)
class GroupTerms:
    """Who looks after a group, and for which store; empty where nothing is said."""

    owner_staff: str
    store: str


class CommunityGroup(Aggregate):
    """One group, known by the id that its platform gives it."""

    TOPIC = "tracking.CommunityGroup"

    class Registered(InitialEvent):
        TOPIC = "tracking.GroupRegistered"
        tenant: str
        group_id: str
        terms: GroupTerms

    class Changed(Event):
        TOPIC = "tracking.GroupChanged"
        group_id: str
        terms: GroupTerms

    @event(Registered)
    def __init__(self, id: UUID, tenant: str, group_id: str, terms: GroupTerms) -> None:
        self.tenant = tenant
        self.group_id = group_id
        self.terms = terms

    def change(self, terms: GroupTerms) -> None:
        if terms != self.terms:
            self._changed(self.group_id, terms)

    @event(Changed)
    def _changed(self, group_id: str, terms: GroupTerms) -> None:
        self.terms = terms


class GroupMembership(Aggregate):
    """What is known of one node in one group."""

    TOPIC = "tracking.GroupMembership"

    class Begun(InitialEvent):
        TOPIC = "tracking.GroupMembershipBegun"
        tenant: str
        group_id: str
        node: UUID

    class Moved(Event):
        """The person joined or left; `inferred` if only because somebody took part who was not known to be in it."""

        TOPIC = "tracking.GroupMembershipChanged"
        group_id: str
        node: UUID
        change: Change
        inferred: bool
        moved_at: datetime

    @event(Begun)
    def __init__(self, id: UUID, tenant: str, group_id: str, node: UUID) -> None:
        self.tenant = tenant
        self.group_id = group_id
        self.node = node
        self.moves: set[tuple[datetime, Change]] = set()

    @property
    def is_in(self) -> bool:
        """Whether the person is in the group, by the last that is known."""
        return bool(self.moves) and max(self.moves, key=_order)[1] is Change.JOINED

    def is_member(self, at: datetime) -> bool:
        """Whether the person is in the group just after `at`; who leaves and joins at once has joined."""
        before = [it for it in self.moves if it[0] <= at]
        return bool(before) and max(before, key=_order)[1] is Change.JOINED

    def move(self, change: Change, at: datetime) -> None:
        if (at, change) not in self.moves:
            self._moved(self.group_id, self.node, change, False, at)

    def take_part(self, at: datetime) -> None:
        """Whoever takes part is in the group."""
        if not self.is_member(at):
            self._moved(self.group_id, self.node, Change.JOINED, True, at)

    @event(Moved)
    def _moved(self, group_id: str, node: UUID, change: Change, inferred: bool, moved_at: datetime) -> None:
        self.moves.add((moved_at, Change(change)))


def group_key(tenant: str, group_id: str) -> UUID:
    """The id of the one group with this id of its own."""
    return natural_id(tenant, "community group", group_id)


def membership_key(tenant: str, group_id: str, node: UUID) -> UUID:
    """The id of the membership of a node in a group."""
    return natural_id(tenant, "group membership", group_id, node)


def _order(move: tuple[datetime, Change]) -> tuple[datetime, bool]:
    return move[0], move[1] is Change.JOINED
