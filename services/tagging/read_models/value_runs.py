"""What customers bought as models of value look at it, and the rows of their runs: written once with the run, never changed."""

from datetime import date
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tagging.application.ports import ValueRows
from services.tagging.domain.models import Window
from services.tagging.domain.value.valuation import Record, ValueRow
from services.tagging.read_models import model_runs, sql

_RECORDS: Final = """
WITH refunded AS (
    SELECT node, order_id, sum(amount) AS amount FROM refunds
    WHERE tenant = %(tenant)s AND refunded_at < %(end)s GROUP BY node, order_id
), occasions AS (
    SELECT c.ordinal, (p.paid_at AT TIME ZONE %(zone)s)::date AS day, sum(p.net - coalesce(r.amount, 0)) AS net
    FROM purchases p LEFT JOIN refunded r USING (node, order_id)
    JOIN nodes n ON n.tenant = %(tenant)s AND n.node = p.node
    JOIN nodes c ON c.tenant = %(tenant)s AND c.node = n.customer
    WHERE p.tenant = %(tenant)s AND p.currency = %(currency)s AND p.paid_at < %(end)s
    AND p.net - coalesce(r.amount, 0) > 0
    GROUP BY c.ordinal, day
), firsts AS (
    SELECT ordinal, day, net, min(day) OVER (PARTITION BY ordinal) AS first FROM occasions
)
SELECT ordinal, (count(*) - 1)::int, max(day) - first, %(as_of)s::date - 1 - first,
    coalesce(sum(net) FILTER (WHERE day > first), 0)::bigint
FROM firsts GROUP BY ordinal, first ORDER BY ordinal
"""
_ROWS: Final = "value_rows (tenant, run, ordinal, repeats, last_days, now_days, alive, expected, amount, value)"
_ROW: Final = (
    "SELECT ordinal, repeats, last_days, now_days, alive, expected, amount, value FROM value_rows"
    " WHERE tenant = %s AND run = %s AND ordinal = %s"
)
_AS_OF: Final = "SELECT max(as_of) FROM model_runs WHERE tenant = %s AND model = %s"


def records(rows: sa.Connection, tenant: str, window: Window, zone: str, currency: str) -> list[Record]:
    """Every customer with a purchase occasion before the end of `window`, in `currency`, by ordinal."""
    named = {"tenant": tenant, "zone": zone, "currency": currency, "as_of": window.as_of, "end": window.end}
    return [Record(*it) for it in sql.fetch_named(rows, _RECORDS, named)]


def keep(rows: sa.Connection, tenant: str, run: ValueRows) -> None:
    """Write a run with its rows."""
    model_runs.keep_run(rows, tenant, run, run.version)
    sql.copy(rows, _ROWS, ((tenant, run.run, *it) for it in run.rows))


def row(rows: sa.Connection, tenant: str, run: UUID, ordinal: int) -> ValueRow | None:
    """What a run says about one customer."""
    found = sql.fetch(rows, _ROW, tenant, run, ordinal)
    return ValueRow(*found[0]) if found else None


def last_as_of(rows: sa.Connection, tenant: str, model: str) -> date | None:
    """The latest date a model was run as of."""
    found: date | None = sql.fetch(rows, _AS_OF, tenant, model)[0][0]
    return found
