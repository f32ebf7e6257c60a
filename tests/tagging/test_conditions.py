"""The condition language: its algebra, its limits, and a reference that looks at one customer at a time."""

from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from pyroaring import BitMap

from chassis import event_codec
from services.tagging.domain.conditions import (
    Condition,
    HasTag,
    InLayer,
    InSegment,
    Kind,
    Leaf,
    RfmScores,
    SetOperation,
    SetOperator,
    Universe,
    all_of,
    any_of,
    members,
    no,
    that,
)
from services.tagging.domain.errors import ConditionTooComplex, SegmentCycle
from services.tagging.domain.segment_cycles import require_no_cycle
from services.tagging.domain.segments import Definition, Segment
from tests.tagging import random_conditions

TAGS = [HasTag(f"tag{n}") for n in range(9)]
Sets = Mapping[Leaf, frozenset[int]]


def naive(what: Condition, customer: int, sets: Sets) -> bool:
    """Whether a condition holds for one customer."""
    if what.kind is Kind.ALL:
        return all(naive(it, customer, sets) for it in what.parts)
    if what.kind is Kind.ANY:
        return any(naive(it, customer, sets) for it in what.parts)
    if what.kind is Kind.NOT:
        return not naive(what.parts[0], customer, sets)
    assert what.leaf is not None
    return customer in sets[what.leaf]


def random_condition(random: Random, depth: int = 3) -> Condition:
    if depth == 0 or random.random() < 0.3:
        return that(random.choice(TAGS[:5]))
    if random.random() < 0.25:
        return no(random_condition(random, depth - 1))
    parts = [random_condition(random, depth - 1) for _ in range(random.randint(1, 3))]
    return random.choice((all_of, any_of))(*parts)


def test_bitmaps_sets_and_single_customers_agree_on_random_conditions() -> None:
    random = Random(1)
    for _ in range(300):
        universe = frozenset(random.sample(range(60), 40))
        sets: Sets = {it: frozenset(random.sample(range(60), random.randint(0, 50))) for it in TAGS}
        it = random_condition(random)
        expected = {customer for customer in universe if naive(it, customer, sets)}
        assert members(it, sets.__getitem__, universe) == expected
        assert set(members(it, lambda leaf: BitMap(sets[leaf]), BitMap(universe))) == expected  # noqa: B023
        touched = BitMap(random.sample(range(60), 5))
        cut = members(it, lambda leaf: BitMap(sets[leaf]) & touched, BitMap(universe) & touched)  # noqa: B023
        assert set(cut) == expected & set(touched)


def test_the_comparison_would_notice_a_not_that_forgets_the_universe() -> None:
    """Negative control."""
    it, everybody, universe = no(that(TAGS[0])), BitMap(range(60)), BitMap(range(30))
    found = members(it, lambda leaf: BitMap((1, 2)), universe)
    assert found != everybody - BitMap((1, 2))
    assert len(found) == 28


def test_ac_41_sets_of_customers() -> None:
    a, b, c = (that(it) for it in TAGS[:3])
    sets: dict[Leaf, BitMap] = {
        TAGS[0]: BitMap(range(1, 61)),
        TAGS[1]: BitMap(range(41, 101)),
        TAGS[2]: BitMap(range(51, 56)),
    }

    def size(operator: SetOperator, *operands: Condition) -> int:
        return len(members(SetOperation(operator, operands), sets.__getitem__, BitMap(range(1, 201))))

    assert size(SetOperator.INTERSECT, a, b) == 20
    assert size(SetOperator.UNION, a, b) == 100
    assert size(SetOperator.DIFFERENCE, a, b) == 40
    assert len(members(all_of(any_of(a, b), no(c)), sets.__getitem__, BitMap(range(1, 201)))) == 95


def test_ac_37_shanghai_vips_and_spenders_without_the_blacklisted() -> None:
    shanghai, vip, spent, blacklist = (that(it) for it in TAGS[:4])
    sets: Sets = {
        TAGS[0]: frozenset(range(100)),
        TAGS[1]: frozenset([*range(30), 1000]),
        TAGS[2]: frozenset(range(20, 45)),
        TAGS[3]: frozenset([*range(5), *range(90, 99)]),
    }
    it = all_of(all_of(shanghai, any_of(vip, spent)), no(blacklist))
    it.check()
    assert len(members(it, sets.__getitem__, frozenset(range(2000)))) == 40


def test_ac_38_eight_leaves_are_accepted_and_nine_are_not() -> None:
    any_of(*map(that, TAGS[:8])).check()
    with pytest.raises(ConditionTooComplex) as refusal:
        any_of(*map(that, TAGS)).check()
    assert refusal.value.metadata == {"limit": "8"}


def test_nesting_and_operands_have_limits() -> None:
    deep = no(no(no(that(TAGS[0]))))
    deep.check()
    with pytest.raises(ConditionTooComplex):
        no(deep).check()
    with pytest.raises(ConditionTooComplex):
        SetOperation(SetOperator.UNION, tuple(map(that, TAGS))).check()


def test_a_definition_is_stored_and_read_as_it_was() -> None:
    leaves: tuple[Leaf, ...] = (
        HasTag("a"),
        InLayer("rfm", "AT_RISK", run=uuid4()),
        RfmScores("rfm", (4, 5)),
        InSegment(uuid4()),
    )
    for definition in (
        Definition(condition=all_of(no(that(leaves[0])), any_of(*map(that, leaves)))),
        Definition(operation=SetOperation(SetOperator.DIFFERENCE, tuple(map(that, leaves)))),
        Definition(),
    ):
        stored = event_codec.decode(event_codec.encode({"definition": definition, "universe": Universe.ALL}))
        event_codec.restore(Segment.Defined, stored)
        assert stored == {"definition": definition, "universe": Universe.ALL}


def test_any_condition_is_stored_and_read_as_it_was() -> None:
    random = Random(5)
    for _ in range(100):
        definition = Definition(condition=random_conditions.condition(random))
        stored = event_codec.decode(event_codec.encode({"definition": definition}))
        event_codec.restore(Segment.Defined, stored)
        assert stored == {"definition": definition}


def test_what_was_stored_when_there_were_fewer_leaves_is_read() -> None:
    bare: dict[str, Any] = {
        "kind": "TAG",
        "parts": [],
        "tag": {"tag": "vip"},
        "layer": None,
        "rfm": None,
        "segment": None,
    }
    stored: dict[str, Any] = {"definition": {"condition": bare, "operation": None}}
    event_codec.restore(Segment.Defined, stored)
    assert stored == {"definition": Definition(condition=that(HasTag("vip")))}


def test_everything_but_lists_is_live() -> None:
    tag, layer = that(HasTag("a")), that(InLayer("rfm", "LOYAL"))
    assert Definition(condition=no(tag)).live
    assert Definition(condition=any_of(tag, layer)).live
    assert Definition(operation=SetOperation(SetOperator.UNION, (tag,))).live
    assert not Definition().live


def test_a_segment_may_not_depend_on_itself_through_others() -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    a, b, c = (uuid4() for _ in range(3))

    def of(*others: UUID) -> Definition:
        return Definition(condition=any_of(*(that(InSegment(it)) for it in others)))

    stored = {id: Segment(id, "acme", str(id), it, Universe.KNOWN, now) for id, it in {b: of(c), c: of(a)}.items()}

    def load(ids: set[UUID]) -> dict[UUID, Segment]:
        return {id: stored[id] for id in ids}

    with pytest.raises(SegmentCycle):
        require_no_cycle(a, of(b), load)
    with pytest.raises(SegmentCycle):
        require_no_cycle(a, of(a), load)
    stored[c] = Segment(c, "acme", "c", of(), Universe.KNOWN, now)
    require_no_cycle(a, of(b, c), load)
