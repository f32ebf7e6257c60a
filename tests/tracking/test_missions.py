"""Shopping missions and insights (TR-10, TR-12) as rules over facts, whatever order they arrive in."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from chassis.aggregate import Event
from chassis.unit_of_work import replay
from services.tracking.application.ports import People
from services.tracking.domain.funnel import Funnel, Question
from services.tracking.domain.insights import Kind, churn_risk, repeat_reader, repurchase_stopped
from services.tracking.domain.missions import Mission, NeedState, Result, missions
from services.tracking.domain.path_facts import OrderFact, PathFact, Step
from services.tracking.domain.purchases import months_later
from services.tracking.domain.recent_missions import missions_of
from services.tracking.domain.shopping_mission import Ending, Reached, ShoppingMission
from services.tracking.domain.stalls import is_stuck
from services.tracking.domain.trail import Behaviour

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NODE = UUID(int=1)
LATER = NOON + timedelta(days=60)


def step(
    kind: Step, at: datetime, category: str = "skincare", sku: str = "", *, node: UUID = NODE, brand: bool = False
) -> PathFact:
    return PathFact(node, at, at, f"h5/{kind}/{at.isoformat()}/{sku}", kind, category, sku, brand)


def order(
    number: int,
    placed_at: datetime,
    paid_after: timedelta | None = None,
    *,
    lines: Sequence[tuple[str, str]] = (("S1", "skincare"),),
    cancelled_at: datetime | None = None,
    node: UUID = NODE,
) -> OrderFact:
    paid_at = None if paid_after is None else placed_at + paid_after
    return OrderFact(
        UUID(int=number), node, placed_at, tuple(lines), paid_at, 100 if paid_at else 0, cancelled_at=cancelled_at
    )


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def story(found: Sequence[Mission]) -> list[tuple[str, Result, list[Step]]]:
    return [(it.category, it.result, [visit.step for visit in it.visits]) for it in found]


def test_a_mission_opens_with_the_first_step_and_ends_with_the_payment() -> None:
    steps = [
        step(Step.NEED_LEARNING, NOON),
        step(Step.VIEW_PRODUCT, NOON + hours(1), sku="S1"),
        step(Step.ADD_TO_CART, NOON + hours(2), "", "S1"),
        step(Step.VIEW_PRODUCT, NOON + hours(3), "", "S1"),
    ]
    [found] = missions(steps, [order(1, NOON + hours(4), hours(0.1))], LATER)
    path = [Step.NEED_LEARNING, Step.VIEW_PRODUCT, Step.ADD_TO_CART, Step.VIEW_PRODUCT, Step.PLACE_ORDER, Step.PAY]
    assert story([found]) == [("skincare", Result.REALISED, path)]
    assert (found.closed_at, found.need_state) == (NOON + hours(4.1), NeedState.EMERGING)


def test_seven_days_without_a_step_end_a_mission_and_the_next_step_opens_another() -> None:
    week = timedelta(days=7)
    steps = [step(Step.BROWSE, NOON), step(Step.BROWSE, NOON + week - hours(1)), step(Step.SEARCH, NOON + 2 * week)]
    first, second = missions(steps, [], NOON + 2 * week)
    assert (first.result, first.closed_at, first.need_state) == (
        Result.ABANDONED,
        NOON + 2 * week - hours(1),
        NeedState.NONE,
    )
    assert (second.result, second.opening.step) == (Result.OPEN, Step.SEARCH)


def test_an_order_that_is_given_up_ends_the_mission_unless_another_waits() -> None:
    gone = order(1, NOON, cancelled_at=NOON + hours(2))
    assert [it.result for it in missions([], [gone], LATER)] == [Result.CANCELLED]
    both = missions([], [gone, order(2, NOON + hours(1), hours(3))], LATER)
    assert [it.result for it in both] == [Result.REALISED]


def test_half_an_hour_without_payment_is_hesitation_and_a_second_less_is_not() -> None:
    half = timedelta(minutes=30)
    [hesitant] = missions([], [order(1, NOON, half)], LATER)
    [quick] = missions([], [order(1, NOON, half - timedelta(seconds=1))], LATER)
    assert [it.step for it in hesitant.visits] == [Step.PLACE_ORDER, Step.HESITATE, Step.PAY]
    assert [it.step for it in quick.visits] == [Step.PLACE_ORDER, Step.PAY]
    [undecided] = missions([], [order(1, NOON)], NOON + half)
    assert undecided.visits[-1].at == NOON + half
    assert is_stuck(undecided, undecided.opening)
    assert not is_stuck(quick, quick.opening)


def test_reviews_and_purchases_within_ninety_days_are_about_the_mission_that_was_realised() -> None:
    day = timedelta(days=1)
    reviews = [step(Step.REVIEW, NOON + 10 * day, ""), step(Step.REVIEW, NOON + 200 * day, "")]
    orders = [order(1, NOON, hours(0)), order(2, NOON + 60 * day, hours(0))]
    first, second = missions(reviews, orders, NOON + 300 * day)
    assert [it.step for it in first.visits] == [Step.PLACE_ORDER, Step.PAY, Step.REVIEW, Step.REPURCHASE]
    assert [it.step for it in second.visits] == [Step.PLACE_ORDER, Step.PAY]


def test_what_nobody_can_tell_the_category_of_is_a_mission_of_its_own() -> None:
    steps = [step(Step.SEARCH, NOON, ""), step(Step.ADD_TO_CART, NOON + hours(1), "", "S9")]
    assert story(missions(steps, [], NOON + hours(2))) == [("UNKNOWN", Result.OPEN, [Step.SEARCH, Step.ADD_TO_CART])]


@pytest.mark.parametrize(
    ("first", "state"),
    [
        (step(Step.SEARCH, NOON, brand=True), NeedState.CLEAR),
        (step(Step.SEARCH, NOON), NeedState.EMERGING),
        (step(Step.NEED_LEARNING, NOON), NeedState.EMERGING),
        (step(Step.BROWSE, NOON), NeedState.NONE),
        (step(Step.ADD_TO_CART, NOON), NeedState.CLEAR),
    ],
)
def test_the_first_step_tells_how_well_the_need_was_known(first: PathFact, state: NeedState) -> None:
    [found] = missions([first], [], NOON + hours(1))
    assert found.need_state is state


def test_to_look_at_something_bought_before_is_a_clear_need() -> None:
    bought = order(1, NOON, hours(0))
    found = missions([step(Step.VIEW_PRODUCT, NOON + hours(5), sku="S1")], [bought], NOON + hours(6))
    assert found[-1].need_state is NeedState.CLEAR


def life(random: Random) -> tuple[list[PathFact], list[OrderFact]]:
    """What a customer of three nodes does in half a year."""
    kinds = [it for it in Step if it.rank < Step.PLACE_ORDER.rank or it is Step.REVIEW]
    nodes = [UUID(int=it) for it in (1, 2, 3)]
    facts: list[PathFact] = []
    for n in range(700):
        at = NOON + timedelta(minutes=random.randrange(0, 60 * 24 * 180, 5))
        sku = random.choice(["", "S1", "S2", "S3"])
        category = random.choice(["", "", "skincare", "makeup"])
        kind = random.choice(kinds)
        facts.append(
            PathFact(
                random.choice(nodes), at, at + timedelta(seconds=random.randrange(3)), f"h5/{n}", kind, category, sku
            )
        )
    orders: list[OrderFact] = []
    for n in range(100):
        at = NOON + timedelta(minutes=random.randrange(0, 60 * 24 * 180, 5))
        paid_after = random.choice([None, timedelta(), timedelta(minutes=29), timedelta(hours=3), timedelta(days=9)])
        cancelled_at = at + timedelta(hours=4) if paid_after is None and random.random() < 0.5 else None
        lines = random.sample([("S1", "skincare"), ("S2", ""), ("S3", "makeup")], random.randrange(4))
        found = order(100 + n, at, paid_after, lines=lines, cancelled_at=cancelled_at, node=random.choice(nodes))
        orders.append(found)
    return facts, orders


def test_missions_are_the_same_whatever_order_the_facts_of_all_nodes_come_in() -> None:
    random = Random(3)
    facts, orders = life(random)
    expected = missions(facts, orders, LATER)
    assert len(expected) > 20
    for _ in range(20):
        random.shuffle(facts)
        random.shuffle(orders)
        assert missions(facts, orders, LATER) == expected


def test_every_step_of_a_life_is_in_exactly_one_mission_of_its_category() -> None:
    facts, orders = life(Random(4))
    found = missions(facts, orders, LATER)
    told = [it.key for mission in found for it in mission.visits if it.key.startswith("h5/")]
    steps = {it.key for it in facts if it.step is not Step.REVIEW}
    assert len(told) == len(set(told))
    assert steps <= set(told)
    for mission in found:
        assert [it.at for it in mission.visits] == sorted(it.at for it in mission.visits)


def test_the_missions_of_an_order_are_the_same_without_what_lies_too_far_back_to_matter() -> None:
    random, left_out = Random(5), 0
    for _ in range(40):
        facts, orders = life(random)
        facts, orders = (
            random.sample(facts, random.choice([0, 5, 40])),
            random.sample(orders, random.choice([3, 9, 25])),
        )
        everything = missions(facts, orders, LATER)
        for about in orders:
            found = missions_of(facts, orders, LATER, [about.id])
            began = min(about.placed_at, about.paid_at or about.placed_at)
            for it in everything:
                is_wanted = any(visit.order_id == about.id for visit in it.visits)
                assert it in found or not (is_wanted or (it.closed_at and it.closed_at >= began))
            assert all(it in everything for it in found)
            left_out += len(everything) - len(found)
    assert left_out > 100


# The funnel.


def funnel_of(people: Sequence[Sequence[Mission]], question: Question) -> Funnel:
    funnel = Funnel(question)
    for them in people:
        funnel.add(them)
    return funnel


BUYING = (Step.VIEW_PRODUCT, Step.ADD_TO_CART, Step.PLACE_ORDER, Step.PAY)


def test_a_step_counts_only_after_the_one_before_and_within_the_window() -> None:
    steps = [step(Step.ADD_TO_CART, NOON), step(Step.VIEW_PRODUCT, NOON + hours(1))]
    bought = order(1, NOON + hours(30), hours(0))
    person = missions(steps, [bought], LATER)
    question = Question(NOON, NOON + hours(1), BUYING[:2])
    assert [it.customers for it in funnel_of([person], question).steps()] == [1, 0]
    either = Question(NOON, NOON + hours(1), BUYING[:2], any_order=True)
    assert [it.customers for it in funnel_of([person], either).steps()] == [1, 1]
    narrow = Question(NOON, NOON + hours(1), (Step.ADD_TO_CART, Step.PAY), window=hours(29))
    assert [it.customers for it in funnel_of([person], narrow).steps()] == [1, 0]
    wide = Question(NOON, NOON + hours(1), (Step.ADD_TO_CART, Step.PAY), window=hours(30))
    [_, second] = funnel_of([person], wide).steps()
    assert (second.customers, second.median_time) == (1, hours(30))


def test_a_later_visit_of_the_first_node_may_lead_on() -> None:
    steps = [
        step(Step.VIEW_PRODUCT, NOON),
        step(Step.VIEW_PRODUCT, NOON + hours(50)),
        step(Step.ADD_TO_CART, NOON + hours(51)),
    ]
    question = Question(NOON, NOON + hours(1), BUYING[:2], window=hours(2))
    assert [it.customers for it in funnel_of([missions(steps, [], LATER)], question).steps()] == [1, 1]


def test_missions_of_those_who_bought_before_are_reported_apart() -> None:
    again = missions([], [order(1, NOON, hours(0)), order(2, NOON + hours(200), hours(0))], LATER)
    funnel = funnel_of([again], Question(NOON, NOON + hours(500), BUYING))
    entry = funnel.entries[Step.PLACE_ORDER]
    assert (funnel.customers, funnel.missions, entry.missions, entry.loyal) == (1, 2, 1, 1)


# Insights.


def read(view: int, buckets: int, *, wall_ms: int | None = None) -> list[Behaviour]:
    at = NOON + timedelta(days=view)

    def did(event_type: str, properties: str) -> Behaviour:
        key = f"{event_type}/{view}"
        return Behaviour(key, "h5", event_type, "I", NODE, at, at, "h5", "h5", "", "H5-1", f"pv{view}", properties)

    wall = "" if wall_ms is None else f', "wall_ms": {wall_ms}'
    return [did("content_viewed", "{}"), did("content_engaged", f'{{"active_buckets": {buckets}{wall}}}')]


def registered(at: datetime) -> Behaviour:
    return Behaviour("r", "h5", "registered", "C", NODE, at, at, "h5", "h5", "", "", "", "{}")


def test_ac33_d1_needs_four_opens_and_more_than_twenty_minutes_before_registration() -> None:
    four = [it for view in range(4) for it in read(view, 31)]
    [found] = repeat_reader(four).findings
    assert (found.kind, found.subject) == (Kind.REPEAT_READER_UNREGISTERED, "H5-1")
    assert found.evidence == {"opens": "4", "dwell_seconds": "1220"}

    assert repeat_reader(four[:6]).findings == ()
    exactly = [it for view in range(4) for it in read(view, 31, wall_ms=300_000)]
    assert repeat_reader(exactly).findings == ()
    assert repeat_reader([*four, registered(NOON + timedelta(days=2))]).findings == ()
    assert len(repeat_reader([*four, registered(NOON + timedelta(days=5))]).findings) == 1


def test_ac33_d2_is_true_three_calendar_months_after_the_last_of_six_occasions() -> None:
    last = datetime(2025, 1, 31, 9, tzinfo=UTC)
    orders = [order(n, last - timedelta(days=20 * n), hours(0)) for n in range(6)]
    before = repurchase_stopped(orders, datetime(2025, 4, 29, 23, 59, tzinfo=UTC))
    assert (before.findings, before.again) == ((), (datetime(2025, 4, 30, tzinfo=UTC),))
    [found] = repurchase_stopped(orders, datetime(2025, 4, 30, tzinfo=UTC)).findings
    assert (found.kind, found.subject) == (Kind.REPURCHASE_STOPPED, "S1")

    assert repurchase_stopped(orders[1:], datetime(2026, 1, 1, tzinfo=UTC)).findings == ()


def test_a_month_that_is_shorter_ends_earlier() -> None:
    assert months_later(date(2025, 11, 30), 3) == date(2026, 2, 28)
    assert months_later(date(2025, 12, 15), 3) == date(2026, 3, 15)


def test_d6_is_true_when_more_than_twice_the_cycle_has_passed() -> None:
    day = timedelta(days=1)
    orders = [order(n, NOON + n * 10 * day, hours(0)) for n in range(3)]
    due = NOON.replace(hour=0) + 40 * day
    waiting = churn_risk(orders, due)
    assert (waiting.findings, waiting.again) == ((), (due + timedelta(microseconds=1),))
    [found] = churn_risk(orders, waiting.again[0]).findings
    assert found.evidence["cycle_days"] == "10"
    assert churn_risk(orders[:2], due + 900 * day) == churn_risk([], due)


def old_events(topic: str) -> list[dict[str, Any]]:
    closed = {"result": Result.REALISED, "need_state": NeedState.CLEAR, "closed_at": NOON}
    return [
        {"kind": ShoppingMission.Opened, "originator_topic": topic, "originator_version": 1, "tenant": "acme"},
        {
            "kind": ShoppingMission.NodeReached,
            "originator_version": 2,
            "step": Step.PAY,
            "sku": "",
            "order_id": None,
            "reached_at": NOON,
        },
        {"kind": ShoppingMission.Closed, "originator_version": 3, **closed},
    ]


def made(fields: dict[str, Any]) -> Event:
    event: Event = fields.pop("kind")(**fields)
    return event


def reached(kind: Step) -> Reached:
    return Reached(kind, NODE, "S1", None, NOON)


def test_what_was_told_of_a_mission_is_not_told_again() -> None:
    told = ShoppingMission(UUID(int=9), "acme", NODE, "skincare", (reached(Step.SEARCH),))
    end = Ending(Result.REALISED, NeedState.CLEAR, NOON)
    told.move([reached(Step.SEARCH)])
    told.move([reached(Step.SEARCH), reached(Step.PAY), reached(Step.PAY)], end)
    told.move([reached(Step.PAY)], end)
    begun, moved = told.collect_events()
    assert isinstance(begun, ShoppingMission.Begun)
    assert isinstance(moved, ShoppingMission.Moved)
    assert ([it.step for it in moved.steps], moved.ending) == ([Step.PAY], end)


def test_a_mission_whose_steps_are_events_of_their_own_goes_on_where_it_was() -> None:
    begun: Any = ShoppingMission(UUID(int=9), "acme", NODE, "skincare").collect_events()[0]
    about = {"originator_id": UUID(int=9), "timestamp": NOON, "node": NODE, "category": "skincare"}
    told = replay([made(about | it) for it in old_events(begun.originator_topic)])
    assert isinstance(told, ShoppingMission)
    told.move([reached(Step.PAY)], Ending(Result.REALISED, NeedState.CLEAR, NOON))
    assert told.collect_events() == []


def test_of_each_customer_the_nodes_that_were_asked_for_come_first() -> None:
    a, b, c, d = (UUID(int=it) for it in range(4))
    people = People({b: a, c: a, a: a, d: d}, {a: [b, c, a], d: [d]})
    assert people.among([c]).nodes == {a: [c, b, a]}
    assert people.among([d, a]).nodes == {d: [d], a: [a, b, c]}
    assert people.among([d]).of(b) == a
