"""The leaves of the condition language (spec TG-4): each says one thing of one customer."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.tagging.domain.conditions.values import ALL_TIME, Comparison, Window


@dataclass(frozen=True, slots=True)
class HasTag:
    """The customer has a tag: with any value, or with this one."""

    tag: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class InLayer:
    """The customer is in a layer of a run: of `run`, else of the latest one as of `as_of`, else of the latest."""

    model: str
    layer: str
    run: UUID | None = None
    as_of: date | None = None


@dataclass(frozen=True, slots=True)
class RfmScores:
    """The customer's scores in the latest run of a model lie within inclusive bounds: (lowest, highest) of each."""

    model: str
    recency: tuple[int, ...] = (0, 5)
    frequency: tuple[int, ...] = (0, 5)
    monetary: tuple[int, ...] = (0, 5)


@dataclass(frozen=True, slots=True)
class InSegment:
    """The customer is in a segment."""

    segment: UUID


@dataclass(frozen=True, slots=True)
class AttributeTest:
    """An attribute that identity keeps, or one of the dimensions worked out here, compares so (see `dimensions`)."""

    key: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class PropertyTest:
    """A property of an event or an order compares so.

    Of an event: what its type declares, else what is under "extra"; `$channel`, `$content` and `$page_view` are the touchpoint,
    the content and the loading of the page, `$daypart` the quarter of the local day, such as "00–06". Of an order: see `OrderTest`.
    """

    key: str
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Happening:
    """Which behaviours are meant: of a type, of a category, or any; with these properties, at these local times.

    `hours` are (from, to), half-open, past midnight if to <= from; `weekdays` are ISO numbers (1 is Monday). Local time is by the
    offset the device reported, else by the tenant's zone. Hours past midnight belong to the night before, its weekday too.
    """

    type: str = ""
    category: str = ""
    where: tuple[PropertyTest, ...] = ()
    hours: tuple[int, ...] = ()
    weekdays: tuple[int, ...] = ()


class Figure(StrEnum):
    """What is worked out from the behaviours meant; SUM, AVG, MIN, MAX, LAST, FIRST, DISTINCT and USUAL of a property.

    COUNT, DAYS (distinct local dates, or nights if `hours` are given), SUM and DISTINCT of nothing are 0; all others of nothing are
    missing. WEEKS are the weeks from Monday on with at least so many of DAYS, 0 if there are none. SUM, AVG, MIN and MAX pass over
    what is no number, LAST and FIRST over events without the property, DISTINCT and USUAL over lists and objects.
    USUAL is the value that most of them have; of several as frequent, the one that came last.
    RECENCY_DAYS and FIRST_DAYS are local days from the last and the first to now.
    """

    COUNT = "COUNT"
    DAYS = "DAYS"
    WEEKS = "WEEKS"
    SUM = "SUM"
    AVG = "AVG"
    MIN = "MIN"
    MAX = "MAX"
    LAST = "LAST"
    FIRST = "FIRST"
    DISTINCT = "DISTINCT"
    USUAL = "USUAL"
    RECENCY_DAYS = "RECENCY_DAYS"
    FIRST_DAYS = "FIRST_DAYS"

    @property
    def of_now(self) -> bool:
        """Whether it grows with every day."""
        return self in (self.RECENCY_DAYS, self.FIRST_DAYS)


OF_A_PROPERTY: Final = frozenset(
    {Figure.SUM, Figure.AVG, Figure.MIN, Figure.MAX, Figure.LAST, Figure.FIRST, Figure.DISTINCT, Figure.USUAL}
)


@dataclass(frozen=True, slots=True)
class EventTest:
    """A figure of the behaviours in a window compares so; `property` is that of the figure, `days` how many a week of WEEKS has."""

    what: Happening
    figure: Figure
    comparison: Comparison
    window: Window = ALL_TIME
    property: str = ""
    days: int = 0


@dataclass(frozen=True, slots=True)
class Absence:
    """Something happened in the window, and the other did not within so many seconds after it; those must be over.

    It is enough that one such happening was not followed. What counts as following is later than it, by `within` at most.
    """

    what: Happening
    other: Happening
    within: int
    window: Window = ALL_TIME


@dataclass(frozen=True, slots=True)
class Succession:
    """The steps happened one after the other in the window: each later than the one before, by at most `gap` seconds, and
    the last at most `within` seconds after the first; 0 is no bound."""

    steps: tuple[Happening, ...]
    within: int = 0
    gap: int = 0
    window: Window = ALL_TIME


class StreakUnit(StrEnum):
    """What follows on what: local dates (nights if `hours` are given), or their weeks from Monday on."""

    DAY = "DAY"
    WEEK = "WEEK"


@dataclass(frozen=True, slots=True)
class Streak:
    """The behaviours of a window are on at least `length` days, or in weeks, one after the other."""

    what: Happening
    length: int
    unit: StreakUnit = StreakUnit.DAY
    window: Window = ALL_TIME


class OrderFigure(StrEnum):
    """What is worked out from orders that are still worth something (net > 0).

    COUNT of orders; OCCASIONS, distinct local dates of payment (spec 0.1); NET, its sum; AVG, MIN and MAX of net; QUANTITY, the
    pieces; SKUS and CATEGORIES, the different ones; RECENCY_DAYS and FIRST_DAYS, local days from the last and the first payment to
    now; SHARE, the percentage of the orders meant in all of the window; DAYPART, the quarter of the local day, such as "18–24", in which
    most were paid, of several as frequent the last one's; RETURNED, the orders of which money was given back, though nothing may be
    left of them. Where articles are asked for, net is what was paid for these and quantity and the different ones are of these alone.
    Of nothing, AVG, MIN, MAX, SHARE, DAYPART and days are missing, the others 0. Amounts are in whole units of currency, such as 999.99.
    """

    COUNT = "COUNT"
    OCCASIONS = "OCCASIONS"
    NET = "NET"
    AVG = "AVG"
    MIN = "MIN"
    MAX = "MAX"
    QUANTITY = "QUANTITY"
    SKUS = "SKUS"
    CATEGORIES = "CATEGORIES"
    RECENCY_DAYS = "RECENCY_DAYS"
    FIRST_DAYS = "FIRST_DAYS"
    SHARE = "SHARE"
    DAYPART = "DAYPART"
    RETURNED = "RETURNED"

    @property
    def of_now(self) -> bool:
        """Whether it grows with every day."""
        return self in (self.RECENCY_DAYS, self.FIRST_DAYS)


LINE_KEYS: Final = ("sku", "category", "brand")
ORDER_KEYS: Final = ("net", "coupons", "currency", "quantity", "discount", "weekday")


@dataclass(frozen=True, slots=True)
class OrderTest:
    """A figure of the orders paid in a window compares so.

    `where` are tests of an article (sku, category, brand: all of the same article) and of the order: net, coupons, currency,
    quantity (its pieces), discount (percent off the list prices of its articles) and weekday (ISO number of the local day of payment).
    Of an order whose articles are not known no article is such.
    """

    figure: OrderFigure
    comparison: Comparison
    window: Window = ALL_TIME
    where: tuple[PropertyTest, ...] = ()


class Tie(StrEnum):
    """Whom a customer is related to."""

    GUIDE = "guide"
    STORE = "store"
    REFERRER = "referrer"


@dataclass(frozen=True, slots=True)
class RelatedTo:
    """The id of the customer's guide, store or referrer compares so."""

    tie: Tie
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class InGroup:
    """The customer is in a community group: in this one, or in any."""

    group: str | None = None


@dataclass(frozen=True, slots=True)
class HasConsent:
    """The customer agreed to a purpose."""

    purpose: str


@dataclass(frozen=True, slots=True)
class Reachable:
    """Messages of a channel reach the customer: a platform said so of one of its nodes. Of none: of any channel."""

    channel: str | None = None


class FlowState(StrEnum):
    """IN: on the way. COMPLETED: got to the end of it, or to its goal."""

    IN = "IN"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, slots=True)
class InFlow:
    """The customer is in a flow, or has been through it; of none: in any."""

    flow: UUID | None
    state: FlowState


class DeliveryStatus(StrEnum):
    """SENT: the provider took the message. CLICKED: a link in it was opened."""

    SENT = "SENT"
    CLICKED = "CLICKED"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message of a broadcast or a flow was sent or clicked in the window; of none: of any."""

    campaign: UUID | None
    status: DeliveryStatus
    window: Window = ALL_TIME


Leaf = (
    HasTag
    | InLayer
    | RfmScores
    | InSegment
    | AttributeTest
    | EventTest
    | Absence
    | Succession
    | Streak
    | OrderTest
    | RelatedTo
    | InGroup
    | HasConsent
    | Reachable
    | InFlow
    | Delivered
)

LookedUp = HasTag | InLayer | RfmScores | InSegment
"""Leaves about sets that are kept; everything else follows from the history of the customer."""
