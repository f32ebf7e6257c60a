"""Orders: every order with its money as it stands, for lists and sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from services.tracking.domain.erasure import Erasure
from services.tracking.domain.order import Order
from services.tracking.domain.order_facts import Status, furthest
from services.tracking.read_models.customer_nodes import nodes as customer_nodes

tables: Final = sa.MetaData()

orders: Final = sa.Table(
    "orders",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("order_no", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("estimated", sa.Boolean, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("paid_at", sa.DateTime(timezone=True)),
    sa.Column("paid", sa.BigInteger, nullable=False),
    sa.Column("shipping", sa.BigInteger, nullable=False),
    sa.Column("refunded", sa.BigInteger, nullable=False),
    sa.Column("net", sa.BigInteger, nullable=False),
    sa.Column("shipped_at", sa.DateTime(timezone=True)),
    sa.Column("received_at", sa.DateTime(timezone=True)),
    sa.Column("cancelled_at", sa.DateTime(timezone=True)),
    sa.Index("orders_paid", "tenant", "paid_at"),
    sa.Index("orders_id", "tenant", "order_id"),
)


class OrdersProjection:
    """Keeps the table: each batch is folded over the rows it touches, which are then written once.

    The orders of somebody who is erased keep their money, under a reference that leads to nobody.
    """

    name = "orders"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        mine: list[Recorded] = []
        for it in items:
            if isinstance(it.event, _EVENTS):
                mine.append(it)
            elif isinstance(it.event, Erasure.Begun):
                _apply(mine, rows)
                mine = []
                _make_anonymous(rows, it.tenant, it.event)
        _apply(mine, rows)


@dataclass(frozen=True, slots=True)
class OrderTotals:
    """Sums over orders; `net` is in minor units by currency."""

    rows: int
    net_rows: int
    customers: int
    occasions: int
    net: dict[str, int]
    unpaid: int


def list_orders(
    rows: sa.Connection, nodes: Sequence[UUID], after: tuple[datetime, UUID] | None, limit: int
) -> list[Any]:
    """Up to `limit` orders of the nodes behind `after`, by the time they were placed."""
    place = sa.tuple_(orders.c.placed_at, orders.c.order_id)
    query = sa.select(orders).where(orders.c.node.in_(nodes)).order_by(*place.clauses).limit(limit)
    if after:
        query = query.where(place > sa.tuple_(*map(sa.literal, after)))
    return list(rows.execute(query))


def order_totals(
    rows: sa.Connection,
    nodes: Sequence[UUID] | None,
    zone: str,
    start: datetime | None,
    end: datetime | None,
) -> OrderTotals:
    """Sums over the paid orders of the nodes (None: of all); days are those of the IANA `zone`."""
    mine: list[sa.ColumnElement[bool]] = [orders.c.node.in_(nodes)] if nodes is not None else []
    paid = [*mine, orders.c.paid_at.is_not(None)]
    paid += [orders.c.paid_at >= start] if start else []
    paid += [orders.c.paid_at < end] if end else []
    customer = sa.func.coalesce(customer_nodes.c.customer, orders.c.node)
    mapped = orders.outerjoin(
        customer_nodes, (customer_nodes.c.tenant == orders.c.tenant) & (customer_nodes.c.node == orders.c.node)
    )
    day = sa.func.date(sa.func.timezone(zone, orders.c.paid_at))
    found = rows.execute(sa.select(sa.func.count(), _net_rows()).where(*paid)).one()
    days = sa.select(customer.label("customer"), day.label("day")).select_from(mapped).where(*paid, orders.c.net > 0)
    occasions = days.distinct().subquery()
    counted = rows.execute(
        sa.select(sa.func.count(sa.distinct(occasions.c.customer)), sa.func.count()).select_from(occasions)
    ).one()
    sums = rows.execute(
        sa.select(orders.c.currency, sa.func.sum(orders.c.net)).where(*paid).group_by(orders.c.currency)
    )
    unpaid = rows.scalar(sa.select(sa.func.count()).where(*mine, orders.c.status == Status.PLACED.value))
    return OrderTotals(
        found[0], found[1], counted[0], counted[1], {currency: int(net) for currency, net in sums}, unpaid or 0
    )


def _net_rows() -> Any:
    return sa.func.count().filter(orders.c.net > 0)


_EVENTS: Final = (
    Order.Placed,
    Order.PlacementReported,
    Order.Paid,
    Order.PaymentRevised,
    Order.Refunded,
    Order.Shipped,
    Order.Received,
    Order.Cancelled,
)
_TYPES: Final = (
    "text", "uuid", "uuid", "text", "text", "text", "int", "text", "timestamptz", "boolean", "bigint", "timestamptz", "bigint",
    "bigint", "bigint", "bigint", "timestamptz", "timestamptz", "timestamptz",
)  # fmt: skip
_NAMES: Final = tuple(it.name for it in orders.c)
_PUT: Final = (
    f"INSERT INTO orders ({', '.join(_NAMES)})"  # noqa: S608
    f" SELECT * FROM unnest({', '.join(f'%s::{it}[]' for it in _TYPES)}) ON CONFLICT (tenant, node, order_id) DO UPDATE SET "
    + ", ".join(f"{it.name} = excluded.{it.name}" for it in orders.c if not it.primary_key)
)
_LOAD: Final = f"SELECT {', '.join(_NAMES)} FROM orders JOIN unnest(%s::text[], %s::uuid[]) AS k(tenant, order_id) USING (tenant, order_id)"  # noqa: S608


def _apply(mine: Sequence[Recorded], rows: sa.Connection) -> None:
    if not mine:
        return
    fresh = {it.event.originator_id for it in mine if isinstance(it.event, Order.Placed)}
    touched = {it.event.originator_id: it.tenant for it in mine}
    states = _load(rows, [(touched[id], id) for id in touched if id not in fresh])
    for it in mine:
        _fold(states, it)
    with driver_cursor(rows) as cursor:
        cursor.execute(_PUT.encode(), columns([it[name] for name in _NAMES] for it in states.values()))


def _make_anonymous(rows: sa.Connection, tenant: str, event: Erasure.Begun) -> None:
    theirs = (orders.c.tenant == tenant) & orders.c.node.in_(event.node_ids)
    rows.execute(sa.update(orders).where(theirs).values(node=event.erased_ref, source="", order_no=""))


def _load(rows: sa.Connection, keys: Sequence[tuple[str, UUID]]) -> dict[UUID, dict[str, Any]]:
    """Rows by order: whose they are is not what it was if somebody was erased."""
    if not keys:
        return {}
    with driver_cursor(rows) as cursor:
        found = [dict(zip(_NAMES, it, strict=True)) for it in cursor.execute(_LOAD.encode(), columns(keys)).fetchall()]
    return {it["order_id"]: it for it in found}


def _fold(states: dict[UUID, dict[str, Any]], recorded: Recorded) -> None:
    event = recorded.event
    if isinstance(event, Order.Placed):
        states[event.originator_id] = _placed(recorded.tenant, event)
        return
    state = states[event.originator_id]
    match event:
        case Order.PlacementReported(placement=placement, revision=revision):
            state |= {"placed_at": placement.placed_at, "amount": placement.amount, "estimated": False}
            state["revision"] = max(state["revision"], revision)
        case (
            Order.Paid(payment=payment, net=net, revision=revision)
            | Order.PaymentRevised(payment=payment, net=net, revision=revision)
        ):
            state |= {"paid_at": payment.paid_at, "paid": payment.paid, "shipping": payment.shipping, "net": net}
            state["revision"] = max(state["revision"], revision)
        case Order.Refunded(cumulative=cumulative, net=net):
            state |= {"refunded": cumulative, "net": net}
        case Order.Shipped(shipped_at=at):
            state["shipped_at"] = at
        case Order.Received(received_at=at):
            state["received_at"] = at
        case Order.Cancelled(cancelled_at=at):
            state["cancelled_at"] = at
    state["status"] = _status(state).value


def _placed(tenant: str, event: Order.Placed) -> dict[str, Any]:
    placement = event.placement
    return {
        "tenant": tenant,
        "node": event.node,
        "order_id": event.originator_id,
        "source": event.source,
        "order_no": event.order_no,
        "status": Status.PLACED.value,
        "revision": event.revision,
        "currency": placement.currency,
        "placed_at": placement.placed_at,
        "estimated": event.estimated,
        "amount": placement.amount,
        "paid_at": None,
        "paid": 0,
        "shipping": 0,
        "refunded": 0,
        "net": 0,
        "shipped_at": None,
        "received_at": None,
        "cancelled_at": None,
    }


def _status(state: dict[str, Any]) -> Status:
    paid = state["paid_at"] is not None
    return furthest(
        refunded=paid and state["refunded"] > 0 and state["refunded"] == state["paid"],
        received=state["received_at"] is not None,
        shipped=state["shipped_at"] is not None,
        paid=paid,
        cancelled=state["cancelled_at"] is not None,
    )
