"""The facts of one customer as conditions look at them: found once per customer, by what a leaf means, for any instant."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Generic, NamedTuple, TypeVar

from services.tagging.domain.calendar import Calendar, daypart
from services.tagging.domain.conditions.comparing import tester
from services.tagging.domain.conditions.leaves import (
    LINE_KEYS,
    Delivered,
    DeliveryStatus,
    Happening,
    OrderFigure,
    OrderTest,
    PropertyTest,
)
from services.tagging.domain.conditions.values import Period, Window
from services.tagging.domain.history import Behaviour, History, Line, Purchase
from services.tagging.domain.money import scale

T = TypeVar("T")
HOUR: Final = timedelta(hours=1)
MILLI: Final = 1000
"""Amounts are added up in thousandths of a unit of currency, which no currency is finer than."""

OF_THE_BEHAVIOUR: Final[Mapping[str, Callable[[Behaviour, Calendar], str]]] = {
    "$channel": lambda it, _: it.channel,
    "$content": lambda it, _: it.content,
    "$page_view": lambda it, _: it.page_view,
    "$daypart": lambda it, calendar: daypart(calendar.local(it.at, it.offset)),
}
"""What is asked for like a property and is none."""


def property_of(it: Behaviour, key: str, calendar: Calendar) -> Any:
    """A property of a behaviour, declared or not; None if it is missing."""
    found = OF_THE_BEHAVIOUR.get(key)
    if found is not None:
        return found(it, calendar) or None
    value = it.properties.get(key)
    if value is None:
        extra = it.properties.get("extra")
        value = extra.get(key) if isinstance(extra, dict) else None
    return value


class Bought(NamedTuple):
    """What of an order a leaf means: its net in thousandths, the pieces, and what they are."""

    at: datetime
    net: int
    quantity: int
    skus: frozenset[str]
    categories: frozenset[str]


class Found(NamedTuple, Generic[T]):
    """Facts in the order of time, beside the instants at which they happened."""

    facts: Sequence[T]
    instants: Sequence[datetime]


@dataclass(slots=True)
class Facts:
    """The history of one customer under one calendar; what was found is kept."""

    history: History
    calendar: Calendar
    _by_type: dict[str, list[Behaviour]] = field(default_factory=dict)
    _meant: dict[Happening, Found[Behaviour]] = field(default_factory=dict)
    _bought: dict[tuple[tuple[PropertyTest, ...], bool], Found[Bought]] = field(default_factory=dict)

    def meant(self, what: Happening) -> Found[Behaviour]:
        """All behaviours that `what` means, at any time."""
        found = self._meant.get(what)
        if found is None:
            tests = [(it.key, tester(it.comparison)) for it in what.where]
            facts = [
                it
                for it in self._candidates(what)
                if all(test(property_of(it, key, self.calendar)) for key, test in tests) and self._at_its_time(what, it)
            ]
            found = self._meant[what] = Found(facts, [it.at for it in facts])
        return found

    def bought(self, where: tuple[PropertyTest, ...], *, returned: bool = False) -> Found[Bought]:
        """All orders with something left of them that `where` means, or (`returned`) those of which money was given back."""
        found = self._bought.get((where, returned))
        if found is None:
            orders = [it for it in self.history.purchases if (it.returned if returned else it.net) > 0]
            facts = [it for it in (_bought(one, where, self.calendar) for one in orders) if it is not None]
            found = self._bought[where, returned] = Found(facts, [it.at for it in facts])
        return found

    def ordered(self, leaf: OrderTest) -> Found[Bought]:
        """All orders that the leaf means, at any time."""
        return self.bought(leaf.where, returned=leaf.figure is OrderFigure.RETURNED)

    def delivered(self, leaf: Delivered) -> Sequence[datetime]:
        """When messages were sent or clicked that `leaf` means, at any time."""
        clicked = leaf.status is DeliveryStatus.CLICKED
        found = (
            it.clicked_at if clicked else it.sent_at
            for it in self.history.dealings.messages
            if leaf.campaign in (None, it.campaign)
        )
        return sorted(it for it in found if it is not None)

    def day(self, what: Happening, it: Behaviour) -> int:
        """The day number for which a behaviour counts: of the night it belongs to if hours are given."""
        if not what.hours:
            return self.calendar.day(it.at)
        night = night_of(what.hours, self.calendar.local(it.at, it.offset))
        return self.calendar.day(it.at) if night is None else night

    def span(self, window: Window, instants: Sequence[datetime], at: datetime) -> tuple[int, int]:
        """Which of `instants` a window as of `at` holds: those from the first number up to, without it, the second."""
        end = bisect_right(instants, at)
        match window.period:
            case Period.ALL:
                return 0, end
            case Period.LAST_N_HOURS:
                return bisect_right(instants, at - window.n * HOUR, 0, end), end
            case Period.BETWEEN:
                start = bisect_left(instants, self._midnight(window.first))
                end = min(end, bisect_left(instants, self._midnight(window.last, 1)))
                return start, max(start, end)  # nothing, while the first day has not begun
            case Period.LAST_N_DAYS:
                first = self.calendar.today(at) - window.n + 1
            case Period.THIS_MONTH:
                first = date.fromordinal(self.calendar.today(at)).replace(day=1).toordinal()
        return bisect_left(instants, self.calendar.midnight(first), 0, end), end

    def leaves_at(self, window: Window, at: datetime) -> datetime | None:
        """When what happened `at` leaves the window because time passes."""
        match window.period:
            case Period.LAST_N_HOURS:
                return at + window.n * HOUR
            case Period.LAST_N_DAYS:
                return self.calendar.midnight(self.calendar.day(at) + window.n)
            case Period.THIS_MONTH:
                day = date.fromordinal(self.calendar.day(at))
                following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
                return self.calendar.midnight(following.toordinal())
        return None

    def _midnight(self, day: date | None, later: int = 0) -> datetime:
        """Of a window that has no such bound, the first instant of all."""
        return self.calendar.midnight(day.toordinal() + later) if day else datetime.min.replace(tzinfo=UTC)

    def _candidates(self, what: Happening) -> Sequence[Behaviour]:
        if what.type:
            if not self._by_type:
                for it in self.history.behaviours:
                    self._by_type.setdefault(it.type, []).append(it)
            found: Sequence[Behaviour] = self._by_type.get(what.type, ())
        else:
            found = self.history.behaviours
        return [it for it in found if it.category == what.category] if what.category else found

    def _at_its_time(self, what: Happening, it: Behaviour) -> bool:
        if not what.hours and not what.weekdays:
            return True
        local = self.calendar.local(it.at, it.offset)
        day = night_of(what.hours, local) if what.hours else local.toordinal()
        return day is not None and (not what.weekdays or (day - 1) % 7 + 1 in what.weekdays)


def night_of(hours: tuple[int, ...], local: datetime) -> int | None:
    """The day number for which wall-clock `local` counts; None outside of the hours."""
    start, end = hours
    if start < end:
        return local.toordinal() if start <= local.hour < end else None
    if local.hour >= start:
        return local.toordinal()
    return local.toordinal() - 1 if local.hour < end else None


def _bought(it: Purchase, where: tuple[PropertyTest, ...], calendar: Calendar) -> Bought | None:
    milli = MILLI // scale(it.currency)
    if not all(tester(one.comparison)(_of_order(it, one.key, calendar)) for one in where if one.key not in LINE_KEYS):
        return None
    of_lines = [one for one in where if one.key in LINE_KEYS]
    lines = [line for line in it.lines if all(tester(one.comparison)(_of_line(line, one.key)) for one in of_lines)]
    if of_lines and not lines:
        return None
    return Bought(
        it.at,
        sum(line.paid for line in lines) * milli if of_lines else it.net * milli,
        sum(line.quantity for line in lines),
        frozenset(line.sku for line in lines if line.sku),
        frozenset(line.category for line in lines if line.category),
    )


def _of_order(it: Purchase, key: str, calendar: Calendar) -> Any:
    match key:
        case "net":
            return it.net / scale(it.currency)
        case "coupons":
            return it.coupons
        case "currency":
            return it.currency
        case "quantity":
            return sum(line.quantity for line in it.lines) if it.lines else None
        case "discount":
            listed = sum(line.list for line in it.lines)
            return 100 * (listed - sum(line.paid for line in it.lines)) / listed if listed else None
        case "weekday":
            return (calendar.day(it.at) - 1) % 7 + 1
    return None


def _of_line(line: Line, key: str) -> str | None:
    """Of an article whose category or brand is not known, it is missing."""
    found: str = getattr(line, key)
    return found or None
