"""What the customers behind some nodes did: their steps on purchase paths and their orders, over all of their nodes."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from services.tracking.application.ports import FactBook, People
from services.tracking.domain.missions import Mission, missions
from services.tracking.domain.order import Order
from services.tracking.domain.path_facts import OrderFact, PathFact, path_fact, text_property
from services.tracking.domain.recent_missions import missions_of
from services.tracking.domain.trail import Behaviour


@dataclass(slots=True)
class History:
    """One customer: steps, orders, and when each SKU was last taken out of the cart."""

    nodes: tuple[UUID, ...]
    steps: list[PathFact] = field(default_factory=list)
    orders: list[OrderFact] = field(default_factory=list)
    removed: dict[str, datetime] = field(default_factory=dict)

    def missions(self, now: datetime) -> list[Mission]:
        return missions(self.steps, self.orders, now)

    def missions_of(self, orders: Collection[UUID], now: datetime) -> list[Mission]:
        """All missions that these orders are part of, or that ended since the first of them."""
        return missions_of(self.steps, self.orders, now, orders)


def histories(
    work: UnitOfWork,
    book: FactBook,
    people: People,
    fresh_orders: Collection[UUID] = (),
    *,
    with_steps: bool = True,
) -> dict[UUID, History]:
    """By customer; `fresh_orders` are known to be theirs. Without `with_steps` only orders are looked up."""
    found = {customer: History(tuple(nodes)) for customer, nodes in people.nodes.items()}
    nodes = people.all_nodes
    for it in book.path(nodes) if with_steps else ():
        _take(found[people.of(it.node)], it)
    ids = book.orders(nodes) | set(fresh_orders)
    for order in work.find_all(Order, ids).values():
        if (history := found.get(people.of(order.node))) is not None:
            history.orders.append(order_fact(order))
    return found


def order_fact(order: Order) -> OrderFact:
    """What the analysis needs of an order."""
    placement, payment = order.placement, order.payment
    return OrderFact(
        id=order.id,
        node=order.node,
        placed_at=placement.placed_at,
        lines=tuple([(it.sku, it.category) for it in placement.lines]),
        paid_at=payment.paid_at if payment else None,
        net=order.net,
        received_at=order.received_at,
        cancelled_at=order.cancelled_at,
    )


def _take(history: History, behaviour: Behaviour) -> None:
    if behaviour.event_type == "cart_removed":
        sku, at = text_property(behaviour, "sku"), behaviour.occurred_at
        history.removed[sku] = max(at, history.removed.get(sku, at))
    elif (fact := path_fact(behaviour)) is not None:
        history.steps.append(fact)
