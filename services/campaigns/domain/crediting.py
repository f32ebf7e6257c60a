"""Crediting: which orders count for which units, as a function of facts in whatever order they came."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.campaigns.domain.conversion import Credit, unit_of

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class OrderFact:
    """One statement about an order: paid (`paid_at` is set), or refunded (it is not).

    `net` is what the order is worth after it; `position` orders the statements.
    """

    order: UUID
    position: int
    node: UUID
    paid_at: datetime | None
    net: Decimal
    currency: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """When the orders of a broadcast's units count: paid in [opens, closes), told before `final`."""

    broadcast: UUID
    opens: datetime
    closes: datetime
    final: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A unit of a broadcast and who it is now."""

    broadcast: UUID
    unit: UUID
    variant: str
    person: UUID


def credits_of(
    facts: Sequence[OrderFact],
    windows: Iterable[Window],
    persons: Mapping[UUID, UUID],
    candidates: Iterable[Candidate],
) -> dict[tuple[UUID, UUID], Credit]:
    """The credit of each (broadcast, order) that some unit of the broadcast paid in its window.

    An order refunded in full is there with net 0. `facts` are all facts of the orders concerned,
    `persons` the customer of each of their nodes, `candidates` all units of these customers.
    """
    orders: dict[UUID, list[OrderFact]] = {}
    for fact in sorted(facts, key=lambda it: it.position):
        orders.setdefault(fact.order, []).append(fact)
    units: dict[tuple[UUID, UUID], dict[UUID, str]] = {}
    for it in candidates:
        units.setdefault((it.broadcast, it.person), {})[it.unit] = it.variant
    found: dict[tuple[UUID, UUID], Credit] = {}
    for window in windows:
        for order, told in orders.items():
            person = persons.get(told[0].node, told[0].node)
            mine = units.get((window.broadcast, person))
            if mine and (credit := _credit(told, window, person, mine)):
                found[window.broadcast, order] = credit
    return found


def _credit(told: Sequence[OrderFact], window: Window, person: UUID, units: Mapping[UUID, str]) -> Credit | None:
    in_time = [it for it in told if it.recorded_at < window.final]
    payments = [it for it in in_time if it.paid_at is not None]
    if not payments:
        return None
    last, paid_at = in_time[-1], payments[-1].paid_at
    if paid_at is None or not window.opens <= paid_at < window.closes:
        return None
    unit = unit_of(person, units)
    net = max(last.net, NOTHING)
    return Credit(unit, units[unit], last.node, net, last.currency, paid_at)
