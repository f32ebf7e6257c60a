"""DeliveryStatus: what has become of the delivery to each unit of each broadcast."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.builds import Source
from chassis.event_store import Recorded
from chassis.postgres import columns, driver_cursor
from services.campaigns.domain.delivery_batch import ByKey, DeliveryBatch, Status
from services.campaigns.domain.erasure import Erasure

tables: Final = sa.MetaData()

delivery = sa.Table(
    "deliveries",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("broadcast", sa.Uuid, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("deliveries_customer", "tenant", "customer"),
)

erased = sa.Table(
    "erased_units",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("ref", sa.Uuid, nullable=False),
)

_ASSIGN = (
    "INSERT INTO deliveries (tenant, broadcast, customer, variant, arm, status, reason)"
    " SELECT %s, %s, u.customer, u.variant, '', 'ASSIGNED', ''"
    " FROM unnest(%s::uuid[], %s::text[]) AS u(customer, variant)"
)
_CHANGE = (
    "UPDATE deliveries d SET status = u.status, reason = u.reason,"
    " arm = CASE WHEN u.arm = '' THEN d.arm ELSE u.arm END"
    " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) AS u(customer, status, reason, arm)"
    " LEFT JOIN erased_units e ON e.tenant = %s AND e.node = u.customer"
    " WHERE d.tenant = %s AND d.broadcast = %s AND d.customer = coalesce(e.ref, u.customer)"
)
_ERASE = "INSERT INTO erased_units (tenant, node, ref) SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[]) ON CONFLICT DO NOTHING"
_RENAME = (
    "UPDATE deliveries d SET customer = r.ref FROM unnest(%s::uuid[], %s::uuid[]) AS r(node, ref)"
    " WHERE d.tenant = %s AND d.customer = r.node"
)

Change = tuple[UUID, Status, str, str]
"""Customer, new status, reason, arm ("" for the one it has)."""


class DeliveryStatus:
    """One row per unit; somebody who is erased stays one, under a reference."""

    name = "delivery_status"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        with driver_cursor(rows) as cursor:
            for recorded in items:
                match recorded.event:
                    case Erasure.Completed(refs=refs):
                        pairs = [list(refs), list(refs.values())]
                        cursor.execute(_ERASE, [recorded.tenant, *pairs])
                        cursor.execute(_RENAME, [*pairs, recorded.tenant])
                    case DeliveryBatch.UnitsAssigned(broadcast=broadcast, variants=variants):
                        if units := _pairs(variants):
                            cursor.execute(_ASSIGN, [recorded.tenant, broadcast, *columns(units)])
                    case (
                        DeliveryBatch.Reserved()
                        | DeliveryBatch.Settled()
                        | DeliveryBatch.Reconciled()
                        | DeliveryBatch.LeaseExpired()
                    ) as event:
                        if changes := list(_changes(event)):
                            key = [recorded.tenant, recorded.tenant, event.broadcast]
                            cursor.execute(_CHANGE, [*columns(changes), *key])


@dataclass(slots=True)
class VariantCounts:
    """Deliveries of one variant by what became of them."""

    assigned: int = 0
    by_status: dict[Status, int] = field(default_factory=dict)
    suppressed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)


def counts(rows: sa.Connection, broadcast: UUID) -> dict[str, VariantCounts]:
    """The counts of every variant that has units, by name."""
    key = (delivery.c.variant, delivery.c.status, delivery.c.reason)
    query = sa.select(*key, sa.func.count()).where(delivery.c.broadcast == broadcast)
    found: dict[str, VariantCounts] = {}
    for variant, status, reason, count in rows.execute(query.group_by(*key).order_by(*key)):
        its = found.setdefault(variant, VariantCounts())
        its.assigned += count
        its.by_status[Status(status)] = its.by_status.get(Status(status), 0) + count
        if status == Status.SUPPRESSED:
            its.suppressed[reason] = count
        elif status == Status.FAILED:
            its.failed[reason] = count
    return found


def _changes(
    event: DeliveryBatch.Reserved | DeliveryBatch.Settled | DeliveryBatch.Reconciled | DeliveryBatch.LeaseExpired,
) -> Iterable[Change]:
    match event:
        case DeliveryBatch.Reserved(arms=arms, suppressed=suppressed, failed=failed):
            yield from ((unit, Status.RESERVED, "", arm) for arm, unit in _flat(arms))
            yield from ((unit, Status.SUPPRESSED, reason, "") for reason, unit in _flat(suppressed))
            yield from ((unit, Status.FAILED, reason, "") for reason, unit in _flat(failed))
        case DeliveryBatch.Settled(sent=sent, failed=failed) | DeliveryBatch.Reconciled(sent=sent, failed=failed):
            yield from ((unit, Status.SENT, "", arm) for arm, unit in _flat(sent))
            yield from ((unit, Status.FAILED, reason, "") for reason, unit in _flat(failed))
        case DeliveryBatch.LeaseExpired(unknown=unknown):
            yield from ((unit, Status.UNKNOWN, "", "") for unit in unknown)


def _flat(groups: ByKey) -> Iterable[tuple[str, UUID]]:
    return ((key, unit) for key, units in groups.items() for unit in units)


def _pairs(groups: ByKey) -> list[tuple[UUID, str]]:
    return [(unit, key) for key, unit in _flat(groups)]
