"""Random conditions and random people, and the search for an instant at which two evaluators disagree."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.errors import DomainError
from services.tagging.domain.calendar import DAYPARTS, Calendar
from services.tagging.domain.conditions import (
    Absence,
    AttributeTest,
    Comparison,
    Condition,
    Delivered,
    DeliveryStatus,
    EventTest,
    Figure,
    FlowState,
    Happening,
    HasConsent,
    HasTag,
    InFlow,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    LookedUp,
    Operator,
    OrderFigure,
    OrderTest,
    Period,
    PropertyTest,
    Reachable,
    RelatedTo,
    RfmScores,
    Streak,
    StreakUnit,
    Succession,
    Tie,
    Value,
    Window,
    all_of,
    any_of,
    no,
    that,
)
from services.tagging.domain.conditions.checking import check_words
from services.tagging.domain.conditions.leaves import OF_A_PROPERTY
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.dealings import Dealings, Lot, Message, Passage
from services.tagging.domain.history import Behaviour, History, Line, Purchase

ZONES = ("America/New_York", "Asia/Shanghai", "America/Santiago", "Africa/Cairo", "UTC")
"""With clocks that change at two in the morning, at midnight backwards and at midnight forwards, and without."""
CHANGES = (datetime(2025, 3, 9, tzinfo=UTC), datetime(2025, 4, 6, tzinfo=UTC), datetime(2025, 4, 25, tzinfo=UTC))
TYPES = ("view", "cart", "custom.tea")
CATEGORIES = ("I", "N", "")
KEPT: tuple[LookedUp, ...] = (
    HasTag("vip"),
    HasTag("decision", "kol"),
    InLayer("rfm", "AT_RISK"),
    RfmScores("rfm", (4, 5)),
    InSegment(UUID(int=1)),
)
HALF_HOUR = timedelta(minutes=30)
CAMPAIGNS = (UUID(int=21), UUID(int=22))


class Person(NamedTuple):
    """Somebody somewhere, and the kept sets it is in."""

    history: History
    zone: str
    held: frozenset[LookedUp]

    @property
    def calendar(self) -> Calendar:
        return Calendar.of(self.zone)


def person(random: Random) -> Person:
    """The facts of one or two nodes, in the order of time, whatever the order in which they became known."""
    middle = random.choice(CHANGES)
    nodes = [_facts(random, middle) for _ in range(random.randint(1, 2))]
    behaviours = [it for node in nodes for it in node[0]]
    purchases = [it for node in nodes for it in node[1]]
    random.shuffle(behaviours)
    random.shuffle(purchases)
    attributes = {"city": "Shanghai", "age": 31, "child": True, "hobbies": ["tea", "run"], "score": 0.5}
    history = History(
        UUID(int=7),
        created_at=_instant(random, middle),
        known_since=random.choice((None, _instant(random, middle))),
        behaviours=sorted(behaviours, key=lambda it: (it.at, str(it))),
        purchases=sorted(purchases, key=lambda it: (it.at, it.order)),
        attributes={key: attributes[key] for key in attributes if random.random() < 0.6},
        relations={tie: f"{tie}1" for tie in ("guide", "store") if random.random() < 0.5},
        groups=frozenset(it for it in ("g1", "g2") if random.random() < 0.4),
        consents=frozenset(it for it in ("MARKETING",) if random.random() < 0.5),
        dealings=_dealings(random, middle),
    )
    return Person(history, random.choice(ZONES), frozenset(it for it in KEPT if random.random() < 0.5))


def _dealings(random: Random, middle: datetime) -> Dealings:
    ways = [_passage(random, middle) for _ in range(random.randint(0, 2))]
    messages = [_message(random, middle) for _ in range(random.randint(0, 3))]
    return Dealings(
        random.choice((None, _instant(random, middle))),
        [_lot(random, middle) for _ in range(random.randint(0, 3))],
        random.choice((0, 0, 30)),
        frozenset(it for it in ("SMS", "OA") if random.random() < 0.4),
        sorted(ways, key=lambda it: it.entered_at),
        sorted(messages, key=lambda it: it.sent_at),
    )


def _lot(random: Random, middle: datetime) -> Lot:
    at = _instant(random, middle)
    return Lot(random.choice((50, 100, 250)), at, random.choice((None, at + HALF_HOUR * random.randint(1, 200))))


def _passage(random: Random, middle: datetime) -> Passage:
    at = _instant(random, middle)
    if random.random() < 0.4:
        return Passage(random.choice(CAMPAIGNS), at)
    reason = random.choice(("COMPLETED", "GOAL_MET", "EXIT_CONDITION"))
    return Passage(random.choice(CAMPAIGNS), at, at + HALF_HOUR * random.randint(0, 100), reason)


def _message(random: Random, middle: datetime) -> Message:
    at = _instant(random, middle)
    clicked = at + HALF_HOUR * random.randint(0, 60) if random.random() < 0.5 else None
    return Message(random.choice(CAMPAIGNS), at, clicked)


def _facts(random: Random, middle: datetime) -> tuple[list[Behaviour], list[Purchase]]:
    behaviours = [_behaviour(random, _instant(random, middle)) for _ in range(random.randint(0, 8))]
    purchases = [_purchase(random, _instant(random, middle)) for _ in range(random.randint(0, 4))]
    return behaviours, purchases


def _instant(random: Random, middle: datetime) -> datetime:
    """Within some days around the change of the clock, often near midnight, sometimes twice the same."""
    return middle + HALF_HOUR * random.choice((random.randint(-240, 240), random.randint(-12, 24)))


def _behaviour(random: Random, at: datetime) -> Behaviour:
    properties: dict[str, Any] = {"sku": random.choice("AB"), "amount": random.choice((1, 2, 0.1, 0.2, "2", True))}
    if random.random() < 0.5:
        properties["extra"] = {"flavour": random.choice(("oolong", "green", 3, None, ["x"]))}
    return Behaviour(
        at,
        random.choice(TYPES),
        random.choice(CATEGORIES),
        random.choice(("h5", "web")),
        random.choice((None, None, 480, -300)),
        random.choice(("", "c1")),
        "",
        {key: properties[key] for key in properties if random.random() < 0.8},
    )


def _purchase(random: Random, at: datetime) -> Purchase:
    lines = [
        Line(random.choice("AB"), random.choice(("tea", "")), "b", random.randint(1, 3), 500, random.randint(0, 500))
        for _ in range(random.randint(0, 2))
    ]
    net = random.choice((0, 1, 99999, 100000, 5000))
    return Purchase(
        UUID(int=random.getrandbits(128)),
        at,
        random.choice(("USD", "USD", "JPY", "KWD")),
        net,
        lines,
        random.randint(0, 1),
        random.choice((0, 0, 700)),
    )


def condition(random: Random, depth: int = 3) -> Condition:
    if depth == 0 or random.random() < 0.45:
        return that(leaf(random))
    if random.random() < 0.3:
        return no(condition(random, depth - 1))
    parts = [condition(random, depth - 1) for _ in range(random.randint(1, 3))]
    return random.choice((all_of, any_of))(*parts)


def savable(what: Condition) -> bool:
    """Whether a condition would be kept: random ones compare many things with values of another type."""
    try:
        what.check()
        check_words(what.placed(), Vocabulary())
    except DomainError:
        return False
    return True


def leaf(random: Random) -> Leaf:
    return random.choice((_event, _event, _event, _absence, _succession, _streak, _order, _order, _plain, _dealt))(
        random
    )


def _event(random: Random) -> Leaf:
    figure = random.choice(list(Figure))
    key = random.choice(("amount", "amount", "flavour", "sku", "$channel", "$daypart"))
    days = random.randint(1, 3) if figure is Figure.WEEKS else 0
    key = key if figure in OF_A_PROPERTY else ""
    compared = _figure_comparison(random)
    if figure is Figure.USUAL and random.random() < 0.7:
        compared = comparison(random, {"$channel": ("h5", "web"), "$daypart": DAYPARTS}.get(key, ("A", "B", 1, True)))
    return EventTest(happening(random), figure, compared, window(random), key, days)


def _absence(random: Random) -> Leaf:
    return Absence(happening(random), happening(random), random.choice((60, 3600, 86400, 200_000)), window(random))


def _succession(random: Random) -> Leaf:
    steps = tuple(happening(random) for _ in range(random.randint(2, 3)))
    return Succession(steps, random.choice((0, 7200, 200_000)), random.choice((0, 0, 3600, 86400)), window(random))


def _streak(random: Random) -> Leaf:
    return Streak(happening(random), random.randint(1, 4), random.choice(list(StreakUnit)), window(random))


def _order(random: Random) -> Leaf:
    tests = {
        "sku": Comparison.with_plain(Operator.EQ, "A"),
        "category": Comparison(Operator.EXISTS),
        "net": Comparison.with_plain(Operator.GE, 999.99),
        "coupons": Comparison.with_plain(Operator.EQ, 0),
        "currency": Comparison.with_plain(Operator.IN, "USD", "JPY"),
        "quantity": Comparison.with_plain(Operator.GE, 3),
        "discount": Comparison.with_plain(Operator.LT, 50),
        "weekday": Comparison.with_plain(Operator.GE, random.randint(3, 7)),
    }
    where = tuple(PropertyTest(key, tests[key]) for key in random.sample(list(tests), random.choice((0, 1, 2))))
    figure = random.choice(list(OrderFigure))
    bounds = (0, 1, 2, 3) if figure not in _AMOUNTS else (999.99, 1000, 0.01, 50, 1999.99)
    if figure is OrderFigure.SHARE:
        bounds = (0, 25, 50, 100)
    compared = comparison(random, DAYPARTS) if figure is OrderFigure.DAYPART else _figure_comparison(random, bounds)
    return OrderTest(figure, compared, window(random), where)


_AMOUNTS = (OrderFigure.NET, OrderFigure.AVG, OrderFigure.MIN, OrderFigure.MAX)


def _plain(random: Random) -> Leaf:
    keys = ("city", "age", "child", "hobbies", "score", "known", "known_days", "created_days", "nothing")
    return random.choice(
        (
            *KEPT,
            AttributeTest(random.choice(keys), comparison(random)),
            AttributeTest(random.choice(keys), comparison(random)),
            AttributeTest(random.choice(("known_days", "created_days")), _figure_comparison(random)),
            RelatedTo(random.choice(list(Tie)), comparison(random, ("guide1", "store1"))),
            InGroup(random.choice((None, "g1"))),
            HasConsent("MARKETING"),
        )
    )


def _dealt(random: Random) -> Leaf:
    campaign = random.choice((None, *CAMPAIGNS))
    points = random.choice(("points", "points_pending", "points_debt"))
    return random.choice(
        (
            Reachable(random.choice((None, "SMS"))),
            InFlow(campaign, random.choice(list(FlowState))),
            InFlow(campaign, random.choice(list(FlowState))),
            Delivered(campaign, random.choice(list(DeliveryStatus)), window(random)),
            Delivered(campaign, random.choice(list(DeliveryStatus)), window(random)),
            AttributeTest(random.choice(("member", "nothing")), comparison(random)),
            AttributeTest("member_days", _figure_comparison(random)),
            AttributeTest(points, _figure_comparison(random, (0, 30, 50, 100, 249.5, 250))),
        )
    )


def happening(random: Random) -> Happening:
    where: tuple[PropertyTest, ...] = ()
    if random.random() < 0.3:
        key = random.choice(("sku", "amount", "flavour", "$channel", "$content", "$daypart"))
        compared = comparison(random, DAYPARTS) if key == "$daypart" else comparison(random)
        where = (PropertyTest(key, compared),)
    hours = random.choice(((), (), (), (23, 5), (9, 18), (0, 24), (5, 5)))
    weekdays = random.choice(((), (), (), (6, 7), (1, 5)))
    return Happening(random.choice(("", *TYPES)), random.choice(("", "", "", "I")), where, hours, weekdays)


def window(random: Random) -> Window:
    period = random.choice(list(Period))
    if period is Period.BETWEEN:
        first = random.choice(CHANGES).date() + timedelta(days=random.randint(-4, 3))
        return Window(period, 0, first, first + timedelta(days=random.randint(0, 4)))
    n = {Period.LAST_N_DAYS: (1, 2, 3, 7), Period.LAST_N_HOURS: (1, 5, 24, 48)}.get(period, (0,))
    return Window(period, random.choice(n))


def comparison(
    random: Random, values: tuple[Any, ...] = ("Shanghai", "tea", "A", "h5", "green", 1, 2, 31, 0.5, True)
) -> Comparison:
    operator = random.choice(list(Operator))
    match operator:
        case Operator.EXISTS | Operator.NOT_EXISTS:
            return Comparison(operator)
        case Operator.IN:
            return Comparison.with_plain(operator, *random.choices(values, k=random.randint(1, 3)))
        case Operator.BETWEEN:
            low, high = sorted(
                random.choices([it for it in values if not isinstance(it, bool)], k=2),
                key=lambda it: (isinstance(it, str), it),
            )
            return Comparison.with_plain(operator, low, high)
        case Operator.STARTS_WITH:
            return Comparison.with_plain(operator, "Sha")
    return Comparison.with_plain(operator, random.choice(values))


def _figure_comparison(random: Random, bounds: tuple[float, ...] = (0, 1, 2, 3, 0.3, 1.5)) -> Comparison:
    if random.random() < 0.2:
        return comparison(random)
    return Comparison(
        random.choice((Operator.EQ, Operator.NE, Operator.LT, Operator.LE, Operator.GT, Operator.GE)),
        (Value.of(random.choice(bounds)),),
    )


Evaluator = Callable[[Condition, Person], Callable[[datetime], bool]]
Clock = Callable[[Condition, Person, datetime], datetime | None]


class Difference(NamedTuple):
    """Where two do not agree."""

    condition: Condition
    person: Person
    at: datetime
    what: str


def difference(random: Random, one: Evaluator, other: Evaluator, clock: Clock) -> Difference | None:
    """Of one random condition and person: an instant at which `one` and `other` differ, or `clock` is late."""
    what, who = condition(random), person(random)
    return compare(what, who, random, one, other, clock)


def compare(
    what: Condition, who: Person, random: Random, one: Evaluator, other: Evaluator, clock: Clock
) -> Difference | None:
    first, second = one(what, who), other(what, who)
    instants = sorted(turning_points(who))
    for at in random.sample(instants, 3):
        truth = second(at)
        if first(at) != truth:
            return Difference(what, who, at, f"the second says {truth}")
        due = clock(what, who, at)
        if due is not None and due <= at:
            return Difference(what, who, at, "the clock stands")
        until = [it for it in instants if it > at and (due is None or it < due)]
        for it in until if len(until) < 8 else random.sample(until, 8):
            if second(it) != truth:
                return Difference(what, who, at, f"the clock says {due}, but it changes by {it}")
    return None


def turning_points(who: Person) -> Iterator[datetime]:
    """Instants at which something may change, and those right before."""
    facts = [it.at for it in who.history.behaviours] + [it.at for it in who.history.purchases]
    facts += [it for it in (who.history.created_at, who.history.known_since) if it]
    dealt = who.history.dealings
    told = [dealt.member_since]
    told += [at for lot in dealt.lots for at in (lot.active_at, lot.expires_at)]
    told += [at for way in dealt.passages for at in (way.entered_at, way.ended_at)]
    told += [at for one in dealt.messages for at in (one.sent_at, one.clicked_at)]
    facts += [at for at in told if at is not None]
    zone = ZoneInfo(who.zone)
    days = {it.astimezone(zone).date() + timedelta(days=k) for it in facts for k in (0, 1, 2, 3, 4, 7)}
    days |= {date(2025, month, 1) for month in (3, 4, 5)}
    found = {datetime.combine(it, time(), zone).astimezone(UTC) for it in days}
    for it in facts:
        found |= {it + timedelta(seconds=s) for s in (0, 60, 3600, 18_000, 86_400, 172_800, 200_000)}
    for it in found:
        yield it
        yield it - timedelta(microseconds=1)
