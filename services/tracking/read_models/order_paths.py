"""OrderPaths: of every order what purchase paths and purchase occasions are made of; nothing of those who are erased."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis.log import Recorded
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from services.tracking.domain.erasure import Erasure
from services.tracking.domain.order import Order
from services.tracking.domain.order_facts import Placement
from services.tracking.domain.path_facts import OrderFact

tables: Final = sa.MetaData()

order_paths: Final = sa.Table(
    "order_paths",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("placed_at", sa.DateTime(timezone=True)),
    sa.Column("lines", JSONB),
    sa.Column("paid_at", sa.DateTime(timezone=True)),
    sa.Column("net", sa.BigInteger),
    sa.Column("received_at", sa.DateTime(timezone=True)),
    sa.Column("cancelled_at", sa.DateTime(timezone=True)),
    sa.Index("order_paths_placed", "tenant", "placed_at"),
)

erased: Final = sa.Table(
    "erased_path_nodes",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
)

FIELDS: Final = ("placed_at", "lines", "paid_at", "net", "received_at", "cancelled_at")

_PUT: Final = (
    "INSERT INTO order_paths AS o (tenant, node, order_id, placed_at, lines, paid_at, net, received_at, cancelled_at)"  # noqa: S608
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::jsonb[], %s::timestamptz[], %s::bigint[],"
    " %s::timestamptz[], %s::timestamptz[]) AS n(tenant, node)"
    " WHERE NOT EXISTS (SELECT FROM erased_path_nodes e WHERE (e.tenant, e.node) = (n.tenant, n.node))"
    " ON CONFLICT (tenant, node, order_id) DO UPDATE SET "
    + ", ".join(f"{it} = coalesce(excluded.{it}, o.{it})" for it in FIELDS)
)
"""What a batch says nothing about stays as it is; of those who are erased nothing is kept."""

_ERASE: Final = "INSERT INTO erased_path_nodes SELECT %s, unnest(%s::uuid[]) ON CONFLICT DO NOTHING"
_FORGET: Final = "DELETE FROM order_paths WHERE tenant = %s AND node = ANY(%s)"


class OrderPathsProjection:
    """Keeps the tables: one statement per batch, with what the batch says of each order."""

    name = "order_paths"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        told: dict[tuple[str, UUID, UUID], dict[str, Any]] = {}
        for it in items:
            said = _said(it.event)
            if said:
                key = it.tenant, it.event.node, it.event.originator_id  # type: ignore[attr-defined]
                told.setdefault(key, {}).update(said)
        gone = [(it.tenant, list(it.event.node_ids)) for it in items if isinstance(it.event, Erasure.Begun)]
        with driver_cursor(rows) as cursor:
            for who in gone:
                cursor.execute(_ERASE, who)
                cursor.execute(_FORGET, who)
            if told:
                cursor.execute(_PUT, columns((*key, *map(said.get, FIELDS)) for key, said in told.items()))


def order_fact(row: Sequence[Any]) -> OrderFact:
    """What the domain has for the id of an order, its node, and the FIELDS, the lines of them as text."""
    id, node, placed_at, lines, paid_at, net, received_at, cancelled_at = row
    return OrderFact(id, node, placed_at, _told_lines(lines), paid_at, net or 0, received_at, cancelled_at)


@lru_cache(maxsize=4096)
def _told_lines(lines: str | None) -> tuple[tuple[str, str], ...]:
    """Many orders have the same lines."""
    return tuple((sku, category) for sku, category in json.loads(lines)) if lines else ()


def _said(event: object) -> dict[str, Any]:
    """The columns that an event is about."""
    match event:
        case Order.Placed(placement=placement) | Order.PlacementReported(placement=placement):
            return {"placed_at": placement.placed_at, "lines": _lines(placement)}
        case Order.Paid(payment=payment, net=net) | Order.PaymentRevised(payment=payment, net=net):
            return {"paid_at": payment.paid_at, "net": net}
        case Order.Refunded(net=net):
            return {"net": net}
        case Order.Received(received_at=at):
            return {"received_at": at}
        case Order.Cancelled(cancelled_at=at):
            return {"cancelled_at": at}
    return {}


def _lines(placement: Placement) -> str:
    return json.dumps([[it.sku, it.category] for it in placement.lines])
