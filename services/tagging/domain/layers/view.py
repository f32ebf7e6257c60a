"""A history in the local days of its brand, as of one instant: what models of layers are functions of.

Layers change with facts, and with time alone only when a local day begins: a fact of day f is in the last n days on the
days f … f + n − 1.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from typing import Any, Final, Self

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.history import Behaviour, History, Purchase
from services.tagging.domain.layers.event_types import REFERRAL_SUCCEEDED

NONE: Final = "NONE"
"""The layer of a customer that a model says nothing about."""

MARK: Final = "+"
"""Begins the names of sets that a model finds beside its layers: a customer may be in any number of them."""

ORDER_EVENTS: Final = frozenset({"order_completed", "order_refunded", "order_cancelled"})
"""Reports of orders, which are no behaviour."""

NOT_BY_CUSTOMER: Final = frozenset(
    {"competitor_purchase_reported", "order_reviewed", REFERRAL_SUCCEEDED, *ORDER_EVENTS}
)
"""What others report of a customer, who was not necessarily there."""

SHARES: Final = frozenset({"content_shared", "content_forwarded"})
REVIEWS: Final = frozenset({"review_submitted", "order_reviewed"})
COMPETITOR: Final = "competitor_purchase_reported"
REFERRED: Final = "referral_registered"
"""Registering because a customer said so connects and means to buy at once: it is C and N (TR-2)."""

BROWSED: Final = "BROWSED"
"""The category of views of products on a single day: more than passive, less than interest (TG-15)."""

ENGAGED: Final = "content_engaged"
_READING: Final = frozenset({"content_viewed", ENGAGED})
VIEW_AGAIN_DAYS: Final = 30
SHORTEST_READING: Final = 10
"""Seconds on a page from which on a content was of interest."""


_at: Final = attrgetter("at")


@dataclass(frozen=True)
class View:
    """What had happened by the instant `at` on local day `day` (date.toordinal), with the day of every fact."""

    history: History
    at: datetime
    day: int
    behaviours: Sequence[Behaviour]
    days: Sequence[int]
    purchases: Sequence[Purchase]
    purchase_days: Sequence[int]
    calendar: Calendar

    @classmethod
    def of(cls, history: History, calendar: Calendar, at: datetime) -> Self:
        behaviours = [it for it in history.behaviours if it.at <= at and it.type not in ORDER_EVENTS]
        purchases = [it for it in history.purchases if it.at <= at and it.net > 0]
        day = calendar.day
        return cls(
            history,
            at,
            day(at),
            behaviours,
            [day(it.at) for it in behaviours],
            purchases,
            [day(it.at) for it in purchases],
            calendar,
        )

    @classmethod
    def of_each(cls, history: History, calendar: Calendar, instants: Sequence[datetime]) -> list[Self]:
        """`of` at each of `instants`, for which every fact is looked at once."""
        behaviours = [it for it in history.behaviours if it.type not in ORDER_EVENTS]
        purchases = [it for it in history.purchases if it.net > 0]
        day = calendar.day
        days, purchase_days = [day(it.at) for it in behaviours], [day(it.at) for it in purchases]
        found: list[Self] = []
        for at in instants:
            n, m = bisect_right(behaviours, at, key=_at), bisect_right(purchases, at, key=_at)
            ended = behaviours[:n], days[:n], purchases[:m], purchase_days[:m]
            found.append(cls(history, at, day(at), *ended, calendar))
        return found

    def on(self, day: int) -> "View":
        """The same facts on another day."""
        moved = object.__new__(View)
        moved.__dict__.update(self.__dict__, day=day)  # nothing that was found out depends on the day
        return moved

    @cached_property
    def occasions(self) -> list[int]:
        """The days with a purchase, in order."""
        return sorted(set(self.purchase_days))

    @cached_property
    def referrals(self) -> list[int]:
        """The days on which somebody referred paid the first order, as was found out."""
        return [self.calendar.day(it) for it in self.history.referrals if it <= self.at]

    def days_of(self, types: Collection[str]) -> list[int]:
        """The days of all behaviours of `types`, in order; of referrals that succeeded, those that were found out too."""
        days = [day for day, it in zip(self.days, self.behaviours, strict=True) if it.type in types]
        return sorted([*days, *self.referrals]) if REFERRAL_SUCCEEDED in types and self.referrals else days

    def recent(self, days: int) -> Iterator[tuple[int, Behaviour]]:
        """The behaviours of the last `days` days, each with its day."""
        for index in range(bisect_right(self.days, self.day - days), len(self.days)):
            yield self.days[index], self.behaviours[index]

    def within(self, day: int | None, days: int) -> bool:
        """Whether `day` is one of the last `days` days; None is not."""
        return day is not None and self.day - day < days

    def bought_within(self, days: int) -> int:
        """Occasions in the last `days` days."""
        return len(self.occasions) - bisect_right(self.occasions, self.day - days)

    @cached_property
    def last_of_type(self) -> Mapping[str, int]:
        """The last day of every type of behaviour, and of referrals that succeeded."""
        found = {it.type: day for day, it in zip(self.days, self.behaviours, strict=True)}
        if self.referrals:
            found[REFERRAL_SUCCEEDED] = max(self.referrals[-1], found.get(REFERRAL_SUCCEEDED, 0))
        return found

    def last_of(self, types: frozenset[str]) -> int | None:
        """The last day of a behaviour of one of `types`."""
        return max((day for kind, day in self.last_of_type.items() if kind in types), default=None)

    @cached_property
    def last_by_customer(self) -> int | None:
        """The last day on which the customer did anything."""
        return max((day for kind, day in self.last_of_type.items() if kind not in NOT_BY_CUSTOMER), default=None)

    @cached_property
    def last_of_letter(self) -> Mapping[str, int]:
        """The last day of every category of behaviours (TR-2), as it turns out in the light of what else is known."""
        found: dict[str, int] = {}
        for day, it in zip(self.days, self.behaviours, strict=True):
            if it.type == "product_viewed":
                found["N" if self._viewed_again(day) else BROWSED] = day
            elif it.type in _READING:
                found["I" if self.dwell.get(it.page_view, 0) >= SHORTEST_READING else "P"] = day
            else:
                found[it.category] = day
        return found

    def _viewed_again(self, day: int) -> bool:
        """Whether products were viewed on another day not long before `day`."""
        index = bisect_right(self._days_of_views, day - 1)
        return index > 0 and day - self._days_of_views[index - 1] < VIEW_AGAIN_DAYS

    @cached_property
    def _days_of_views(self) -> list[int]:
        kinds = zip(self.days, self.behaviours, strict=True)
        return sorted({day for day, it in kinds if it.type == "product_viewed"})

    @cached_property
    def dwell(self) -> Mapping[str, int]:
        """Seconds of attention by page view (TR-3): distinct buckets of ten seconds, the first of which counts five."""
        buckets: dict[str, set[int]] = {}
        walls: dict[str, int] = {}
        for it in self.behaviours:
            if it.type == ENGAGED:
                active = it.properties.get("active_buckets", 0)
                found = active if isinstance(active, list) else range(active)
                buckets.setdefault(it.page_view, set()).update(found)
                wall = it.properties.get("wall_ms")
                if wall is not None:
                    walls[it.page_view] = max(wall, walls.get(it.page_view, 0))
        seconds = {page: 10 * len(found) - 5 if found else 0 for page, found in buckets.items()}
        return {page: min(it, walls[page] // 1000) if page in walls else it for page, it in seconds.items()}

    @cached_property
    def category_of_sku(self) -> Mapping[str, str]:
        """What this customer's facts tell about the category of articles."""
        found = {text(it, "sku"): text(it, "category") for it in self.behaviours if text(it, "category")}
        found |= {line.sku: line.category for it in self.purchases for line in it.lines if line.category}
        found.pop("", None)
        return found

    def category(self, behaviour: Behaviour) -> str:
        """The category of products that a behaviour is about; empty where nothing tells."""
        return text(behaviour, "category") or self.category_of_sku.get(text(behaviour, "sku"), "")

    def is_intent(self, behaviour: Behaviour, day: int) -> bool:
        """Whether a behaviour counts as N (TR-2): of views of products, those on a second day in 30."""
        if behaviour.type != "product_viewed":
            return behaviour.category == "N" or behaviour.type == REFERRED
        return self._viewed_again(day)

    @cached_property
    def last_intent(self) -> int | None:
        """The last day of a behaviour that counts as N."""
        found = zip(reversed(self.days), reversed(self.behaviours), strict=True)
        return next((day for day, it in found if self.is_intent(it, day)), None)

    @cached_property
    def gap(self) -> float | None:
        """The purchase cycle (TR-3): the median of days between occasions; None for fewer than three."""
        if len(self.occasions) < 3:
            return None
        gaps = sorted(later - day for day, later in pairwise(self.occasions))
        middle = len(gaps) // 2
        return float(gaps[middle]) if len(gaps) % 2 else (gaps[middle - 1] + gaps[middle]) / 2


def text(behaviour: Behaviour, name: str) -> str:
    """A property that is a text, declared for the type of the behaviour or not; empty if there is none."""
    extra = behaviour.properties.get("extra")
    found = behaviour.properties.get(name) or (extra.get(name) if isinstance(extra, dict) else None)
    return found if isinstance(found, str) else ""


def number(behaviour: Behaviour, name: str) -> float | None:
    """A property that is a number."""
    found: Any = behaviour.properties.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
