"""What is refused when a condition is saved, and which dimensions there are (TG-4)."""

from uuid import uuid4

import pytest

from chassis.errors import DomainError, UnknownEnum
from services.tagging.domain.conditions import (
    DEFAULT_LIMITS,
    AttributeTest,
    Comparison,
    InSegment,
    Limits,
    Operator,
    Tie,
    all_of,
    any_of,
    no,
    that,
)
from services.tagging.domain.conditions.checking import check_words
from services.tagging.domain.conditions.dimensions import BUILT_IN, meaning
from services.tagging.domain.conditions.reads import Reads, reads
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.conditions.vocabulary import TagWord, Vocabulary, attribute
from services.tagging.domain.errors import (
    ArchivedTag,
    ConditionTooComplex,
    MalformedCondition,
    UnknownDimension,
    WrongOperator,
    WrongValueType,
)

WORDS = Vocabulary(
    attributes={"skin": attribute("skin", "ENUM"), "rooms": attribute("rooms", "NUMBER")},
    tags={"old": TagWord(archived=True), "decision": TagWord(values=frozenset({"kol", "price"}))},
)


@pytest.mark.parametrize(
    ("text", "error", "path"),
    [
        ('colour = "red"', UnknownDimension, "definition.attribute"),
        ('tag("vip") and (not rooms = "three")', WrongValueType, "definition.all[1].not.attribute"),
        ("rooms contains 3", WrongOperator, "definition.attribute"),
        ("known > true", WrongOperator, "definition.attribute"),
        ('gender = "F"', UnknownEnum, "definition.attribute"),
        ('age_band in ("AGE_18_24", "YOUNG")', UnknownEnum, "definition.attribute"),
        ('tag("vip") or tag("old")', ArchivedTag, "definition.any[1].tag"),
        ('tag("decision", "friend")', UnknownEnum, "definition.tag"),
        ('event("a") count >= "3"', WrongValueType, "definition.event"),
        ('event("a") sum(x) contains 3', WrongOperator, "definition.event"),
        ('event("a", where $colour = "red") count = 1', UnknownDimension, "definition.event"),
        ('event("a", where x between 1 and "b") count = 1', WrongValueType, "definition.event"),
        ('event("a", hours 5..25) count = 1', MalformedCondition, "definition.event"),
        ('event("a", weekdays 0) count = 1', MalformedCondition, "definition.event"),
        ('event(category "Q") count = 1', MalformedCondition, "definition.event"),
        ('event("a") count = 1 in last 0 days', MalformedCondition, "definition.event"),
        ('event("a") count = 1 in 2025-02-01..2025-01-01', MalformedCondition, "definition.event"),
        ('event("a") without event("b") within 0 seconds', MalformedCondition, "definition.absence"),
        ('event("a") streak 0 days', MalformedCondition, "definition.streak"),
        ('order(where colour = "red") count = 1', UnknownDimension, "definition.order"),
        ("order(where sku = 1) count = 1", WrongValueType, "definition.order"),
        ("guide = 1", WrongValueType, "definition.relation"),
        ('rfm("rfm", r 0..9, f 0..5, m 0..5)', MalformedCondition, "definition.rfm"),
        ("total_spend >= 1e999", MalformedCondition, "definition.attribute"),
    ],
)
def test_a_condition_that_is_not_right_is_refused_with_the_path_of_the_leaf(
    text: str, error: type[DomainError], path: str
) -> None:
    with pytest.raises(error) as refusal:
        check_words(read(text).placed("definition."), WORDS)
    assert refusal.value.field == path


def test_words_of_the_tenant_are_known() -> None:
    text = 'skin = "DRY" and rooms >= 3 and tag("decision", "kol") and tag("undeclared") and last_channel = "h5"'
    check_words(read(text).placed(), WORDS)
    check_words(read('event("custom.tea", where whatever > 3) last(anything) contains "x"').placed(), WORDS)


def test_there_are_thirty_dimensions_and_more_and_each_can_be_asked_for() -> None:
    assert len(BUILT_IN) >= 30
    for it in Vocabulary().dimensions():
        leaf = AttributeTest(it.key, Comparison(Operator.EXISTS))
        check_words([("", leaf), ("", meaning(leaf))], Vocabulary())


def test_ac_38_nine_leaves_are_too_many_and_eight_are_not() -> None:
    leaves = [f"total_spend > {n}" for n in range(9)]
    read(" or ".join(leaves[:8])).check()
    with pytest.raises(ConditionTooComplex) as refusal:
        read(" or ".join(leaves)).check()
    assert refusal.value.metadata == {"limit": "8"}
    read(" or ".join(leaves)).check(Limits(leaves=32))


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ('event("a") count > 1 in last 731 days', 730),
        ('event("a") count > 1 in last 17521 hours', 730),
        ("order count > 1 in 2020-01-01..2021-12-31", 730),
        ('event("a", where a = 1 and b = 1 and c = 1 and d = 1 and e = 1 and f = 1) count > 1', 5),
        (" then ".join(['event("a")'] * 6), 5),
        ("not (not (not (not known = true)))", 3),
    ],
)
def test_what_is_larger_than_allowed_is_refused_with_the_limit(text: str, limit: int) -> None:
    with pytest.raises(ConditionTooComplex) as refusal:
        read(text).check()
    assert refusal.value.metadata == {"limit": str(limit)}


def test_eight_of_the_costliest_leaves_are_allowed_and_thirty_two_are_not() -> None:
    costly = read(" then ".join(["event(any)"] * 5))
    any_of(*[costly] * 8).check()
    with pytest.raises(ConditionTooComplex) as refusal:
        any_of(*[costly] * 32).check(Limits(leaves=32))
    assert refusal.value.metadata == {"limit": str(DEFAULT_LIMITS.cost)}


def test_what_a_condition_reads() -> None:
    other = uuid4()
    text = (
        'city = "X" and last_purchase_days > 3 and not tag("vip") and guide exists and group("g")'
        ' or event("a") then event(category "N") or consent("SMS") or layer("rfm", "LOYAL") or known = true'
    )
    it = any_of(read(text), that(InSegment(other)))
    assert reads(it.leaves()) == Reads(
        event_types=frozenset({"a"}),
        categories=frozenset({"N"}),
        orders=True,
        attributes=frozenset({"city"}),
        tags=frozenset({"vip"}),
        models=frozenset({"rfm"}),
        segments=frozenset({other}),
        ties=frozenset({Tie.GUIDE}),
        groups=frozenset({"g"}),
        consents=frozenset({"SMS"}),
        identity=True,
        clock=True,
    )


def test_only_what_reads_more_than_kept_sets_reads_the_history() -> None:
    assert not reads(no(read('tag("a") and tag("b")')).leaves()).history
    assert reads(read('tag("a") and city = "X"').leaves()).history
    assert not reads(read('event("a") count > 1').leaves()).clock
    assert reads(read('event("a") count > 1 in this month').leaves()).clock
    everything = reads(read("event(any) count > 1").leaves())
    assert everything.behaviour("whatever", "")
    assert not reads(all_of(read('event("a") count > 1')).leaves()).behaviour("b", "N")
