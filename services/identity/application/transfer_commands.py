"""Customers go to another guide: a transfer is asked for, and then carried out chunk by chunk as its timer goes off."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.due_times import Timer
from services.identity.application.guides import portfolio_of
from services.identity.application.org_commands import visible_staff
from services.identity.application.owners import canonical, fetch_owners
from services.identity.domain.errors import SameStaff
from services.identity.domain.portfolios import PARTS, Portfolio, portfolio_id
from services.identity.domain.relationships import Relationship, relationship_id
from services.identity.domain.staff import Staff
from services.identity.domain.transfers import CHUNK, Transfer, TransferState

TRANSFER_DUE: Final = "transfer"
"""Kind of the timer that carries out the next chunk."""


@dataclass(frozen=True, slots=True)
class TransferCustomers:
    """Customers of one member of staff (None: all) are a colleague's from `effective_at` on (None: now)."""

    from_staff: UUID
    to_staff: UUID
    customers: tuple[UUID, ...] | None
    reason: str
    effective_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AdvanceTransfer:
    """Hand over the next chunk."""

    transfer: UUID


def transfer_customers(command: TransferCustomers, work: UnitOfWork) -> Transfer:
    """Raises SameStaff, StoreScope, StaffNotFound and StaffInactive (for the colleague)."""
    visible_staff(work, command.from_staff, "from_staff_id")
    if command.from_staff == command.to_staff:
        raise SameStaff(field="to_staff_id")
    visible_staff(work, command.to_staff, "to_staff_id").require_active("to_staff_id")
    at = max(work.now, command.effective_at or work.now)
    transfer = Transfer(
        work.new_id(),
        work.context.tenant,
        command.from_staff,
        command.to_staff,
        None if command.customers is None else tuple(dict.fromkeys(command.customers)),
        command.reason,
        at,
    )
    work.add(transfer)
    _schedule(work, transfer, at)
    return transfer


def advance_transfer(command: AdvanceTransfer, work: UnitOfWork) -> Transfer:
    """The transfer with one more chunk done; nothing happens to one that has ended, or is not due."""
    transfer = work.get(Transfer, command.transfer)
    if transfer.state is not TransferState.RUNNING or work.now < transfer.effective_at:
        return transfer
    staff = work.get(Staff, transfer.to_staff)
    if not staff.is_active:
        transfer.end(TransferState.STOPPED, work.now)
        return transfer
    done = _advance_all(work, transfer, staff) if transfer.customers is None else _advance_list(work, transfer, staff)
    if done:
        transfer.end(TransferState.FINISHED, work.now)
    else:
        _schedule(work, transfer, work.now)
    return transfer


def _schedule(work: UnitOfWork, transfer: Transfer, at: datetime) -> None:
    """A timer of its own for each step: the one that goes off now is removed when this commits."""
    work.schedule(Timer(TRANSFER_DUE, f"{transfer.id}/{transfer.steps}", at, {"transfer": str(transfer.id)}))


def _advance_all(work: UnitOfWork, transfer: Transfer, staff: Staff) -> bool:
    """Hand over up to a chunk of the portfolio; whether that was the end of it."""
    nodes: list[UUID] = []
    part = transfer.position
    while part < PARTS:
        portfolio = work.find(Portfolio, portfolio_id(transfer.tenant, transfer.from_staff, part))
        held = sorted(portfolio.nodes) if portfolio else []
        room = CHUNK - len(nodes)
        nodes += held[:room]
        if len(held) > room:
            break
        part += 1
    moved = _hand_over(work, transfer, staff, nodes)
    transfer.advance(part, moved, 0)
    return part == PARTS


def _advance_list(work: UnitOfWork, transfer: Transfer, staff: Staff) -> bool:
    """Hand over up to a chunk of the customers listed; whether that was the end of the list."""
    listed = transfer.customers or ()
    chunk = listed[transfer.position : transfer.position + CHUNK]
    fetch_owners(work, chunk)
    moved = skipped = 0
    for id in chunk:
        customer = canonical(work, id)
        handed_over = _hand_over(work, transfer, staff, customer.nodes if customer else ())
        moved += handed_over
        skipped += handed_over == 0
    position = transfer.position + len(chunk)
    transfer.advance(position, moved, skipped)
    return position == len(listed)


def _hand_over(work: UnitOfWork, transfer: Transfer, staff: Staff, nodes: Collection[UUID]) -> int:
    """Give those of `nodes` that are the first one's to the colleague; how many they were."""
    ids = [relationship_id(transfer.tenant, it) for it in nodes]
    theirs = [it for it in work.find_all(Relationship, ids).values() if it.guide == transfer.from_staff]
    for it in theirs:
        portfolio_of(work, transfer.from_staff, it.node).remove(it.node)
        it.transfer(staff, transfer.reason, work.now)
        portfolio_of(work, staff.id, it.node).add(it.node)
    return len(theirs)


def transfer_due(timer: Timer) -> AdvanceTransfer:
    """What to do when the timer of a transfer goes off."""
    return AdvanceTransfer(UUID(timer.payload["transfer"]))


TRANSFER_HANDLERS: Final[Handlers] = (
    handler(TransferCustomers, transfer_customers, loads=lambda command: (command.from_staff, command.to_staff)),
    handler(AdvanceTransfer, advance_transfer, loads=lambda command: (command.transfer,)),
)
