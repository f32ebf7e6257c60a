"""What was bought (spec TR-9, TG-7): paid orders and refunds per node, and what customers bought in a window.

An order counts from the instant it was paid, with its net amount before refunds; a refund counts against it from the
instant of the refund. So a run as of a date sees what was true before that date, whenever it is made.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from services.tagging.application.facts import Paid, Placed, Refunded
from services.tagging.domain.models import Window
from services.tagging.domain.rfm import Purchases
from services.tagging.read_models import sql

# What is told is the net amount after all refunds so far; those of earlier batches are added here.
_PAID = (
    "INSERT INTO purchases (tenant, node, order_id, revision, paid_at, currency, net)"
    " SELECT v.tenant, v.node, v.order_id, v.revision, v.paid_at, v.currency, v.net + coalesce((SELECT sum(r.amount)"
    " FROM refunds r WHERE (r.tenant, r.node, r.order_id) = (v.tenant, v.node, v.order_id)), 0)"
    " FROM (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::uuid[], %s::int[], %s::timestamptz[], %s::text[],"
    " %s::bigint[]) AS v(node, order_id, revision, paid_at, currency, net)) v"
    " ON CONFLICT (tenant, node, order_id) DO UPDATE SET revision = excluded.revision, paid_at = excluded.paid_at,"
    " currency = excluded.currency, net = excluded.net WHERE excluded.revision > purchases.revision"
)
_REFUNDED = (
    "INSERT INTO refunds (tenant, node, order_id, refund_no, refunded_at, amount)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[])"
    " ON CONFLICT (tenant, node, order_id, refund_no) DO NOTHING"
)
_PLACED = (
    "INSERT INTO placed_orders (tenant, node, order_id, placed_at, lines, coupons)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::jsonb[], %s::smallint[]) ON CONFLICT DO NOTHING"
)
_BOUGHT = """
WITH refunded AS (
    SELECT node, order_id, sum(amount) AS amount FROM refunds
    WHERE tenant = %(tenant)s AND refunded_at < %(end)s GROUP BY node, order_id
), bought AS (
    SELECT p.node, (p.paid_at AT TIME ZONE %(zone)s)::date AS day, p.net - coalesce(r.amount, 0) AS net, p.net AS gross
    FROM purchases p LEFT JOIN refunded r USING (node, order_id)
    WHERE p.tenant = %(tenant)s AND p.currency = %(currency)s
    AND p.paid_at < %(end)s AND p.paid_at >= coalesce(%(start)s::timestamptz, '-infinity')
)
SELECT c.ordinal, (%(as_of)s::date - max(b.day))::int, count(DISTINCT b.day)::int,
    sum(CASE WHEN %(gross)s THEN b.gross ELSE b.net END)::bigint
FROM bought b
JOIN nodes n ON n.tenant = %(tenant)s AND n.node = b.node
JOIN nodes c ON c.tenant = %(tenant)s AND c.node = n.customer
WHERE b.net > 0
GROUP BY c.ordinal ORDER BY c.ordinal
"""


def absorb(rows: sa.Connection, tenant: str, paid: Iterable[Paid], refunded: Iterable[Refunded]) -> None:
    """Add a batch; payments first, since what is told of them includes no refund told later."""
    sql.run_all(rows, _PAID, tenant, list(paid))
    sql.run_all(rows, _REFUNDED, tenant, list(refunded))


def note_placed(rows: sa.Connection, tenant: str, placed: Iterable[Placed]) -> None:
    """Keep what was ordered: the first that is heard of an order."""
    sql.run_all(rows, _PLACED, tenant, list(placed))


def bought(rows: sa.Connection, tenant: str, window: Window, zone: str, currency: str) -> list[Purchases]:
    """What every customer with a purchase occasion in `window` bought in it, in `currency`, by ordinal."""
    parameters = {
        "tenant": tenant,
        "zone": zone,
        "currency": currency,
        "as_of": window.as_of,
        "start": window.start,
        "end": window.end,
        "gross": window.gross,
    }
    return [Purchases(*row) for row in sql.fetch_named(rows, _BOUGHT, parameters)]
