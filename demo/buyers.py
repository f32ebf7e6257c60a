"""What customers do once they buy: they review orders, share what they like, and tell of purchases elsewhere (G6 to G8)."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from typing import Final

from demo.buckets import bucket
from demo.calendar import instant, local_day
from demo.dataset import Order
from demo.people import SHOP, Person, Sighting
from demo.touches import H5, SHOP_SERVER, SURVEY, Touch

_REVIEWED: Final = 1_000
_PLEASED: Final = 8_000
_REVIEW_AFTER: Final = timedelta(days=7)
_REVIEW_AT: Final = time(20)

_BOUGHT_ELSEWHERE: Final = 300
_SURVEY_DAY: Final = date(1997, 12, 15)
_SURVEY_AT: Final = time(12)

_SHARERS: Final = 1_500
_DAYS_BEFORE_SHARING: Final = 3
_SHARED_AT: Final = time(21)

Purchases = Mapping[str, Sequence[date]]
"""The days on which each customer bought something that cost anything, in order."""


def purchase_days(orders: Iterable[Order]) -> Purchases:
    days: defaultdict[str, set[date]] = defaultdict(set)
    for it in orders:
        if it.amount > 0:
            days[it.customer].add(local_day(it.paid_at))
    return {customer: sorted(it) for customer, it in days.items()}


def sharers(people: Iterable[Person], bought: Purchases) -> list[Person]:
    """Those who tell others of the shop, in the order of their numbers."""
    often = (it for it in people if len(bought.get(it.customer, ())) >= _DAYS_BEFORE_SHARING)
    return sorted((it for it in often if it.roll("kol") < _SHARERS), key=lambda it: it.customer)


def referral_code(sharer: Person) -> str:
    """What the friends of a sharer name."""
    return f"R{sharer.customer}"


def reviews(orders: Iterable[Order]) -> Iterator[Touch]:
    """A week after one order in ten, most of them good."""
    for it in orders:
        line = f"line:{it.row}"
        if bucket("review", line) < _REVIEWED:
            at = instant(local_day(it.paid_at) + _REVIEW_AFTER, _REVIEW_AT)
            score = 5 if bucket("score", line) < _PLEASED else 2
            properties = f'{{"order":"{it.order_no}","score":{score}}}'
            who = (_account(it.customer),)
            yield Touch(f"{line}:review", "order_reviewed", SHOP_SERVER, at, at, who, properties=properties)


def survey(people: Iterable[Person]) -> Iterator[Touch]:
    """Before Christmas a survey finds who buys elsewhere."""
    at = instant(_SURVEY_DAY, _SURVEY_AT)
    for it in people:
        if it.roll("comp") < _BOUGHT_ELSEWHERE:
            who, properties = (_account(it.customer),), f'{{"source":"{SURVEY}"}}'
            yield Touch(f"{it.key}:comp", "competitor_purchase_reported", SURVEY, at, at, who, properties=properties)


def shares(sharing: Iterable[Person], bought: Purchases) -> Iterator[Touch]:
    """Each sharer once, in the evening of the third day with a purchase."""
    for it in sharing:
        at = instant(bought[it.customer][_DAYS_BEFORE_SHARING - 1], _SHARED_AT)
        who = (Sighting("anonymous_id", it.anonymous_id()),)
        yield Touch(f"{it.key}:share", "content_shared", H5, at, at, who, content=it.content)


def _account(customer: str) -> Sighting:
    return Sighting("external_id", customer, SHOP, verified=True)
