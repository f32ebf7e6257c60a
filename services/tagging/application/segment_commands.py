"""Commands on segments: define them, keep lists by hand, combine sets, freeze members."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.errors import VersionConflict
from services.tagging.application.condition_commands import check_definition
from services.tagging.application.ports import Audiences, Customer
from services.tagging.application.refresh_commands import refresh_segment_later
from services.tagging.domain.conditions import SetOperation, Universe
from services.tagging.domain.errors import NameTaken, SegmentInUse, SegmentIsArchived, SegmentNotFound
from services.tagging.domain.refresh import REALTIME, Refresh
from services.tagging.domain.segment_cycles import require_no_cycle
from services.tagging.domain.segments import Definition, Segment, SegmentName, Snapshot, require_refreshed


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """A segment and how many customers are in it now."""

    id: UUID
    segment: Segment
    size: int


@dataclass(frozen=True, slots=True)
class CreateSegment:
    """Define a segment under a name of its own."""

    name: str
    definition: Definition
    universe: Universe
    refresh: Refresh = REALTIME


def create_segment(command: CreateSegment, work: UnitOfWork, audiences: Audiences) -> SegmentResult:
    tenant = work.context.tenant
    id, name = work.new_id(), SegmentName.id_of(tenant, command.name)
    if work.find(SegmentName, name) is not None:
        raise NameTaken(field="display_name")
    require_refreshed(command.definition, command.refresh)
    _check(id, command.definition, work, audiences)
    audiences.lock(work)
    segment = Segment(id, tenant, command.name, command.definition, command.universe, work.now, command.refresh)
    work.add(segment)
    work.add(SegmentName(name, tenant, id))
    audiences.keep_segment(work, id, segment)  # raises what the definition speaks of and is not found
    refresh_segment_later(work, id, segment, audiences)
    return SegmentResult(id, segment, audiences.size(work, id))


@dataclass(frozen=True, slots=True)
class UpdateSegment:
    """Change what a segment is made of, and how often it is found anew unless `refresh` is None; with a `revision`, only if that is
    the one it has."""

    segment_id: UUID
    definition: Definition
    revision: int | None
    refresh: Refresh | None = None


def update_segment(command: UpdateSegment, work: UnitOfWork, audiences: Audiences) -> SegmentResult:
    segment = segment_of(work, command.segment_id)
    if command.revision not in (None, segment.revision):
        raise VersionConflict("the segment has changed", field="etag")
    _check(command.segment_id, command.definition, work, audiences)
    audiences.lock(work)
    if segment.update(command.definition, command.refresh or segment.refresh, work.now):
        audiences.keep_segment(work, command.segment_id, segment)
        refresh_segment_later(work, command.segment_id, segment, audiences)
    return SegmentResult(command.segment_id, segment, audiences.size(work, command.segment_id))


class MemberOutcome(Enum):
    """What became of one change of a static segment."""

    CHANGED = auto()
    UNCHANGED = auto()
    NOT_FOUND = auto()
    ERASED = auto()


@dataclass(frozen=True, slots=True)
class MemberChange:
    """Add a customer, or remove it."""

    add: bool
    customer_id: UUID


@dataclass(frozen=True, slots=True)
class UpdateStaticMembers:
    """Add customers to a static segment or remove them, in this order."""

    segment_id: UUID
    changes: Sequence[MemberChange]


@dataclass(frozen=True, slots=True)
class MembersResult:
    """Outcome and customer of each change, and the size of the segment."""

    outcomes: Sequence[tuple[MemberOutcome, UUID | None]]
    size: int


def update_static_members(command: UpdateStaticMembers, work: UnitOfWork, audiences: Audiences) -> MembersResult:
    segment = segment_of(work, command.segment_id)
    segment.require_static()
    audiences.lock(work)
    customers = audiences.customers(work, {it.customer_id for it in command.changes})
    listed = audiences.listed(work, command.segment_id, {it.id for it in customers.values()})
    erased = audiences.erased(work, {it.customer_id for it in command.changes} - customers.keys())
    wanted = dict.fromkeys(listed, True)
    outcomes: list[tuple[MemberOutcome, UUID | None]] = []
    for it in command.changes:
        customer = customers.get(it.customer_id)
        if customer is None:
            gone = MemberOutcome.ERASED if it.customer_id in erased else MemberOutcome.NOT_FOUND
            outcomes.append((gone, None))
        elif wanted.get(customer.id, False) == it.add:
            outcomes.append((MemberOutcome.UNCHANGED, customer.id))
        else:
            wanted[customer.id] = it.add
            outcomes.append((MemberOutcome.CHANGED, customer.id))
    by_id = {it.id: it for it in customers.values()}
    added = [by_id[id] for id, member in wanted.items() if member and id not in listed]
    removed = [(node, by_id[id]) for id, member in wanted.items() if not member for node in listed.get(id, ())]
    _keep_members(segment, added, removed, command.segment_id, work, audiences)
    return MembersResult(outcomes, audiences.size(work, command.segment_id))


def _keep_members(
    segment: Segment,
    added: Sequence[Customer],
    removed: Sequence[tuple[UUID, Customer]],
    id: UUID,
    work: UnitOfWork,
    audiences: Audiences,
) -> None:
    if added:
        segment.add_members(it.id for it in added)
    if removed:
        segment.remove_members(node for node, _ in removed)
    if added or removed:
        audiences.keep_listed(work, id, added, removed)


@dataclass(frozen=True, slots=True)
class ComputeSetOperation:
    """Combine sets; with a name, keep the combination as a derived segment."""

    operation: SetOperation
    universe: Universe
    save_as: str


@dataclass(frozen=True, slots=True)
class Computed:
    """How many customers, and the segment made of them, if one was asked for."""

    count: int
    saved: SegmentResult | None


def compute_set_operation(command: ComputeSetOperation, work: UnitOfWork, audiences: Audiences) -> Computed:
    definition = Definition(operation=command.operation)
    if command.save_as:
        wanted = CreateSegment(command.save_as, definition, command.universe)
        saved = create_segment(wanted, work, audiences)
        return Computed(saved.size, saved)
    check_definition(definition, work, audiences)
    return Computed(audiences.count(work, definition, command.universe), None)


@dataclass(frozen=True, slots=True)
class ArchiveSegment:
    """Have a segment without members, for good; with a `revision`, only if that is the one it has."""

    segment_id: UUID
    revision: int | None


def archive_segment(command: ArchiveSegment, work: UnitOfWork, audiences: Audiences) -> SegmentResult:
    segment = segment_of(work, command.segment_id)
    if command.revision not in (None, segment.revision):
        raise VersionConflict("the segment has changed", field="etag")
    audiences.lock(work)
    if users := audiences.used_by(work, command.segment_id):
        raise SegmentInUse(segments=",".join(map(str, sorted(users))))
    if segment.archive(work.now):
        audiences.keep_segment(work, command.segment_id, segment)
        refresh_segment_later(work, command.segment_id, segment, audiences)
    return SegmentResult(command.segment_id, segment, 0)


@dataclass(frozen=True, slots=True)
class SnapshotSegment:
    """Freeze the members a segment has now."""

    segment_id: UUID


def snapshot_segment(command: SnapshotSegment, work: UnitOfWork, audiences: Audiences) -> tuple[UUID, Snapshot]:
    segment_of(work, command.segment_id)
    audiences.lock(work)
    id = work.new_id()
    size, digest = audiences.freeze(work, command.segment_id, id)
    snapshot = Snapshot(id, work.context.tenant, command.segment_id, size, digest, work.now)
    work.add(snapshot)
    return id, snapshot


def segment_of(work: UnitOfWork, id: UUID) -> Segment:
    """Raises SegmentNotFound."""
    segment = work.find(Segment, id)
    if segment is None:
        raise SegmentNotFound(field="segment_id")
    return segment


def _check(id: UUID, definition: Definition, work: UnitOfWork, audiences: Audiences) -> None:
    """Raises what `check_definition` does, SegmentCycle, SegmentNotFound, SegmentIsArchived."""
    check_definition(definition, work, audiences)

    def load(ids: set[UUID]) -> dict[UUID, Segment]:
        found = work.find_all(Segment, ids)
        if len(found) < len(ids):
            raise SegmentNotFound(field="definition")
        if any(it.archived for it in found.values()):
            raise SegmentIsArchived(field="definition")
        return found

    require_no_cycle(id, definition, load)
