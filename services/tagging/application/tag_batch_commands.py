"""Commands that tag many customers at once: some by their ids, all of a segment, or row by row from a file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from chassis.errors import DomainError
from services.tagging.application.ports import Audiences, Customer
from services.tagging.application.segment_commands import SnapshotSegment, snapshot_segment
from services.tagging.application.standing import Case, cases, conclude
from services.tagging.application.tag_commands import BY_HAND, Giver, Giving, note_given, within_stores
from services.tagging.domain.errors import CustomerErased, CustomerNotFound, SnapshotNotFound, StaffScope
from services.tagging.domain.segments import Snapshot
from services.tagging.domain.tag_batches import Counts, TagBatch
from services.tagging.domain.tag_definitions import TagDefinition

ADVANCE_BATCH: Final = "advance_tag_batch"
"""Kind of the timer that takes a batch on by one page."""

_PAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One tag for one customer."""

    customer_id: UUID
    tag: str
    value: str


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of a row: an error, or whether anything changed; `customer` as known now."""

    customer: UUID | None
    changed: bool = False
    error: DomainError | None = None


@dataclass(frozen=True, slots=True)
class GiveRows:
    """Give tags row by row: what one refuses, the others do not mind."""

    rows: Sequence[Row]
    giver: Giver = BY_HAND


def give_rows(command: GiveRows, work: UnitOfWork, audiences: Audiences) -> list[RowOutcome]:
    audiences.lock(work)
    giving = Giving.of(work, command.giver)
    people = _People.of(work, audiences, [it.customer_id for it in command.rows], work.context.stores)
    outcomes: list[RowOutcome] = []
    for row in command.rows:
        customer = people.customers.get(row.customer_id)
        try:
            case = people.case(row.customer_id)
            changed = giving.give(case, [giving.accept(row.tag, row.value)])
            outcomes.append(RowOutcome(case.tags.customer, changed))
        except DomainError as refusal:
            outcomes.append(RowOutcome(customer.id if customer else None, error=refusal))
    people.conclude(work, audiences)
    return outcomes


@dataclass(frozen=True, slots=True)
class StartTagBatch:
    """Give tags to everybody who is in a segment now, or was when a snapshot was taken."""

    tags: Sequence[tuple[str, str]]
    segment_id: UUID | None = None
    snapshot_id: UUID | None = None
    giver: Giver = BY_HAND


def start_tag_batch(command: StartTagBatch, work: UnitOfWork, audiences: Audiences) -> tuple[UUID, TagBatch]:
    audiences.lock(work)
    giving = Giving.of(work, command.giver)
    wanted = tuple((tag, giving.accept(tag, value)[1]) for tag, value in command.tags)
    if command.segment_id is not None:
        snapshot, taken = snapshot_segment(SnapshotSegment(command.segment_id), work, audiences)
    else:
        snapshot = command.snapshot_id or UUID(int=0)
        found = work.find(Snapshot, snapshot)
        if found is None:
            raise SnapshotNotFound(field="snapshot_id")
        taken = found
    id = work.new_id()
    stores = None if work.context.stores is None else tuple(sorted(work.context.stores))
    batch = TagBatch(id, work.context.tenant, snapshot, wanted, taken.size, giving.source, stores, work.now)
    work.add(batch)
    _advance(id, batch, giving, work, audiences)
    return id, batch


@dataclass(frozen=True, slots=True)
class AdvanceTagBatch:
    """Tag the next customers of a batch."""

    batch_id: UUID
    reason: str


def advance_tag_batch(command: AdvanceTagBatch, work: UnitOfWork, audiences: Audiences) -> None:
    batch = work.find(TagBatch, command.batch_id)
    if batch is not None and not batch.done:
        audiences.lock(work)
        _advance(command.batch_id, batch, Giving.by(work, batch.source, command.reason), work, audiences)


def _advance(id: UUID, batch: TagBatch, giving: Giving, work: UnitOfWork, audiences: Audiences) -> None:
    """Tag one page, and come back for the next."""
    members = audiences.members(work, batch.snapshot)
    page = list(members[members.rank(batch.reached) if batch.reached >= 0 else 0 :][:_PAGE])
    nodes = audiences.by_ordinal(work, page)
    people = _People.of(work, audiences, [node for _, node, _ in nodes], batch.stores)
    counts = Counts()
    tags: list[tuple[TagDefinition, str]] = [(giving.definition(tag), value) for tag, value in batch.tags]
    seen: set[UUID] = set()
    for _, node, _ in nodes:
        try:
            case = people.case(node)
            if case.tags.customer in seen:
                continue
            seen.add(case.tags.customer)
            changed = giving.give(case, tags)
        except DomainError as refusal:
            counts.skip(refusal.reason)
        else:
            counts.assigned += changed
            counts.unchanged += not changed
    people.conclude(work, audiences)
    done = not page or page[-1] == members.max()
    batch.advance(page[-1] if page else batch.reached, counts, done, work.now)
    if not done:
        work.schedule(
            Timer(ADVANCE_BATCH, f"{id}:{batch.reached}", work.now, {"batch": str(id), "reason": giving.reason})
        )


class _People:
    """Customers at hand by whatever node named them, and who may not be tagged."""

    def __init__(
        self, customers: Mapping[UUID, Customer], found: Mapping[UUID, Case], erased: set[UUID], bound: bool
    ) -> None:
        self.customers = customers
        self._cases = found
        self._erased = erased
        self._bound = bound

    @classmethod
    def of(
        cls, work: UnitOfWork, audiences: Audiences, named: Sequence[UUID], stores: Collection[UUID] | None
    ) -> "_People":
        customers = audiences.customers(work, named)
        missing = [it for it in named if it not in customers]
        erased = audiences.erased(work, missing) if missing else set[UUID]()
        everybody = list({it.id: it for it in customers.values()}.values())
        allowed = within_stores(work, audiences, everybody, stores)
        found = cases(work, audiences, {it.id: it.ordinal for it in everybody if it.id in allowed})
        return cls(customers, found, erased, stores is not None)

    def case(self, named: UUID) -> Case:
        """Raises CustomerNotFound, CustomerErased, StaffScope."""
        customer = self.customers.get(named)
        if self._bound and (customer is None or customer.id not in self._cases):
            raise StaffScope(field="customer_id")
        if customer is None:
            raise (
                CustomerErased(field="customer_id") if named in self._erased else CustomerNotFound(field="customer_id")
            )
        return self._cases[customer.id]

    def conclude(self, work: UnitOfWork, audiences: Audiences) -> None:
        """Keep what was changed."""
        done = list(self._cases.values())
        note_given(work, audiences, [it for it in done if it.tags.pending_events])
        changes = conclude(work, done)
        if changes:
            audiences.retag(work, changes, BitMap())
