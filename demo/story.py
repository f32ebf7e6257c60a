"""Everything that happens, day by day, in the order in which the services will hear of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Final

from demo.buyers import purchase_days, sharers
from demo.calendar import instant, local_day
from demo.dataset import Order, data_file, first_days, load_orders
from demo.people import Binding, Person, bindings, people
from demo.prospects import prospects, referred_orders
from demo.touches import Touch
from demo.trail import trail

_EVENING: Final = time(23)
_ONE_IN: Final = 10
_SMOKE_REMAINDER: Final = 1

CLOSED_ON: Final = date(1998, 7, 1)
"""The day after the last one of the file. What referred people ordered in the half year is told only now, so that all that was
asked before is about the file alone."""


@dataclass(slots=True)
class Day:
    """What the services hear of on one local day."""

    day: date
    touches: list[Touch] = field(default_factory=list)
    logins: list[Binding] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)

    @property
    def reported_at(self) -> datetime:
        """The evening: later than all that happens on the day, and still the same day."""
        return instant(self.day, _EVENING)

    @property
    def facts(self) -> int:
        """How many: an order is placed and paid."""
        return len(self.touches) + len(self.logins) + 2 * len(self.orders)


@dataclass(frozen=True, slots=True)
class Story:
    """All days on which something is heard of, in order; `sharing` are those who will tell others of the shop."""

    days: Sequence[Day]
    sharing: Sequence[Person] = ()

    @property
    def size(self) -> Mapping[str, int]:
        return {
            "touches": sum(len(it.touches) for it in self.days),
            "logins": sum(len(it.logins) for it in self.days),
            "orders": sum(len(it.orders) for it in self.days),
        }


def tell(*, smoke: bool) -> Story:
    """The whole story; with `smoke`, that of one customer, and one stranger, in ten. Raises DataUnavailable."""
    orders, strangers = load_orders(data_file()), prospects()
    if smoke:
        orders = [it for it in orders if _takes_part(int(it.customer))]
        strangers = [it for it in strangers if _takes_part(it.number)]
    everybody = people(first_days(orders))
    logins = (it for person in everybody for it in bindings(person))
    days = _by_day(trail(everybody, orders, strangers), logins, orders, referred_orders(strangers))
    return Story(days, sharers(everybody, purchase_days(orders)))


def _takes_part(number: int) -> bool:
    return number % _ONE_IN == _SMOKE_REMAINDER


def _by_day(
    touches: Iterable[Touch], logins: Iterable[Binding], orders: Iterable[Order], told_at_last: Iterable[Order]
) -> list[Day]:
    days = _Calendar()
    for touch in touches:
        days[local_day(touch.received_at)].touches.append(touch)
    for login in logins:
        days[local_day(login.at)].logins.append(login)
    for order in orders:
        days[local_day(order.paid_at)].orders.append(order)
    days[CLOSED_ON].orders.extend(told_at_last)
    for it in days.values():
        it.orders.sort(key=lambda order: (order.paid_at, order.row))
    return sorted(days.values(), key=lambda it: it.day)


class _Calendar(dict[date, Day]):
    def __missing__(self, day: date) -> Day:
        return self.setdefault(day, Day(day))
