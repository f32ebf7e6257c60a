"""Segments (spec TG-6): named sets of customers, and the frozen sets that campaigns target."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.conditions import (
    DEFAULT_LIMITS,
    Condition,
    InSegment,
    Leaf,
    Limits,
    SetOperation,
    SetOperator,
    Universe,
    all_of,
    any_of,
    no,
)
from services.tagging.domain.errors import (
    ListNotRefreshed,
    SegmentIsArchived,
    SegmentKindFixed,
    SegmentNotStatic,
)
from services.tagging.domain.refresh import REALTIME, Refresh


class SegmentKind(StrEnum):
    """Where the members of a segment come from."""

    STATIC = "STATIC"
    DYNAMIC = "DYNAMIC"
    DERIVED = "DERIVED"


@dataclass(frozen=True, slots=True)
class Definition:
    """A list kept by hand (neither is set), a condition, or a combination of sets."""

    condition: Condition | None = None
    operation: SetOperation | None = None

    @property
    def kind(self) -> SegmentKind:
        if self.condition is not None:
            return SegmentKind.DYNAMIC
        return SegmentKind.STATIC if self.operation is None else SegmentKind.DERIVED

    @property
    def expression(self) -> Condition | SetOperation | None:
        return self.condition or self.operation

    def leaves(self) -> Iterator[Leaf]:
        if self.expression is not None:
            yield from self.expression.leaves()

    def operands(self) -> list[UUID]:
        """The segments this one is made of."""
        return [it.segment for it in self.leaves() if isinstance(it, InSegment)]

    @property
    def one_condition(self) -> Condition | None:
        """The whole as one condition, of a combination too; None for a list."""
        if self.operation is None:
            return self.condition
        first, *rest = self.operation.operands
        match self.operation.operator:
            case SetOperator.UNION:
                return any_of(first, *rest)
            case SetOperator.INTERSECT:
                return all_of(first, *rest)
        return all_of(first, *map(no, rest))

    @property
    def live(self) -> bool:
        """Whether the members follow from facts, and are kept up to date: all but lists."""
        return self.kind is not SegmentKind.STATIC

    def placed(self) -> Iterator[tuple[str, Leaf]]:
        """The leaves with their paths from "definition" on."""
        if self.condition is not None:
            yield from self.condition.placed("definition.")
        elif self.operation is not None:
            for number, operand in enumerate(self.operation.operands):
                yield from operand.placed(f"definition.operands[{number}].")

    def check(self, limits: Limits = DEFAULT_LIMITS) -> None:
        """Raises ConditionTooComplex."""
        if self.expression is not None:
            self.expression.check(limits)


@dataclass(frozen=True, slots=True)
class Edition:
    """What a segment was made of from `at` on; None: it was archived then."""

    revision: int
    definition: Definition | None
    at: datetime
    refresh: Refresh = REALTIME


def with_fewer_leaves(fields: dict[str, Any]) -> None:
    """When there were only tags, layers, scores and segments, and then no channels, flows and messages: what a condition has besides
    is absent, and stays so."""


def in_real_time(fields: dict[str, Any]) -> None:
    """When all segments followed every fact and every instant."""
    fields["refresh"] = {"pace": "REALTIME", "minute": 0}


class Segment(Aggregate):
    """A named set of customers. A static one holds nodes, so that a merge or its undoing moves nothing."""

    TOPIC = "tagging.Segment"

    class Defined(InitialEvent):
        TOPIC = "tagging.SegmentDefined"
        class_version = 4
        upcast_v1_v2 = upcast_v2_v3 = staticmethod(with_fewer_leaves)
        upcast_v3_v4 = staticmethod(in_real_time)
        tenant: str
        name: str
        definition: Definition
        universe: Universe
        at: datetime
        refresh: Refresh

    class Updated(Event):
        TOPIC = "tagging.SegmentUpdated"
        class_version = 4
        upcast_v1_v2 = upcast_v2_v3 = staticmethod(with_fewer_leaves)
        upcast_v3_v4 = staticmethod(in_real_time)
        definition: Definition
        revision: int
        at: datetime
        refresh: Refresh

    class Archived(Event):
        """Nobody is in it any more."""

        TOPIC = "tagging.SegmentArchived"
        revision: int
        at: datetime

    class MembersAdded(Event):
        TOPIC = "tagging.SegmentMembersAdded"
        nodes: tuple[UUID, ...]

    class MembersRemoved(Event):
        TOPIC = "tagging.SegmentMembersRemoved"
        nodes: tuple[UUID, ...]

    @event(Defined)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        name: str,
        definition: Definition,
        universe: Universe,
        at: datetime,
        refresh: Refresh = REALTIME,
    ) -> None:
        self.tenant = tenant
        self.name = name
        self.definition = definition
        self.refresh = refresh
        self.universe = universe
        self.created_at = at
        self.updated_at = at
        self.revision = 1
        self.archived = False
        self.editions = [Edition(1, definition, at, refresh)]

    def edition(self, at: datetime) -> Edition | None:
        """What it was made of at an instant; None: it was not there yet."""
        return next((it for it in reversed(self.editions) if it.at <= at), None)

    def update(self, definition: Definition, refresh: Refresh, at: datetime) -> bool:
        """Be made of something else, which was checked, or be found anew more or less often; whether that changed anything.

        Raises SegmentIsArchived, SegmentKindFixed, ListNotRefreshed.
        """
        self._require_in_use()
        if definition.kind != self.definition.kind:
            raise SegmentKindFixed(kind=self.definition.kind)
        require_refreshed(definition, refresh)
        if (definition, refresh) == (self.definition, self.refresh):
            return False
        self._updated(definition=definition, revision=self.revision + 1, at=at, refresh=refresh)
        return True

    def add_members(self, nodes: Iterable[UUID]) -> None:
        """Raises SegmentIsArchived, SegmentNotStatic."""
        self.require_static()
        self._members_added(nodes=tuple(nodes))

    def remove_members(self, nodes: Iterable[UUID]) -> None:
        """Raises SegmentIsArchived, SegmentNotStatic."""
        self.require_static()
        self._members_removed(nodes=tuple(nodes))

    def archive(self, at: datetime) -> bool:
        """Have no members any more, for good; whether it had not been archived before."""
        if self.archived:
            return False
        self._archived(revision=self.revision + 1, at=at)
        return True

    def _require_in_use(self) -> None:
        if self.archived:
            raise SegmentIsArchived

    def require_static(self) -> None:
        self._require_in_use()
        if self.definition.kind is not SegmentKind.STATIC:
            raise SegmentNotStatic(kind=self.definition.kind)

    @event(Updated)
    def _updated(self, definition: Definition, revision: int, at: datetime, refresh: Refresh) -> None:
        self.definition = definition
        self.refresh = refresh
        self.updated_at = at
        self.revision = revision
        self.editions.append(Edition(revision, definition, at, refresh))

    @event(Archived)
    def _archived(self, revision: int, at: datetime) -> None:
        self.archived = True
        self.updated_at = at
        self.revision = revision
        self.editions.append(Edition(revision, None, at))

    @event(MembersAdded)
    def _members_added(self, nodes: tuple[UUID, ...]) -> None:
        """Members are kept as rows and bitmaps: a list of millions has no place in memory."""

    @event(MembersRemoved)
    def _members_removed(self, nodes: tuple[UUID, ...]) -> None:
        """See above."""


def require_refreshed(definition: Definition, refresh: Refresh) -> None:
    """Only what follows from facts is found anew. Raises ListNotRefreshed."""
    if not refresh.realtime and not definition.live:
        raise ListNotRefreshed(field="refresh")


class SegmentName(Aggregate):
    """The claim of a segment to its name."""

    TOPIC = "tagging.SegmentName"

    class Claimed(InitialEvent):
        TOPIC = "tagging.SegmentNameClaimed"
        tenant: str
        segment: UUID

    @event(Claimed)
    def __init__(self, id: UUID, tenant: str, segment: UUID) -> None:
        self.tenant = tenant
        self.segment = segment

    @classmethod
    def id_of(cls, tenant: str, name: str) -> UUID:
        return natural_id(tenant, "segment_name", name)


class Snapshot(Aggregate):
    """The members a segment had at one moment, frozen."""

    TOPIC = "tagging.SegmentSnapshot"

    class Taken(InitialEvent):
        TOPIC = "tagging.SegmentSnapshotTaken"
        tenant: str
        segment: UUID
        size: int
        digest: str
        at: datetime

    @event(Taken)
    def __init__(self, id: UUID, tenant: str, segment: UUID, size: int, digest: str, at: datetime) -> None:
        self.tenant = tenant
        self.segment = segment
        self.size = size
        self.digest = digest
        self.taken_at = at
