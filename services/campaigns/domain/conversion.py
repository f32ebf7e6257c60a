"""Conversions: orders that count for a broadcast because a unit of it paid them in its window.

Who counts (intention to treat): every assigned unit, whether or not anything was delivered to it.
An order belongs to the person its node belongs to now, and so does a unit: its node is the id it
had when it was assigned. When two units turn out to be one person, that person's orders count
once, for the unit that carries the surviving id, else for the smallest id; denominators stay as
assigned. If the two were in different variants the person crossed over, and both are left out of
the primary analysis and counted apart, also when it turns out later that they are two after all.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id


@dataclass(frozen=True, slots=True)
class Credit:
    """What an order is worth for a broadcast: to which unit it counts and with which net amount."""

    unit: UUID
    variant: str
    node: UUID
    net: Decimal
    currency: str
    paid_at: datetime


class Conversion(Aggregate):
    """One order that counts for one broadcast. Net 0: it does not count any more."""

    TOPIC = "campaigns.Conversion"

    class Recorded(InitialEvent):
        TOPIC = "campaigns.ConversionRecorded"
        tenant: str
        broadcast: UUID
        order: UUID
        credit: Credit

    class Adjusted(Event):
        TOPIC = "campaigns.ConversionAdjusted"
        broadcast: UUID
        order: UUID
        credit: Credit

    @event(Recorded)
    def __init__(self, id: UUID, tenant: str, broadcast: UUID, order: UUID, credit: Credit) -> None:
        self.tenant = tenant
        self.broadcast = broadcast
        self.order = order
        self.credit = credit

    @staticmethod
    def id_of(tenant: str, broadcast: UUID, order: UUID) -> UUID:
        return natural_id(tenant, "conversion", broadcast, order)

    def adjust(self, credit: Credit) -> None:
        """The order is worth something else now: a refund, or another unit after a merge or its undoing."""
        if credit != self.credit:
            self._adjusted(broadcast=self.broadcast, order=self.order, credit=credit)

    @event(Adjusted)
    def _adjusted(self, broadcast: UUID, order: UUID, credit: Credit) -> None:
        self.credit = credit


def unit_of(person: UUID, units: Iterable[UUID]) -> UUID:
    """The unit to which the orders of `person` count, of all `units` that are this person."""
    found = set(units)
    return person if person in found else min(found)


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of one variant: units assigned, persons converted, their net revenue by currency.

    `crossed_over` units are contained in neither.
    """

    variant: str
    assigned: int
    converted: int
    crossed_over: int = 0
    revenue: Mapping[str, Decimal] = field(default_factory=dict)


def tallies(
    variants: Mapping[str, Sequence[UUID]],
    persons: Mapping[UUID, UUID],
    orders: Iterable[tuple[UUID, Decimal, str]],
    marked: Collection[UUID] = (),
) -> dict[str, Tally]:
    """Count by the rule above, from nothing but facts; `orders` are (node, net, currency).

    `marked` are units that crossed over by a merge that was taken back. The definition in its plainest form: what the
    service counts with SQL is tested against it.
    """
    groups: dict[UUID, set[str]] = {}
    for variant, units in variants.items():
        for unit in units:
            groups.setdefault(persons.get(unit, unit), set()).add(variant)
    spent: dict[UUID, dict[str, Decimal]] = {}
    for node, net, currency in orders:
        if net > 0:
            its = spent.setdefault(persons.get(node, node), {})
            its[currency] = its.get(currency, Decimal(0)) + net
    crossed_before = {persons.get(it, it) for it in marked}
    found: dict[str, Tally] = {}
    for variant, units in variants.items():
        everybody = [persons.get(it, it) for it in units]
        loyal = [it for it in everybody if len(groups[it]) == 1 and it not in crossed_before]
        converted = set(loyal) & spent.keys()
        crossed = len(everybody) - len(loyal)
        found[variant] = Tally(variant, len(loyal), len(converted), crossed, _sum([spent[it] for it in converted]))
    return found


def _sum(amounts: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for its in amounts:
        for currency, amount in its.items():
            total[currency] = total.get(currency, Decimal(0)) + amount
    return total
