"""Live audiences: sets worked out by statements, customers looked at one by one and the domain agree, whatever came in which order."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

import pytest
from google.protobuf.message import Message

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Condition, LookedUp, Universe
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.history import Behaviour, History, Purchase
from services.tagging.domain.segments import Definition
from services.tagging.read_models import audiences, comparison_sql, directory, live_segments, segments
from services.tagging.read_models.histories import histories
from tests.tagging import random_conditions
from tests.tagging.conftest import Worlds
from tests.tagging.world import (
    TENANT,
    World,
    behaved,
    consented,
    created_at,
    guided,
    in_group,
    knows,
    merge_id,
    merged,
    paid,
    person,
    placed,
    unmerged,
)

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
    for one in it.purchases:
        yield from purchase(who, one)
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


def behaviour(who: UUID, it: Behaviour, id: str) -> Message:
    message = behaved(who, it.at, kind=it.type, channel=it.channel, offset=it.offset, **it.properties)
    message.message_id, message.category, message.content_id = id, it.category, it.content
    return message


def purchase(who: UUID, it: Purchase) -> Iterator[Message]:
    yield placed(who, str(it.order), it.at, *it.lines)
    yield paid(who, str(it.order), it.at, it.net, it.currency)


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
    instants = sorted(it.at for one in found for it in (*one.behaviours, *one.purchases))
    return Story(messages, [random.choice(instants) + timedelta(hours=random.randint(0, 60)) for _ in range(3)])


def by_holding(world: World, condition: Condition, at: datetime, zone: str) -> set[UUID]:
    """For whom a condition holds by the domain alone; nobody is in any kept set."""
    with world.engine.connect() as rows:
        everybody = directory.by_ordinal(rows, TENANT, segments.Sets(rows, TENANT).universe(Universe.ALL))
        found = histories(rows, TENANT, [it.id for it in everybody])

    def nowhere(leaf: LookedUp) -> bool:
        return False

    return {id for id, it in found.items() if Customer.of(it, Calendar.of(zone), nowhere).holds(condition, at)}


def by_statements(world: World, condition: Condition, at: datetime) -> set[UUID]:
    with world.engine.connect() as rows:
        found = segments.Sets(rows, TENANT, at=at).of(Definition(condition=condition), Universe.ALL)
        return {it.id for it in directory.by_ordinal(rows, TENANT, found)}


def kept_nowhere(condition: Condition) -> bool:
    return not any(isinstance(it, segments.LOOKED_UP) for it in condition.leaves())


def conditions(random: Random, count: int, wanted: Callable[[Condition], bool] = kept_nowhere) -> list[Condition]:
    found = (random_conditions.condition(random) for _ in iter(int, 1))
    return [it for it, _ in zip(filter(wanted, found), range(count), strict=False)]


@pytest.mark.parametrize("seed", range(2))
def test_statements_find_whom_the_domain_says(worlds: Worlds, seed: int) -> None:
    random = Random(seed)
    zone = random.choice(random_conditions.ZONES)
    world = worlds(zone)
    it = story(random, 40)
    world.tell(*it.messages)
    for condition in conditions(random, 150):
        at = random.choice(it.instants)
        assert by_statements(world, condition, at) == by_holding(world, condition, at, zone), (condition, at)


def test_a_planted_mistake_is_found(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    signs = {**comparison_sql._SIGNS, comparison_sql.Operator.GE: ">"}
    monkeypatch.setattr(comparison_sql, "_SIGNS", signs)
    with pytest.raises(AssertionError):
        test_statements_find_whom_the_domain_says(worlds, 0)


@pytest.mark.parametrize(("seed", "many"), [(100, 1000), (101, 0), (102, 5)])
def test_live_segments_hold_whom_the_domain_says_at_every_instant(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch, seed: int, many: int
) -> None:
    """Facts come late, in any order and in small batches, while the clock goes on and timers fire; more customers than `many` are
    looked at by statements."""
    monkeypatch.setattr(live_segments, "_MANY", many)
    monkeypatch.setattr(audiences, "_PAGE", many or 3)
    random = Random(seed)
    zone = random.choice(random_conditions.ZONES)
    world = worlds(zone)
    it = story(random, 14)
    defined = {
        world.define(f"s{n}", Definition(condition=one), Universe.ALL): one
        for n, one in enumerate(conditions(random, 25, lambda it: kept_nowhere(it) and random_conditions.savable(it)))
    }
    start, end = min(it.instants) - timedelta(days=8), max(it.instants) + timedelta(days=3)
    batches = [it.messages[n : n + 12] for n in range(0, len(it.messages), 12)]
    for number, batch in enumerate(batches):
        world.at(start + (end - start) * number / len(batches))
        world.tell(*batch)
    for now in (end, end + timedelta(days=1, hours=7)):
        world.at(now)
        for segment, condition in defined.items():
            assert world.members(segment) == by_holding(world, condition, now, zone), (condition, now)
    assert world.rebuild() == {}
