"""Points: the double-entry ledger, the lots, and the balances, three views that must add up to the same.

Every entry moves points from one side to another (`ISSUED`, `LOTS`, `BURNED`, `EXPIRED`, `REVERSED`, `DEBT`, `FORFEITED`), or to and
from another account (`TRANSFERRED`), when customers become one or two. The account of somebody who is erased keeps its entries, and
names nobody. Entries stay in the account they were made in. What they
leave on the side LOTS is what the lots hold, on the side DEBT what is owed; `accounts_that_do_not_add_up` compares.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.membership.domain.lots import Allocation, Lot
from services.membership.domain.points_account import PointsAccount
from services.membership.read_models import points_writing as writing

tables: Final = sa.MetaData()

ledger: Final = sa.Table(
    "points_ledger",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("account", sa.Uuid, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("line", sa.Integer, primary_key=True),
    sa.Column("debit", sa.Text, nullable=False),
    sa.Column("credit", sa.Text, nullable=False),
    sa.Column("points", sa.BigInteger, nullable=False),
    sa.Column("lot", sa.Uuid, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("effect_at", sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("points > 0", name="points_ledger_points"),
    sa.CheckConstraint("debit <> credit", name="points_ledger_sides"),
)
lots: Final = sa.Table(
    "points_lot",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("account", sa.Uuid, nullable=False),
    sa.Column("lot", sa.Uuid, primary_key=True),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("granted", sa.BigInteger, nullable=False),
    sa.Column("remaining", sa.BigInteger, nullable=False),
    sa.Column("active_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expire_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("remaining BETWEEN 0 AND granted", name="points_lot_remaining"),
    sa.Index("points_lot_account", "tenant", "account"),
)
balances: Final = sa.Table(
    "points_balance",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("account", sa.Uuid, primary_key=True),
    sa.Column("customer", sa.Uuid, nullable=False),
    sa.Column("remaining", sa.BigInteger, nullable=False),
    sa.Column("debt", sa.BigInteger, nullable=False),
    sa.Column("handed_over", sa.Boolean, nullable=False),
    sa.CheckConstraint("remaining >= 0", name="points_balance_remaining"),
    sa.CheckConstraint("debt >= 0", name="points_balance_debt"),
)

Row = dict[str, Any]
Account = tuple[str, UUID]


class PointsProjection:
    """Keeps the three tables; a batch is gathered in memory and written with a few statements."""

    name = "points"
    version = 3
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        gathered = _Gathered()
        for it in items:
            match it.event:
                case PointsAccount.Opened(customer=customer):
                    gathered.opened.append(_balance(it.tenant, it.event.originator_id, customer))
                case PointsAccount.HandedOver() | PointsAccount.Closed():
                    gathered.end(it)
                case PointsAccount.TakenOver(lots=moved):
                    gathered.move(it.tenant, it.event.originator_id, moved)
                case PointsAccount.Regained(lots=moved):
                    gathered.handed_over[it.tenant, it.event.originator_id] = False
                    gathered.move(it.tenant, it.event.originator_id, moved)
                case PointsAccount.Granted(lot=lot):
                    gathered.lot(it.tenant, it.event.originator_id, lot)
                case PointsAccount.Restored(new_lots=new_lots):
                    for lot in new_lots:
                        gathered.lot(it.tenant, it.event.originator_id, lot)
            for line, entry in enumerate(_entries(it.event)):
                gathered.entry(it, line, entry)
        gathered.write(rows)


@dataclass(frozen=True, slots=True)
class Entry:
    """`points` of a lot went from `debit` to `credit`; `new` for the first entry of a lot, which makes it."""

    debit: str
    credit: str
    points: int
    lot: UUID
    source: str
    ref: str
    effect_at: datetime
    new: bool = False


def list_entries(
    rows: sa.Connection, accounts: Collection[UUID], after: tuple[int, int] | None, limit: int
) -> list[Any]:
    """Up to `limit` entries of a customer's accounts behind (position, line) `after`, latest first."""
    place = sa.tuple_(ledger.c.position, ledger.c.line)
    query = sa.select(ledger).where(ledger.c.account.in_(accounts))
    query = query.order_by(ledger.c.position.desc(), ledger.c.line.desc()).limit(limit)
    if after is not None:
        query = query.where(place < sa.tuple_(*map(sa.literal, after)))
    return list(rows.execute(query))


def _entries(event: object) -> Iterator[Entry]:
    """The lines an event makes in the ledger; none for an event that moves no points."""
    match event:
        case PointsAccount.Granted(lot=it, granted_at=at):
            yield Entry("ISSUED", "LOTS", it.granted, it.id, it.source, it.ref, at, new=True)
        case PointsAccount.Burned(ref=ref, allocations=allocations, burned_at=at):
            yield from _lines("LOTS", "BURNED", allocations, "", ref, at)
        case PointsAccount.Restored(ref=ref, allocations=allocations, new_lots=new, restored_at=at):
            yield from _lines("BURNED", "LOTS", allocations, "", ref, at)
            for it in new:
                yield Entry("BURNED", "LOTS", it.granted, it.id, it.source, ref, at, new=True)
        case PointsAccount.Expired(lot=lot, points=points, expired_at=at):
            yield Entry("LOTS", "EXPIRED", points, lot, "", "", at)
        case PointsAccount.Reversed() as it:
            yield from _lines("LOTS", "REVERSED", it.allocations, it.source, it.ref, it.reversed_at)
            if it.to_debt:
                yield Entry("DEBT", "REVERSED", it.to_debt, it.lot, it.source, it.ref, it.reversed_at)
        case PointsAccount.Withdrawn(lot=lot, source=source, ref=ref, points=points, withdrawn_at=at):
            yield Entry("LOTS", "REVERSED", points, lot, source, ref, at)
        case PointsAccount.DebtOffset(allocations=allocations, offset_at=at):
            yield from _lines("LOTS", "DEBT", allocations, "", "", at)
        case _:
            yield from _transfers(event)


def _lines(
    debit: str, credit: str, allocations: Sequence[Allocation], source: str, ref: str, at: datetime
) -> Iterator[Entry]:
    for it in allocations:
        yield Entry(debit, credit, it.points, it.lot, source, ref, at)


def _transfers(event: object) -> Iterator[Entry]:
    """What is left of lots goes to another account, comes from there, or to nobody, and what is owed for them along with it."""
    match event:
        case PointsAccount.HandedOver() | PointsAccount.Split() as it:
            points, debt = ("LOTS", "TRANSFERRED"), ("TRANSFERRED", "DEBT")
        case PointsAccount.TakenOver() | PointsAccount.Regained() as it:
            points, debt = ("TRANSFERRED", "LOTS"), ("DEBT", "TRANSFERRED")
        case PointsAccount.Closed(lots=left, debts=debts, closed_at=at):
            yield from _lines("LOTS", "FORFEITED", left, "", "", at)
            yield from (Entry("FORFEITED", "DEBT", owed, id, "", "", at) for id, owed in debts.items())
            return
        case _:
            return
    for lot in it.lots:
        if lot.remaining:
            yield Entry(*points, lot.remaining, lot.id, lot.source, str(it.merge), it.moved_at)
    for id, owed in it.debts.items():
        yield Entry(*debt, owed, id, "", str(it.merge), it.moved_at)


@dataclass(slots=True)
class _Gathered:
    """What a batch changes, each row once."""

    opened: list[Row] = field(default_factory=list)
    entries: list[tuple[Any, ...]] = field(default_factory=list)
    new_lots: dict[tuple[str, UUID], Row] = field(default_factory=dict)
    lot_changes: dict[tuple[str, UUID], int] = field(default_factory=lambda: defaultdict(int))
    remaining: dict[Account, int] = field(default_factory=lambda: defaultdict(int))
    debt: dict[Account, int] = field(default_factory=lambda: defaultdict(int))
    holders: dict[tuple[str, UUID], UUID] = field(default_factory=dict)
    handed_over: dict[Account, bool] = field(default_factory=dict)
    closed: list[Account] = field(default_factory=list)

    def end(self, recorded: Recorded) -> None:
        account = recorded.tenant, recorded.event.originator_id
        if isinstance(recorded.event, PointsAccount.Closed):
            self.closed.append(account)
        else:
            self.handed_over[account] = True

    def move(self, tenant: str, account: UUID, moved: Iterable[Lot]) -> None:
        self.holders.update(((tenant, lot.id), account) for lot in moved)

    def lot(self, tenant: str, account: UUID, lot: Lot) -> None:
        self.new_lots[tenant, lot.id] = {
            "tenant": tenant,
            "account": account,
            "lot": lot.id,
            "node": lot.node,
            "source": lot.source.value,
            "ref": lot.ref,
            "granted": lot.granted,
            "remaining": lot.granted,
            "active_at": lot.active_at,
            "expire_at": lot.expire_at,
        }

    def entry(self, recorded: Recorded, line: int, entry: Entry) -> None:
        tenant, account = recorded.tenant, recorded.event.originator_id
        named = (
            recorded.position,
            line,
            entry.debit,
            entry.credit,
            entry.points,
            entry.lot,
            str(entry.source),
            entry.ref,
        )
        self.entries.append((tenant, account, *named, entry.effect_at))
        in_lots = entry.points * ((entry.credit == "LOTS") - (entry.debit == "LOTS"))
        self.remaining[tenant, account] += in_lots
        self.debt[tenant, account] += entry.points * ((entry.debit == "DEBT") - (entry.credit == "DEBT"))
        if in_lots and not entry.new and "TRANSFERRED" not in (entry.debit, entry.credit):
            if (made := self.new_lots.get((tenant, entry.lot))) is not None:
                made["remaining"] += in_lots
            else:
                self.lot_changes[tenant, entry.lot] += in_lots

    def write(self, rows: sa.Connection) -> None:
        if self.opened:
            writing.put(rows, writing.OPEN_BALANCES, [tuple(it.values()) for it in self.opened])
        if self.new_lots:
            writing.put(rows, writing.NEW_LOTS, [tuple(it.values()) for it in self.new_lots.values()])
        if self.lot_changes:
            writing.put(rows, writing.CHANGE_LOTS, [(*key, points) for key, points in self.lot_changes.items()])
        if self.holders:
            rows.execute(_MOVE_LOT, [{"t": t, "l": lot, "a": account} for (t, lot), account in self.holders.items()])
        if self.handed_over:
            rows.execute(_HAND_OVER, [{"t": t, "a": account, "h": it} for (t, account), it in self.handed_over.items()])
        if self.entries:
            writing.put(rows, writing.ENTRIES, self.entries)
            moved = [(*key, points, self.debt[key]) for key, points in self.remaining.items()]
            writing.put(rows, writing.CHANGE_BALANCES, moved)
        if self.closed:
            closed = [{"t": tenant, "a": account} for tenant, account in self.closed]
            rows.execute(_CLOSE_BALANCE, closed)
            rows.execute(_CLOSE_LOTS, closed)


_MOVE_LOT: Final = (
    sa.update(lots)
    .where((lots.c.tenant == sa.bindparam("t")) & (lots.c.lot == sa.bindparam("l")))
    .values(account=sa.bindparam("a"))
)
_HAND_OVER: Final = (
    sa.update(balances)
    .where((balances.c.tenant == sa.bindparam("t")) & (balances.c.account == sa.bindparam("a")))
    .values(handed_over=sa.bindparam("h"))
)
_CLOSE_BALANCE: Final = (
    sa.update(balances)
    .where((balances.c.tenant == sa.bindparam("t")) & (balances.c.account == sa.bindparam("a")))
    .values(customer=balances.c.account)
)
_CLOSE_LOTS: Final = (
    sa.update(lots)
    .where((lots.c.tenant == sa.bindparam("t")) & (lots.c.account == sa.bindparam("a")))
    .values(node=lots.c.account)
)


def _balance(tenant: str, account: UUID, customer: UUID) -> Row:
    return {
        "tenant": tenant,
        "account": account,
        "customer": customer,
        "remaining": 0,
        "debt": 0,
        "handed_over": False,
    }
