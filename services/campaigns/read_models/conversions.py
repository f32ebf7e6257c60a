"""ConversionTable: the orders that count for each broadcast; and the tallies of its variants.

The denominators come from the assignments, which are truth, so that they hold from the first
moment; who was whose unit comes from the moves of nodes, so that who crossed over stays marked when
the merge is taken back.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.builds import Source
from chassis.event_store import Recorded
from chassis.postgres import columns, driver_cursor
from services.campaigns.domain.conversion import Conversion, Tally
from services.campaigns.domain.erasure import Erasure

tables: Final = sa.MetaData()

conversion = sa.Table(
    "conversions",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("broadcast", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("unit", sa.Uuid, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("net", sa.Numeric, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("conversions_unit", "tenant", "unit"),
    sa.Index("conversions_node", "tenant", "node"),
)

erased = sa.Table(
    "erased_units",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("ref", sa.Uuid, nullable=False),
)

_PUT = (
    "INSERT INTO conversions"
    " (tenant, broadcast, order_id, unit, variant, node, net, currency, paid_at)"
    " SELECT c.tenant, c.broadcast, c.order_id, coalesce(u.ref, c.unit), c.variant, coalesce(n.ref, c.node),"
    " c.net, c.currency, c.paid_at FROM"
    " unnest(%s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::uuid[],"
    " %s::numeric[], %s::text[], %s::timestamptz[])"
    " AS c(tenant, broadcast, order_id, unit, variant, node, net, currency, paid_at)"
    " LEFT JOIN erased_units u ON (u.tenant, u.node) = (c.tenant, c.unit)"
    " LEFT JOIN erased_units n ON (n.tenant, n.node) = (c.tenant, c.node)"
    " ON CONFLICT (tenant, broadcast, order_id) DO UPDATE SET unit = excluded.unit,"
    " variant = excluded.variant, node = excluded.node, net = excluded.net,"
    " currency = excluded.currency, paid_at = excluded.paid_at"
)

_ERASE = "INSERT INTO erased_units (tenant, node, ref) SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[]) ON CONFLICT DO NOTHING"
_RENAME = (
    "UPDATE conversions c SET unit = coalesce(u.ref, c.unit), node = coalesce(n.ref, c.node)"
    " FROM conversions o LEFT JOIN erased_units u ON (u.tenant, u.node) = (o.tenant, o.unit)"
    " LEFT JOIN erased_units n ON (n.tenant, n.node) = (o.tenant, o.node)"
    " WHERE o.tenant = %s AND (o.unit = ANY(%s) OR o.node = ANY(%s))"
    " AND (c.tenant, c.broadcast, c.order_id) = (o.tenant, o.broadcast, o.order_id)"
)

# All units of whoever has one that was the same person as one of another variant, at any moment since they were
# assigned. Who was whose is a matter of identity's log: a node is whose the last word says, and before the first its
# own. Only units that moved, and those that such a unit became, can be of one person.
_CROSSED = """
WITH moved AS (
    SELECT a.customer AS unit, a.variant, a.assigned_at, m.customer AS person, m.position AS since,
        lead(m.position) OVER later AS until, lead(m.at) OVER later AS ended_at
    FROM assignments a JOIN node_moves m ON m.tenant = a.tenant AND m.node = a.customer
    WHERE a.broadcast = :broadcast
    WINDOW later AS (PARTITION BY a.customer ORDER BY m.position)
), own AS (
    SELECT a.customer, a.variant, a.assigned_at, a.customer, 0, min(m.position), min(m.at)
    FROM assignments a LEFT JOIN node_moves m ON m.tenant = a.tenant AND m.node = a.customer
    WHERE a.broadcast = :broadcast AND a.customer IN (SELECT person FROM moved)
    GROUP BY a.customer, a.variant, a.assigned_at
), been AS (
    SELECT unit, variant, person, int8range(since, until) AS span
    FROM (SELECT * FROM moved UNION ALL SELECT * FROM own) AS all_of_them
    WHERE ended_at IS NULL OR ended_at > assigned_at
), crossed AS (
    SELECT one.unit FROM been one
    JOIN been other ON other.person = one.person AND other.variant <> one.variant AND other.span && one.span
)
SELECT unit, variant FROM been WHERE upper_inf(span) AND person IN
    (SELECT person FROM been WHERE upper_inf(span) AND unit IN (SELECT unit FROM crossed))
"""
_ASSIGNED = "SELECT variant, count(*) FROM assignments WHERE broadcast = :broadcast GROUP BY variant"
_CONVERTED = (
    "SELECT variant, currency, count(DISTINCT unit), sum(net) FROM conversions"
    " WHERE broadcast = :broadcast AND net > 0 AND paid_at < :until AND unit <> ALL(:crossed)"
    " GROUP BY GROUPING SETS ((variant), (variant, currency))"
)


class ConversionTable:
    """One row per broadcast and order; net 0 where the order ceased to count. Whoever is erased stays, under a reference."""

    name = "conversion_table"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        latest: dict[tuple[str, UUID, UUID], tuple[object, ...]] = {}
        gone: list[tuple[str, dict[UUID, UUID]]] = []
        for recorded in items:
            match recorded.event:
                case Erasure.Completed(refs=refs):
                    gone.append((recorded.tenant, refs))
                case (
                    Conversion.Recorded(broadcast=broadcast, order=order, credit=c)
                    | Conversion.Adjusted(broadcast=broadcast, order=order, credit=c)
                ):
                    row = (c.unit, c.variant, c.node, c.net, c.currency, c.paid_at)
                    latest[recorded.tenant, broadcast, order] = row
        with driver_cursor(rows) as cursor:
            for tenant, refs in gone:
                cursor.execute(_ERASE, [tenant, list(refs), list(refs.values())])
                cursor.execute(_RENAME, [tenant, list(refs), list(refs)])
            if latest:
                cursor.execute(_PUT, columns((*key, *row) for key, row in latest.items()))


def tallies(rows: sa.Connection, broadcast: UUID, until: datetime) -> dict[str, Tally]:
    """Count every variant that has units, with orders paid before `until`."""
    crossed = rows.execute(sa.text(_CROSSED), {"broadcast": broadcast}).all()
    crossers = Counter(variant for _, variant in crossed)
    converted: dict[str, int] = {}
    revenue: dict[str, dict[str, Decimal]] = {}
    arguments = {"broadcast": broadcast, "until": until, "crossed": [unit for unit, _ in crossed]}
    for variant, currency, count, net in rows.execute(sa.text(_CONVERTED), arguments):
        if currency is None:
            converted[variant] = count
        else:
            revenue.setdefault(variant, {})[currency] = net
    return {
        variant: Tally(
            variant,
            assigned - crossers[variant],
            converted.get(variant, 0),
            crossers[variant],
            revenue.get(variant, {}),
        )
        for variant, assigned in rows.execute(sa.text(_ASSIGNED), {"broadcast": broadcast})
    }
