"""By whom a customer was referred, as conditions ask for it: live, by statements and by the letter, whatever comes when (TG-4, MB-7)."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import NamedTuple
from uuid import UUID

import pytest
from google.protobuf.message import Message

from services.tagging.domain.conditions import Condition, Universe
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.segments import Definition
from services.tagging.read_models import referrals
from tests.tagging.calling import Caller, Serve
from tests.tagging.stories import by_holding, by_statements
from tests.tagging.test_erasure import erasing
from tests.tagging.test_referrals import ANN, BEA, CARL, DAY, DORA, has_code, registered
from tests.tagging.world import START, ZONE, World, created_at, guided, merged, paid, person, refunded, unmerged


def live(world: World, text: str) -> UUID:
    return world.define(text, Definition(condition=read(text)), Universe.ALL)


def test_who_referred_somebody_is_known_as_soon_as_both_the_code_and_who_named_it_are(world: World) -> None:
    by_ann, by_dora, by_nobody = (
        live(world, it) for it in (f'referrer = "{ANN}"', f'referrer = "{DORA}"', "referrer not exists")
    )
    everybody = {ANN, BEA, CARL, DORA}
    world.tell(*(created_at(it, START - DAY) for it in everybody), registered(BEA, "a"), registered(CARL, "a"))
    assert (world.members(by_ann), world.members(by_nobody)) == (set(), everybody)
    world.tell(has_code(ANN, "a"))
    assert (world.members(by_ann), world.members(by_nobody)) == ({BEA, CARL}, {ANN, DORA})
    world.tell(paid(CARL, "c", START - DAY, 100))  # who was no new customer, as it turns out
    assert world.members(by_ann) == {BEA}
    world.tell(refunded(CARL, "c", "r", START, 100))
    assert world.members(by_ann) == {BEA, CARL}
    world.tell(merged(DORA, ANN))
    assert (world.members(by_ann), world.members(by_dora)) == (set(), {BEA, CARL})
    world.tell(unmerged(DORA, ANN), has_code(DORA, "a", START))  # a code of two is that of the lesser id
    assert world.members(min((ANN, by_ann), (DORA, by_dora))[1]) == {BEA, CARL}
    world.tell(has_code(DORA, "b", START + DAY), registered(BEA, "b", START - DAY))  # whom she had named before
    assert (world.members(by_ann), world.members(by_dora)) == ({CARL}, {BEA})
    world.tell(has_code(DORA, None, START + 2 * DAY))
    assert (world.members(by_ann), world.members(by_dora)) == ({CARL}, set())
    world.tell(erasing(ANN))
    assert (world.members(by_ann), world.members(by_nobody)) == (set(), {BEA, CARL, DORA})
    assert world.rebuild() == {}


def test_whoever_is_merged_with_the_referrer_was_referred_by_nobody(world: World) -> None:
    by_ann = live(world, f'referrer = "{ANN}"')
    world.tell(created_at(ANN, START), created_at(BEA, START), has_code(ANN, "a"), registered(BEA, "a"))
    assert world.members(by_ann) == {BEA}
    world.tell(merged(ANN, BEA))
    assert world.members(by_ann) == set()
    world.tell(unmerged(ANN, BEA))
    assert world.members(by_ann) == {BEA}
    assert world.rebuild() == {}


def test_a_guide_and_a_referrer_are_told_together(world: World) -> None:
    both = live(world, f'guide = "{DORA}" and referrer = "{ANN}"')
    world.tell(created_at(ANN, START), created_at(BEA, START), has_code(ANN, "a"), registered(BEA, "a"))
    world.tell(guided(BEA, DORA, START))
    assert world.members(both) == {BEA}
    assert dict(world.history(BEA).relations) == {"guide": str(DORA), "referrer": str(ANN)}


def test_an_explanation_names_the_referrer_and_the_registration(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.tell(created_at(ANN, START), created_at(BEA, START), has_code(ANN, "a"), registered(BEA, "a"))
        segment = live(world, f'referrer = "{ANN}"')
        world.fire()
        told = await caller.call("ExplainMembership", customer_id=str(BEA), segment_id=str(segment))
        assert f'✓ referrer = "{ANN}": {ANN} (' in str(told.text)
        assert "referral_registered" in str(told.text)

    serve(check)


# Anything at all, in any order, against the letter.


class Told(NamedTuple):
    """Messages, and what of them counts to the letter."""

    codes: dict[UUID, str | None]
    registrations: dict[UUID, list[tuple[int, str]]]
    orders: dict[str, tuple[UUID, int, int]]
    parent: dict[UUID, UUID]
    erased: set[UUID]


PEOPLE = [person(f"one {number}") for number in range(8)]


def anything(random: Random, told: Told) -> Iterator[Message]:
    """One or two things that happen to some of PEOPLE who are not erased."""
    alive = [it for it in PEOPLE if it not in told.erased]
    who = random.choice(alive)
    match random.randint(0, 9):
        case 0 | 1:
            told.codes[who] = random.choice(("a", "b", "c", None))
            yield has_code(who, told.codes[who], START + len(told.orders) * DAY)
        case 2 | 3 | 4:
            day, code = random.randint(-9, 9), random.choice("abc")
            told.registrations.setdefault(who, []).append((day, code))
            yield registered(who, code, START + day * DAY)
        case 5 | 6:
            order, day = f"order {len(told.orders)}", random.randint(-12, 12)
            told.orders[order] = who, day, 100
            yield paid(who, order, START + day * DAY + timedelta(hours=1), 100)
        case 7 if told.orders:
            order = random.choice(sorted(told.orders))
            buyer, day, _ = told.orders[order]
            if buyer in alive:
                told.orders[order] = buyer, day, 0
                yield refunded(buyer, order, "r", START, 100)
        case 8:
            roots = [it for it in alive if it not in told.parent]
            loser, survivor = random.sample(roots, 2) if len(roots) > 3 else (None, None)
            if loser and survivor and loser not in told.parent.values():
                told.parent[loser] = survivor
                yield merged(survivor, loser)
        case 9 if told.parent:
            loser = random.choice(sorted(told.parent))
            yield unmerged(told.parent.pop(loser), loser)
        case _ if random.random() < 0.3 and len(alive) > 5 and not {who} & {*told.parent, *told.parent.values()}:
            told.erased.add(who)
            yield erasing(who)


def to_the_letter(told: Told) -> dict[UUID, UUID]:
    """By whom each customer was referred."""
    nodes: dict[UUID, list[UUID]] = {}
    for it in PEOPLE:
        if it not in told.erased:
            nodes.setdefault(told.parent.get(it, it), []).append(it)
    found = {}
    for customer, theirs in nodes.items():
        named = [it for node in theirs for it in told.registrations.get(node, ())]
        if not named:
            continue
        day, code = min(named)
        bought = [on for node, on, left in told.orders.values() if node in theirs and left]
        holders = {it for it, some in nodes.items() if any(told.codes.get(node) == code for node in some)} - {customer}
        if holders and not any(on < day for on in bought):
            found[customer] = min(holders)
    return found


def differences(world: World, seed: int, steps: int = 40) -> list[str]:
    """Where live segments, statements, the domain and the letter do not name the same customers."""
    random, told, wrong = Random(seed), Told({}, {}, {}, {}, set()), []
    conditions: dict[str, Condition] = {f'referrer = "{it}"': read(f'referrer = "{it}"') for it in PEOPLE}
    conditions["referrer exists"] = read("referrer exists")
    conditions["referrer not exists"] = read("referrer not exists")
    segments = {text: live(world, text) for text in conditions}
    world.tell(*(created_at(it, START - 20 * DAY) for it in PEOPLE))
    for step in range(steps):
        world.tell(*anything(random, told))
        expected = to_the_letter(told)
        everybody = {told.parent.get(it, it) for it in PEOPLE if it not in told.erased}
        for text, condition in conditions.items():
            of = {it for it in everybody if text in (f'referrer = "{expected.get(it)}"', "referrer exists")}
            of &= expected.keys()
            of = everybody - expected.keys() if text == "referrer not exists" else of
            if world.members(segments[text]) != of:
                wrong.append(f"live {step}: {text}")
            if step % 10 == 0 and by_statements(world, condition, START) != of:
                wrong.append(f"statements {step}: {text}")
            if step % 10 == 0 and by_holding(world, condition, START, ZONE) != of:
                wrong.append(f"domain {step}: {text}")
    return wrong


def test_segments_statements_and_the_domain_name_whom_the_letter_names(world: World) -> None:
    assert differences(world, 1) == []
    assert world.rebuild() == {}


def test_segments_that_only_follow_the_customers_of_a_batch_are_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referrals, "referees", lambda rows, tenant, nodes: [])
    assert differences(world, 1, 25)
