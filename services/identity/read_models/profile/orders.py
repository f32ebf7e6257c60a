"""Orders as a profile shows them: each with its money as it stands, by node."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.tracking.v1 import events_pb2 as pb
from services.identity.read_models.profile.told import amount, execute, instant, tables, uuid

orders: Final = sa.Table(
    "told_orders",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("order_no", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("currency", sa.Text),
    sa.Column("placed_at", sa.DateTime(timezone=True)),
    sa.Column("paid_at", sa.DateTime(timezone=True)),
    sa.Column("net", sa.Numeric),
    sa.Column("refunded", sa.Numeric),
    sa.Column("shipped_at", sa.DateTime(timezone=True)),
    sa.Column("received_at", sa.DateTime(timezone=True)),
    sa.Column("cancelled_at", sa.DateTime(timezone=True)),
    sa.Column("full_refund", sa.Boolean),
)

_FIELDS: Final = tuple(it.name for it in orders.c if not it.primary_key)
_PUT: Final = (
    f"INSERT INTO told_orders AS o (tenant, node, order_id, {', '.join(_FIELDS)})"  # noqa: S608
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],"
    " %s::timestamptz[], %s::numeric[], %s::numeric[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::boolean[])"
    " ON CONFLICT (tenant, node, order_id) DO UPDATE SET "
    + ", ".join(f"{it} = coalesce(excluded.{it}, o.{it})" for it in _FIELDS)
)

Key = tuple[str, UUID, UUID]


class Orders:
    """What a batch says about orders, each written once: what is said later counts, what is not said stays."""

    def __init__(self) -> None:
        self._found: dict[Key, dict[str, Any]] = {}

    def take(self, tenant: str, message: Any) -> None:
        said = dict(_said(message))
        if said:
            self._found.setdefault((tenant, uuid(message.node_id), uuid(message.order_id)), {}).update(said)

    def write(self, rows: sa.Connection) -> None:
        execute(rows, _PUT, [(*key, *(it.get(name) for name in _FIELDS)) for key, it in self._found.items()])


def orders_of(rows: sa.Connection, nodes: Sequence[UUID]) -> Sequence[Any]:
    """All orders of the nodes, newest first."""
    placed = sa.func.coalesce(orders.c.placed_at, orders.c.paid_at)
    query = sa.select(orders).where(orders.c.tenant == _TENANT, orders.c.node.in_(nodes))
    return rows.execute(query.order_by(placed.desc().nulls_last(), orders.c.order_id)).all()


def status_of(row: Any) -> str:
    """How far an order is."""
    if row.cancelled_at is not None and row.paid_at is None:
        return "CANCELLED"
    if row.full_refund:
        return "REFUNDED"
    for name, at in (("RECEIVED", row.received_at), ("SHIPPED", row.shipped_at), ("PAID", row.paid_at)):
        if at is not None:
            return name
    return "PLACED"


_TENANT: Final = sa.func.current_setting("scrm.tenant")


def _said(message: Any) -> Iterator[tuple[str, Any]]:
    match message:
        case pb.OrderPlaced():
            yield from _named(message)
            yield "currency", message.amount.currency_code or None
            yield "placed_at", instant(message.place_time)
        case pb.OrderPaid():
            yield from _named(message)
            yield from _worth(message)
            yield "placed_at", instant(message.place_time)
            yield "paid_at", instant(message.pay_time)
        case pb.OrderPaymentRevised():
            yield from _worth(message)
            yield "paid_at", instant(message.pay_time)
        case pb.OrderRefunded():
            yield from _worth(message)
            yield "refunded", amount(message.cumulative)
            yield "full_refund", message.full
        case pb.OrderShipped():
            yield "shipped_at", instant(message.ship_time)
        case pb.OrderReceived():
            yield "received_at", instant(message.receive_time)
        case pb.OrderCancelled():
            yield "cancelled_at", instant(message.cancel_time)


def _named(message: Any) -> Iterator[tuple[str, Any]]:
    yield "order_no", message.order_no
    yield "source", message.source_key


def _worth(message: Any) -> Iterator[tuple[str, Any]]:
    yield "currency", message.net.currency_code
    yield "net", amount(message.net)
