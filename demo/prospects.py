"""People who never were customers of the file: they look around in 1998, and some come because a customer told them (G9)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from demo.buckets import bucket
from demo.buyers import referral_code
from demo.calendar import instant
from demo.dataset import Order
from demo.people import SHOP, Person, Sighting
from demo.touches import H5, SHOP_SERVER, Touch

ARTICLE: Final = "CD"

_NUMBER: Final = 6_000
_FIRST_DAY: Final = date(1998, 1, 1)
_DAYS: Final = 170
_ONLY_READ: Final = 5_000
_READ_OR_LOOK: Final = 8_000
_BUYERS: Final = 4_000
_ORDERED_AFTER: Final = timedelta(days=10)
_PLACED: Final = time(11, 55)
_PAID: Final = time(12)
_CHEAPEST: Final = 20_00
_LAST_ROW: Final = 90_000
_EVENING: Final = time(20)
_LATER: Final = time(20, 5)
_LAST: Final = time(20, 10)


@dataclass(frozen=True, slots=True)
class Prospect:
    """One of 6,000 strangers, by number."""

    number: int

    @property
    def account(self) -> str:
        """The number of an account at the shop, for those who open one."""
        return f"P{self.number:04d}"

    @property
    def key(self) -> str:
        """What all dice of this person are rolled with."""
        return f"prospect:{self.account}"

    def roll(self, purpose: str) -> int:
        """This person's number in [0, 10,000) for `purpose`."""
        return bucket(purpose, self.key)

    @property
    def day(self) -> date:
        """The day on which this person first comes."""
        return _FIRST_DAY + timedelta(days=self.roll("pday") % _DAYS)

    @property
    def looks_at_products(self) -> bool:
        return _ONLY_READ <= self.roll("ptype") < _READ_OR_LOOK

    @property
    def is_referred(self) -> bool:
        return self.roll("ptype") >= _READ_OR_LOOK

    @property
    def buys(self) -> bool:
        return self.is_referred and self.roll("porder") < _BUYERS

    @property
    def browser(self) -> Sighting:
        return Sighting("anonymous_id", f"a:{self.key}:0")


def prospects() -> list[Prospect]:
    return [Prospect(number) for number in range(1, _NUMBER + 1)]


def prospect_touches(everybody: Iterable[Prospect], sharers: Sequence[Person]) -> Iterator[Touch]:
    """All that the prospects do; those who are referred name one of the `sharers`."""
    for it in everybody:
        yield _visit(it)
        if it.looks_at_products:
            yield from _looking(it)
        elif it.is_referred and sharers:
            yield _registration(it, sharers[it.roll("ref") % len(sharers)])


def referred_orders(everybody: Iterable[Prospect]) -> list[Order]:
    """What those who were referred buy, ten days later; numbered behind all rows of the file."""
    return [_order(it) for it in everybody if it.buys]


def _order(it: Prospect) -> Order:
    day = it.day + _ORDERED_AFTER
    amount = _CHEAPEST + it.roll("pamt") % 40_00
    return Order(_LAST_ROW + it.number, it.account, 1, amount, instant(day, _PLACED), instant(day, _PAID))


def _visit(it: Prospect) -> Touch:
    view, content = f"{it.key}:view:0", f"H5-{it.roll('cont') % 12}"
    at = instant(it.day, _EVENING)
    return Touch(view, "content_viewed", H5, at, at, (it.browser,), content=content, page_view=f"{view}:page")


def _looking(it: Prospect) -> Iterator[Touch]:
    """Looks at a product on two days, and puts it into the cart on the third."""
    for day in range(2):
        at = _on(it, day)
        view = f"{it.key}:pv:{day}"
        yield Touch(
            view, "product_viewed", H5, at, at, (it.browser,), page_view=view, properties=f'{{"sku":"{ARTICLE}"}}'
        )
    at = _on(it, 2)
    yield Touch(f"{it.key}:cart", "cart_added", H5, at, at, (it.browser,), properties=f'{{"sku":"{ARTICLE}","qty":1}}')


def _on(it: Prospect, day: int) -> datetime:
    return instant(it.day + timedelta(days=day), _LATER)


def _registration(it: Prospect, sharer: Person) -> Touch:
    """The shop opens an account for whom it had seen as a browser only: from here on this is somebody known."""
    at, account = instant(it.day, _LAST), Sighting("external_id", it.account, SHOP, verified=True)
    return Touch(
        f"{it.key}:refreg",
        "referral_registered",
        SHOP_SERVER,
        at,
        at,
        (it.browser, account),
        properties=f'{{"referrer_code":"{referral_code(sharer)}"}}',
    )
