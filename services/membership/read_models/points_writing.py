"""The statements that write what a batch of events makes of points: each takes all rows of a table, column by column."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor

OPEN_BALANCES: Final = (
    "INSERT INTO points_balance (tenant, account, customer, remaining, debt, handed_over) SELECT *"
    " FROM unnest(%b::text[], %b::uuid[], %b::uuid[], %b::bigint[], %b::bigint[], %b::boolean[])"
)
NEW_LOTS: Final = (
    "INSERT INTO points_lot (tenant, account, lot, node, source, ref, granted, remaining, active_at, expire_at) SELECT *"
    " FROM unnest(%b::text[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::bigint[], %b::bigint[],"
    " %b::timestamptz[], %b::timestamptz[])"
)
ENTRIES: Final = (
    "INSERT INTO points_ledger (tenant, account, position, line, debit, credit, points, lot, source, ref, effect_at) SELECT *"
    " FROM unnest(%b::text[], %b::uuid[], %b::bigint[], %b::int[], %b::text[], %b::text[], %b::bigint[], %b::uuid[],"
    " %b::text[], %b::text[], %b::timestamptz[])"
)
CHANGE_LOTS: Final = (
    "UPDATE points_lot l SET remaining = l.remaining + n.points"
    " FROM unnest(%b::text[], %b::uuid[], %b::bigint[]) AS n(tenant, lot, points)"
    " WHERE (l.tenant, l.lot) = (n.tenant, n.lot)"
)
CHANGE_BALANCES: Final = (
    "UPDATE points_balance b SET remaining = b.remaining + n.points, debt = b.debt + n.owed"
    " FROM unnest(%b::text[], %b::uuid[], %b::bigint[], %b::bigint[]) AS n(tenant, account, points, owed)"
    " WHERE (b.tenant, b.account) = (n.tenant, n.account)"
)


def put(rows: sa.Connection, statement: LiteralString, table: Sequence[Sequence[Any]]) -> None:
    """One statement for all rows of a table, which it takes as columns."""
    with driver_cursor(rows) as cursor:
        cursor.execute(statement, columns(table), prepare=True)
