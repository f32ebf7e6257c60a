"""The points of a tenant added up from the entries of the ledger, and the proof that every account adds up."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from services.membership.domain.lots import Source
from services.membership.read_models.points import balances, ledger, lots


@dataclass(frozen=True, slots=True)
class PointsTotals:
    """Points over all accounts; `burned` less what came back, `reversed` with what is owed for it."""

    lots: int
    granted: int
    earned: int
    burned: int
    expired: int
    reversed: int
    active: int
    pending: int
    debt: int
    positive: int
    accounts: int
    broken: int


def points_totals(rows: sa.Connection, at: datetime) -> PointsTotals:
    """Sums over the ledger; what is active or pending as of `at`, whether or not timers have run."""
    moved = rows.execute(_MOVED).one()
    spendable = (lots.c.active_at <= at) & (lots.c.expire_at.is_(None) | (lots.c.expire_at > at))
    held = rows.execute(
        sa.select(
            _sum(lots.c.remaining, spendable).label("active"),
            _sum(lots.c.remaining, lots.c.active_at > at).label("pending"),
        )
    ).one()
    per_account = (
        sa.select(lots.c.account, sa.func.sum(lots.c.remaining).label("active"))
        .where(spendable)
        .group_by(lots.c.account)
        .subquery()
    )
    positive = sa.select(sa.func.count()).select_from(
        balances.join(per_account, per_account.c.account == balances.c.account)
    )
    return PointsTotals(
        lots=int(moved.lots),
        granted=int(moved.granted),
        earned=int(moved.earned),
        burned=int(moved.burned - moved.restored),
        expired=int(moved.expired),
        reversed=int(moved.reversed),
        active=int(held.active),
        pending=int(held.pending),
        debt=int(moved.owed - moved.repaid),
        positive=rows.scalar(positive.where(per_account.c.active > balances.c.debt)) or 0,
        accounts=rows.scalar(sa.select(sa.func.count()).where(~balances.c.handed_over)) or 0,
        broken=accounts_that_do_not_add_up(rows),
    )


def accounts_that_do_not_add_up(rows: sa.Connection) -> int:
    """Accounts with a lot, a remainder or a debt other than their entries say. Anything but 0 is a fault."""
    return rows.scalar(_BROKEN) or 0


def _sum(value: Any, condition: Any) -> Any:
    return sa.func.coalesce(sa.func.sum(value).filter(condition), 0)


def _points(condition: Any) -> Any:
    return _sum(ledger.c.points, condition)


_MOVED: Final = sa.select(
    sa.func.count().filter(ledger.c.debit == "ISSUED").label("lots"),
    _points(ledger.c.debit == "ISSUED").label("granted"),
    _points((ledger.c.debit == "ISSUED") & (ledger.c.source == Source.ORDER.value)).label("earned"),
    _points(ledger.c.credit == "BURNED").label("burned"),
    _points(ledger.c.debit == "BURNED").label("restored"),
    _points(ledger.c.credit == "EXPIRED").label("expired"),
    _points(ledger.c.credit == "REVERSED").label("reversed"),
    _points(ledger.c.debit == "DEBT").label("owed"),
    _points(ledger.c.credit == "DEBT").label("repaid"),
)

# Per lot, then per account: what entries say, against what lots and balances say.
_BROKEN: Final = sa.text(
    """
    WITH said AS (
        SELECT account, lot,
            sum(CASE WHEN credit = 'LOTS' THEN points WHEN debit = 'LOTS' THEN -points ELSE 0 END) AS remaining,
            sum(CASE WHEN debit = 'DEBT' THEN points WHEN credit = 'DEBT' THEN -points ELSE 0 END) AS debt
        FROM points_ledger GROUP BY account, lot
    ), wrong_lots AS (
        SELECT coalesce(said.account, points_lot.account) AS account
        FROM said FULL JOIN points_lot ON said.account = points_lot.account AND said.lot = points_lot.lot
        WHERE coalesce(said.remaining, 0) <> coalesce(points_lot.remaining, 0)
    ), sums AS (
        SELECT account, sum(remaining) AS remaining, sum(debt) AS debt FROM said GROUP BY account
    ), wrong_balances AS (
        SELECT coalesce(sums.account, points_balance.account) AS account
        FROM sums FULL JOIN points_balance ON sums.account = points_balance.account
        WHERE coalesce(sums.remaining, 0) <> coalesce(points_balance.remaining, -1)
            OR coalesce(sums.debt, 0) <> coalesce(points_balance.debt, -1)
    )
    SELECT count(*) FROM (SELECT account FROM wrong_lots UNION SELECT account FROM wrong_balances) AS wrong
    """
)
