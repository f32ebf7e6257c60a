"""Stories that are told to tagging by other services, and for whom of the people in them a condition holds, worked out in two ways."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

from google.protobuf.message import Message

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Condition, LookedUp, Operator, Universe
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.dealings import Dealings
from services.tagging.domain.history import Behaviour, History, Purchase
from services.tagging.domain.segments import Definition
from services.tagging.read_models import comparison_sql, directory, segments
from services.tagging.read_models.histories import histories
from tests.tagging import random_conditions
from tests.tagging.world import (
    TENANT,
    World,
    behaved,
    clicked,
    consented,
    created_at,
    entered,
    flow_ended,
    granted,
    guided,
    in_group,
    joined,
    knows,
    merge_id,
    merged,
    owes,
    paid,
    person,
    placed,
    reached,
    refunded,
    sent,
    unmerged,
)

PEOPLE = 40
EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


class Story(NamedTuple):
    """Facts about some people, in any order, and instants to look at."""

    messages: list[Message]
    instants: list[datetime]


def told(who: UUID, it: History, number: int) -> Iterator[Message]:
    """What other services tell of a customer with this history."""
    yield created_at(who, it.created_at or EPOCH, known=it.known_since is not None)
    for place, one in enumerate(it.behaviours):
        yield behaviour(who, one, f"{number}/{place}")
    for bought in it.purchases:
        yield from purchase(who, bought)
    texts = {"city": "city", "age": "acquisition.channel", "score": "family.household_size"}
    for key, value in it.attributes.items():
        if key in texts:
            yield knows(who, texts[key], str(value), EPOCH)
    if "child" in it.attributes:
        yield knows(who, "family.has_child", "true", EPOCH)
    if "hobbies" in it.attributes:
        yield knows(who, "hobbies", '["tea", "run"]', EPOCH)
    if it.relations:
        yield guided(who, person("guide"), EPOCH, store=person("store") if "store" in it.relations else None)
    for group in it.groups:
        yield in_group(who, group, EPOCH)
    for purpose in it.consents:
        yield consented(who, purpose, "GRANTED", EPOCH)


def dealings(who: UUID, it: Dealings) -> Iterator[Message]:
    """In an order in which they can be told: what follows from something comes after it."""
    if it.member_since:
        yield joined(who, it.member_since)
    for place, one_lot in enumerate(it.lots):
        yield granted(who, f"lot {place}", *one_lot)
    if it.debt:
        yield owes(who, it.debt)
    for channel in it.reachable:
        yield reached(who, channel, EPOCH)
    for place, way in enumerate(it.passages):
        yield entered(who, way.flow, way.entered_at, f"{who}/{place}")
        if way.ended_at:
            yield flow_ended(way.flow, way.ended_at, f"{who}/{place}", way.reason)
    for place, one in enumerate(it.messages):
        yield sent(who, one.campaign, one.sent_at, f"{who}/{place}")
        if one.clicked_at:
            yield clicked(who, one.clicked_at, f"{who}/{place}")


def behaviour(who: UUID, it: Behaviour, id: str) -> Message:
    message = behaved(who, it.at, kind=it.type, channel=it.channel, offset=it.offset, **it.properties)
    message.message_id, message.category, message.content_id = id, it.category, it.content
    return message


def purchase(who: UUID, it: Purchase) -> Iterator[Message]:
    yield placed(who, str(it.order), it.at, *it.lines, coupons=it.coupons)
    yield paid(who, str(it.order), it.at, it.net + it.returned, it.currency)
    if it.returned:
        yield refunded(who, str(it.order), "r", it.at, it.returned)


def story(random: Random, people: int) -> Story:
    """Histories of some people, merged and some of them un-merged, in any order."""
    found = [random_conditions.person(random).history for _ in range(people)]
    messages = [it for number, one in enumerate(found) for it in told(person(number), one, number)]
    for number in range(people // 4):
        survivor, loser = (person(it) for it in random.sample(range(people), 2))
        messages.append(merged(survivor, loser, merge_id(number)))
        if random.random() < 0.5:
            messages.append(unmerged(survivor, loser, merge_id(number)))
    random.shuffle(messages)
    messages += [it for number, one in enumerate(found) for it in dealings(person(number), one.dealings)]
    instants = sorted(at for one in found for at in (*map(_at, one.behaviours), *map(_at, one.purchases)))
    return Story(messages, [random.choice(instants) + timedelta(hours=random.randint(0, 60)) for _ in range(3)])


def _at(it: Behaviour | Purchase) -> datetime:
    return it.at


def by_holding(world: World, condition: Condition, at: datetime, zone: str) -> set[UUID]:
    """For whom a condition holds by the domain alone; nobody is in any kept set."""
    return {id for id, it in everybody(world, zone).items() if it.holds(condition, at)}


def everybody(world: World, zone: str) -> dict[UUID, Customer]:
    """All customers as the domain looks at them, in no kept set."""
    with world.engine.connect() as rows:
        found = directory.by_ordinal(rows, TENANT, segments.Sets(rows, TENANT).universe(Universe.ALL))
        known = histories(rows, TENANT, [it.id for it in found])

    def nowhere(leaf: LookedUp) -> bool:
        return False

    return {id: Customer.of(it, Calendar.of(zone), nowhere) for id, it in known.items()}


def by_statements(world: World, condition: Condition, at: datetime) -> set[UUID]:
    with world.engine.connect() as rows:
        found = segments.Sets(rows, TENANT, at=at).of(Definition(condition=condition), Universe.ALL)
        return {it.id for it in directory.by_ordinal(rows, TENANT, found)}


def kept_nowhere(condition: Condition) -> bool:
    return not any(isinstance(it, segments.LOOKED_UP) for it in condition.leaves())


def conditions(random: Random, count: int, wanted: Callable[[Condition], bool] = kept_nowhere) -> list[Condition]:
    found = (random_conditions.condition(random) for _ in iter(int, 1))
    return [it for it, _ in zip(filter(wanted, found), range(count), strict=False)]


def wrong_statements(world: World, zone: str, random: Random, count: int) -> list[str]:
    """A story told to `world`, and of so many random conditions those that statements on whole sets and the domain answer differently."""
    it = story(random, PEOPLE)
    world.tell(*it.messages)
    customers, wrong = everybody(world, zone), []
    for condition in conditions(random, count):
        at = random.choice(it.instants)
        if by_statements(world, condition, at) != {id for id, one in customers.items() if one.holds(condition, at)}:
            wrong.append(f"{condition} at {at}")
    return wrong


@contextmanager
def careless_statements() -> Iterator[None]:
    """A planted mistake: statements take "at least" for "more than"."""
    exact = comparison_sql._SIGNS
    comparison_sql._SIGNS = {**exact, Operator.GE: ">"}  # type: ignore[misc]
    try:
        yield
    finally:
        comparison_sql._SIGNS = exact  # type: ignore[misc]
