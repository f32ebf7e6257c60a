"""Which value counts is a function of what was said, whatever the order and the nodes (ID-6)."""

from datetime import timedelta
from random import Random
from uuid import UUID

import pytest

from services.identity.domain.attributes import PRESET, RANKS, AttributeSource
from services.identity.domain.survivorship import Said, resolve
from tests.identity.brand import NOON


def said(random: Random, text: str) -> Said:
    return Said(
        "city",
        UUID(int=random.randrange(3)),
        random.choice(list(AttributeSource)),
        NOON + timedelta(days=random.randrange(3)),
        text,
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_order_in_which_values_are_looked_at_does_not_matter(seed: int) -> None:
    random = Random(seed)
    values = list({(it.node, it.source): it for it in (said(random, str(n)) for n in range(10))}.values())
    first = resolve(PRESET["city"], values)
    assert first is not None
    for _ in range(5):
        random.shuffle(values)
        assert resolve(PRESET["city"], values) == first
    (best,) = first.of
    for it in values:
        assert (RANKS[best.source], best.observed_at) >= (RANKS[it.source], it.observed_at)
        if (best.source, best.observed_at) == (it.source, it.observed_at):
            assert best.node <= it.node


def test_of_nothing_nothing_counts() -> None:
    assert resolve(PRESET["city"], []) is None


def test_ranks_are_those_of_the_specification() -> None:
    assert [RANKS[it] for it in AttributeSource] == [50, 40, 35, 30, 25, 20, 15, 5]
