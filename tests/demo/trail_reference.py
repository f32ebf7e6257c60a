"""The brand pyramid, boards, funnels, insights and identities computed from the trail and the raw file in plain Python."""

import calendar
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from statistics import median

import orjson

from demo.buyers import purchase_days
from demo.calendar import instant, local_day, week
from demo.dataset import Order
from demo.people import Person, bindings
from demo.touches import Touch

MONTH = timedelta(days=30)
YEAR = 365
EVENING = time(23)
LAYERS = ("L1", "L2", "L3", "L4", "L5", "L6", "LAPSED", "OUT", "NONE")


def accepted(touches: Iterable[Touch]) -> list[Touch]:
    """The first copy of each message that is in time and says who it was, in the order of receipt."""
    first: dict[str, Touch] = {}
    for it in touches:
        if it.received_at - it.occurred_at <= MONTH and it.value != "null":
            first.setdefault(it.message_id, it)
    return list(first.values())


def person_of(touch: Touch) -> str:
    """Who it was after all: the key of a customer or a prospect."""
    who = touch.who[-1]
    if who.namespace == "external_id":
        return _key(who.value)
    return who.value.split(":", 1)[1].rsplit(":", 1)[0]


def _key(account: str) -> str:
    return f"prospect:{account}" if account.startswith("P") else f"cdnow:{account}"


@dataclass(frozen=True)
class Identities:
    """How profiles come into being and grow together."""

    anonymous_created: int
    known_created: int
    became_known: int
    merges: int
    known_customers: int
    anonymous_customers: int


def identities(touches: Sequence[Touch], everybody: Sequence[Person]) -> Identities:
    """Logins come before everything else of their day; a browser or phone is anonymous until it is in one of them."""
    seen: dict[str, Touch] = {}
    for it in accepted(touches):
        if it.who[0].namespace == "anonymous_id":
            seen.setdefault(it.value, it)
    logins = [it for person in everybody for it in bindings(person)]
    early = [it for it in logins if (first := seen.get(it.sightings[0].value)) and first.received_at < it.at]
    second = sum(len(it.sightings) == 2 for it in early)
    strangers = [it for value, it in seen.items() if value.startswith("a:prospect:")]
    at_once = sum(it.event_type == "referral_registered" for it in strangers)
    known = {person_of(it) for it in accepted(touches) if it.event_type == "referral_registered"}
    return Identities(
        anonymous_created=len(early) + len(strangers) - at_once,
        known_created=len(everybody) - (len(early) - second) + at_once,
        became_known=len(early) - second + len(known) - at_once,
        merges=second,
        known_customers=len(everybody) + len(known),
        anonymous_customers=len(strangers) - len(known),
    )


@dataclass
class Past:
    """What is known of one person: local days of purchases, behaviours, intent, purchases elsewhere, and first orders of friends."""

    bought: Sequence[date] = ()
    seen: list[date] = field(default_factory=list)
    looked: set[date] = field(default_factory=set)
    meant: list[date] = field(default_factory=list)
    elsewhere: list[date] = field(default_factory=list)
    won: list[date] = field(default_factory=list)


def pasts(touches: Sequence[Touch], orders: Sequence[Order]) -> dict[str, Past]:
    found: defaultdict[str, Past] = defaultdict(Past)
    for customer, days in purchase_days(orders).items():
        found[_key(customer)].bought = days
    for it in accepted(touches):
        past, day = found[person_of(it)], local_day(it.occurred_at)
        past.seen.append(day)
        match it.event_type:
            case "product_viewed":
                past.looked.add(day)
            case "cart_added" | "referral_registered":
                past.meant.append(day)
            case "competitor_purchase_reported":
                past.elsewhere.append(day)
    for past in found.values():
        past.meant += [day for day in past.looked if any(0 < (day - it).days < 30 for it in past.looked)]
    for friend, sharer in named(touches).items():
        found[sharer].won += found[friend].bought[:1]
    return dict(found)


def named(touches: Sequence[Touch]) -> dict[str, str]:
    """Whose code everybody named who registered because of somebody, none of whom had bought before."""
    found = [it for it in accepted(touches) if it.event_type == "referral_registered"]
    return {person_of(it): f"cdnow:{orjson.loads(it.properties)['referrer_code'][1:]}" for it in found}


def referrals(touches: Sequence[Touch], orders: Sequence[Order]) -> dict[str, object]:
    """How many shared or were named, how many came because of somebody and bought, and by how many it was because of how many."""
    came, bought = named(touches), purchase_days(orders)
    shared = {person_of(it) for it in accepted(touches) if it.event_type == "content_shared"}
    won = Counter(sharer for friend, sharer in came.items() if friend.split(":")[1] in bought)
    return {
        "sharers": len(shared.union(came.values())),
        "named": len(set(came.values())),
        "invited": len(came),
        "converted": won.total(),
        "referrers": len(won),
        "referrers_by_successes": {str(n): count for n, count in sorted(Counter(won.values()).items())},
    }


def layer(past: Past, as_of: date) -> str:
    """The layer of the pyramid by everything before the midnight that begins `as_of` (TG-13)."""
    bought = [it for it in past.bought if it < as_of]
    if not bought:
        seen = [it for it in past.seen if it < as_of]
        if not seen:
            return "NONE"
        if any((as_of - it).days <= 90 for it in past.meant if it < as_of):
            return "L2"
        return "L1" if (as_of - max(seen)).days <= YEAR else "OUT"
    if (as_of - bought[-1]).days > YEAR:
        return "LAPSED"
    if len(bought) == 1:
        return "L3"
    disloyal = any((as_of - it).days <= YEAR for it in past.elsewhere if it < as_of)
    if len(bought) == 2 or disloyal:
        return "L4"
    return "L6" if any((as_of - it).days <= YEAR for it in past.won if it < as_of) else "L5"


def transitions(people: Mapping[str, Past], start: date, end: date) -> Counter[tuple[str, str]]:
    moves = Counter((layer(it, start), layer(it, end)) for it in people.values())
    del moves["NONE", "NONE"]
    return moves


Counts = dict[str, tuple[int, int]]


def board(touches: Sequence[Touch], name: str, start: date, end: date) -> Counts:
    """By event type: how often it happened from `start` to before `end`, and to how many people."""
    kinds = {
        "GUIDE": {"qr_scanned"},
        "CAMPAIGN": {"qr_scanned"},
        "OFFICIAL_ACCOUNT": {"oa_subscribed", "menu_clicked"},
        "CONTENT": {"content_viewed", "button_clicked", "content_shared"},
    }[name]
    found = [
        it for it in accepted(touches) if it.event_type in kinds and instant(start) <= it.occurred_at < instant(end)
    ]
    people: defaultdict[str, set[str]] = defaultdict(set)
    for it in found:
        people[it.event_type].add(person_of(it))
    return {kind: (count, len(people[kind])) for kind, count in Counter(it.event_type for it in found).items()}


def looking(touches: Sequence[Touch], start: date, end: date) -> list[int]:
    """How many people looked at products, how many of them put one into the cart, and how many ordered: nobody."""
    firsts: dict[str, datetime] = {}
    carts: dict[str, datetime] = {}
    for it in accepted(touches):
        if it.event_type == "product_viewed" and instant(start) <= it.occurred_at < instant(end):
            firsts[person_of(it)] = min(it.occurred_at, firsts.get(person_of(it), it.occurred_at))
        elif it.event_type == "cart_added":
            carts[person_of(it)] = it.occurred_at
    return [len(firsts), len(firsts.keys() & carts.keys()), 0, 0]


def hesitating(orders: Sequence[Order], start: date, end: date) -> list[int]:
    """How many ordered, how many of them left an order unpaid for half an hour, and how many of these paid: all."""
    mine = [it for it in orders if start <= local_day(it.placed_at) < end]
    hesitated = {it.customer for it in mine if it.paid_at - it.placed_at >= timedelta(minutes=30)}
    return [len({it.customer for it in mine}), len(hesitated), len(hesitated)]


def reviewing(touches: Sequence[Touch], orders: Sequence[Order], start: date, end: date) -> list[int]:
    """How many ordered, how many of them paid, and how many reviewed the last order before their review."""
    buyers = {it.customer for it in orders if start <= local_day(it.placed_at) < end}
    paid: defaultdict[str, list[datetime]] = defaultdict(list)
    for order in orders:
        paid[order.customer].append(order.paid_at)
    reviews = [(it.value, it.occurred_at) for it in accepted(touches) if it.event_type == "order_reviewed"]
    lasts = [(customer, max(it for it in paid[customer] if it <= at)) for customer, at in reviews]
    reviewers = {customer for customer, last in lasts if start <= local_day(last) < end}
    return [len(buyers), len(buyers), len(reviewers)]


def repeat_readers(touches: Sequence[Touch]) -> int:
    """D1: people who opened one content at least four times for more than 20 minutes; nobody ever registers by that event."""
    pages: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    dwell: Counter[tuple[str, str]] = Counter()
    for it in accepted(touches):
        key = person_of(it), it.content
        if it.event_type == "content_viewed":
            pages[key].add(it.page_view)
        elif it.event_type == "content_engaged":
            buckets = orjson.loads(it.properties)["active_buckets"]
            dwell[key] += 10 * buckets - 5 if buckets else 0
    return len({person for (person, content), it in pages.items() if len(it) >= 4 and dwell[person, content] > 1_200})


Bounds = tuple[int, int]
"""At least and at most how many: what falls due on the day of the next purchase is noticed, or not, as that day is told."""


def stopped_buying(orders: Sequence[Order], until: datetime) -> Bounds:
    """D2: people who bought on six days or more and then, at some time up to `until`, not for three calendar months."""
    dues = [
        [(_months_later(day, 3), *following) for day, following in _gaps(days, 6, until)]
        for days in purchase_days(orders).values()
    ]
    return _noticed(dues)


def at_risk(orders: Sequence[Order], until: datetime) -> Bounds:
    """D6: people who at some time had not bought for more than twice the median of the time between three or more purchases."""
    dues = []
    for days in purchase_days(orders).values():
        mine = []
        for count, (day, following) in enumerate(_gaps(days, 3, until), 3):
            cycle = median((after - before).days for before, after in pairwise(days[:count]))
            mine.append((datetime.combine(day, time(), UTC) + 2 * timedelta(days=cycle), *following))
        dues.append(mine)
    return _noticed(dues)


def _noticed(dues: Iterable[Sequence[tuple[datetime, datetime, datetime]]]) -> Bounds:
    """How many people have one of their dues before the end of the week before, or of the week of, the next purchase: what is
    due while the days of a week are still in work may or may not be noticed before a purchase of that week is."""
    people = list(dues)
    certain = sum(any(due < before for due, before, _ in it) for it in people)
    return certain, sum(any(due < after for due, _, after in it) for it in people)


def _gaps(days: Sequence[date], fewest: int, until: datetime) -> Iterable[tuple[date, tuple[datetime, datetime]]]:
    """From each day, beginning with the `fewest`-th, to the ends of the weeks before and of the next one, or to the end."""
    sundays = [week(it) for it in days[1:]]
    nexts = [(instant(it - timedelta(days=7), EVENING), instant(it, EVENING)) for it in sundays]
    return list(zip(days, [*nexts, (until, until)], strict=True))[fewest - 1 :]


def _months_later(day: date, months: int) -> datetime:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return datetime(year, month + 1, min(day.day, last), tzinfo=UTC)
