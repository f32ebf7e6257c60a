"""Conditions as people write them: what is written is read back as it was, and what cannot be read is refused with its place."""

from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.tagging.domain.conditions import (
    AttributeTest,
    Comparison,
    Condition,
    EventTest,
    Figure,
    Happening,
    HasConsent,
    HasTag,
    InLayer,
    InSegment,
    Operator,
    PropertyTest,
    RfmScores,
    Value,
    all_of,
    any_of,
    last_days,
    no,
    that,
)
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.conditions.text_writing import written
from services.tagging.domain.errors import ConditionSyntax
from tests.tagging.random_conditions import condition

SEGMENT = UUID("0192d3c4-0000-7000-8000-00000000000a")
TEXTS = st.text(max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.one_of(TEXTS, NUMBERS, st.booleans())


@given(seed=st.integers(0, 2**32), key=TEXTS, plain=PLAIN, low=NUMBERS)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back_as_it_was(seed: int, key: str, plain: str | float | bool, low: float) -> None:
    odd = PropertyTest(key, Comparison.with_plain(Operator.IN, plain, low))
    it = all_of(
        condition(Random(seed)),
        that(AttributeTest(key, Comparison.with_plain(Operator.NE, plain))),
        no(that(EventTest(Happening(key, where=(odd,)), Figure.LAST, odd.comparison, last_days(3), key))),
        that(HasTag(key, key)),
    )
    assert read(written(it)) == it


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (
            'event("product_viewed", where sku = "A") count >= 3 in last 30 days and not tag("vip")',
            all_of(
                that(
                    EventTest(
                        Happening(
                            "product_viewed", where=(PropertyTest("sku", Comparison.with_plain(Operator.EQ, "A")),)
                        ),
                        Figure.COUNT,
                        Comparison.with_plain(Operator.GE, 3),
                        last_days(30),
                    )
                ),
                no(that(HasTag("vip"))),
            ),
        ),
        ("consent(“MARKETING”) 且 非 tag(“vip”)", all_of(that(HasConsent("MARKETING")), no(that(HasTag("vip"))))),
        (
            "（tag(“a”) 或 tag(“b”)） 且 total_spend ≥ 999.99",
            all_of(
                any_of(that(HasTag("a")), that(HasTag("b"))),
                that(AttributeTest("total_spend", Comparison.with_plain(Operator.GE, 999.99))),
            ),
        ),
        ('tag("a") OR tag("b") AND tag("c")', any_of(that(HasTag("a")), all_of(that(HasTag("b")), that(HasTag("c"))))),
        ("city not exists", that(AttributeTest("city", Comparison(Operator.NOT_EXISTS)))),
        ('attr("and") = true', that(AttributeTest("and", Comparison(Operator.EQ, (Value(truth=True),))))),
    ],
)
def test_what_people_write(text: str, meant: Condition) -> None:
    assert read(text) == meant
    assert read(written(meant)) == meant


def test_sets_that_are_kept_are_written_by_their_keys() -> None:
    it = any_of(that(InSegment(SEGMENT)), that(InLayer("rfm", "AT_RISK", SEGMENT)), that(RfmScores("rfm", (4, 5))))
    text = f'segment("{SEGMENT}") or layer("rfm", "AT_RISK", run "{SEGMENT}") or rfm("rfm", r 4..5, f 0..5, m 0..5)'
    assert written(it) == text
    assert read(text) == it


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("not", 3),
        ('tag("a") tag("b")', 9),
        ('event("a") count >= 3 in last 3 weeks', 32),
        ('event("a") often >= 3', 11),
        ('tag("a', 4),
        ("city = Shanghai", 7),
        ('segment("not a uuid")', 8),
        ('event("a") count = 1 in 2025-02-30..2025-03-01', 24),
        ("(" * 100 + 'tag("a")' + ")" * 100, 65),
        ("x" * 9_000, 8_000),
        ("city # 1", 5),
        (r'tag("\x")', 4),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, position: int) -> None:
    with pytest.raises(ConditionSyntax) as refusal:
        read(text)
    assert refusal.value.metadata["position"] == str(position)
    assert refusal.value.metadata["expected"]


def test_the_examples_of_the_manual_are_read_and_written_as_they_are() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text()
    examples = manual.split("```")[1].strip().splitlines()
    assert len(examples) > 5
    assert [written(read(it)) for it in examples] == examples
