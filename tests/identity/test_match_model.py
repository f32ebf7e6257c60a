"""What a pair of customers weighs: the published examples, the accounts of them, and models that are none."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import log2

import numpy as np
import pytest

from services.identity.domain.errors import BadMatchModel
from services.identity.domain.match_model import (
    DEFAULT,
    Band,
    Comparison,
    Feature,
    Level,
    MatchModel,
    Weighed,
    levels_of,
)


def weighed(**agreement: str) -> Weighed:
    return DEFAULT.weigh(levels_of({Feature(name.upper()): level for name, level in agreement.items()}))


def test_ac_5_name_birthdate_and_gender_equal_the_rest_missing() -> None:
    found = weighed(name="EXACT", birthdate="EXACT", gender="EXACT")

    assert (round(found.weight, 2), round(found.probability, 4), found.band) == (10.84, 0.9995, Band.HIGH)


def test_ac_5_name_gender_and_device_equal_no_birthdate() -> None:
    found = weighed(name="EXACT", gender="EXACT", device="SHARED")

    assert (round(found.weight, 2), round(found.probability, 4), found.band) == (8.05, 0.9962, Band.HIGH)


def test_ac_5_device_equal_name_and_gender_differ() -> None:
    found = weighed(device="SHARED", name="DIFFERENT", gender="DIFFERENT")

    assert (round(found.weight, 2), round(found.probability, 4), found.band) == (-11.02, 0.0005, None)


def test_every_level_weighs_what_is_published() -> None:
    published = [
        [8.81, 3.91, -4.64],
        [14.34, 3.91, -5.64],
        [10.45, 3.32, -3.32],
        [11.55, -1.32],
        [0.97, -4.64],
    ]

    assert [[round(it.weight, 2) for it in one.levels] for one in DEFAULT.comparisons] == published
    for one in DEFAULT.comparisons:
        assert sum(it.m for it in one.levels) == pytest.approx(1)
        assert sum(it.u for it in one.levels) == pytest.approx(1)


def test_the_account_of_a_pair_starts_at_the_prior_and_adds_up() -> None:
    found = weighed(name="SIMILAR", address="DISTRICT", gender="EXACT")

    assert [it.feature for it in found.steps] == ["PRIOR", *Feature]
    assert found.steps[0].weight == pytest.approx(log2(1e-4 / (1 - 1e-4)))
    for before, after in pairwise(found.steps):
        assert after.total == pytest.approx(before.total + after.weight)
    assert found.steps[-1].total == found.weight
    assert [it.weight for it in found.steps if not it.level and it.feature != "PRIOR"] == [0, 0]


def test_many_pairs_weigh_what_each_of_them_does() -> None:
    rows = [
        (a, b, c, d, e) for a in (-1, 0, 1, 2) for b in (-1, 0, 2) for c in (-1, 1) for d in (-1, 0) for e in (0, 1)
    ]

    found = DEFAULT.weights(np.array(rows, dtype=np.int8))

    assert found.tolist() == pytest.approx([DEFAULT.weigh(it).weight for it in rows])


def test_the_least_weight_is_that_of_the_low_threshold() -> None:
    model = replace(DEFAULT, low=0.5, high=0.9)

    assert model.least_weight == 0
    assert [model.band(it) for it in (0.49, 0.5, 0.9)] == [None, Band.LOW, Band.HIGH]


def test_weights_beyond_all_bounds_are_certainties() -> None:
    certain = Comparison(Feature.GENDER, (Level("EXACT", 1 - 1e-300, 1e-300), Level("DIFFERENT", 1e-300, 1 - 1e-300)))
    model = replace(DEFAULT, comparisons=(*DEFAULT.comparisons[:-1], certain))

    assert model.weigh((-1, -1, -1, -1, 1)).probability < 1e-290
    assert model.weigh((-1, -1, -1, -1, 0)).probability == pytest.approx(1)


def _gender(m: float, u: float) -> MatchModel:
    levels = (Level("EXACT", m, u), Level("DIFFERENT", 1 - m, 1 - u))
    return replace(DEFAULT, comparisons=(*DEFAULT.comparisons[:-1], Comparison(Feature.GENDER, levels)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: replace(DEFAULT, auto_merge=0.998),
        lambda: replace(DEFAULT, auto_merge=1.0),
        lambda: replace(DEFAULT, high=0.9995, auto_merge=0.9991),
        lambda: replace(DEFAULT, low=0.96),
        lambda: replace(DEFAULT, prior=0.0),
        lambda: replace(DEFAULT, comparisons=DEFAULT.comparisons[1:]),
        lambda: replace(DEFAULT, comparisons=DEFAULT.comparisons[::-1]),
        lambda: _gender(1.0, 0.5),
        lambda: _gender(0.0, 0.5),
        lambda: replace(
            DEFAULT,
            comparisons=(
                *DEFAULT.comparisons[:-1],
                Comparison(Feature.GENDER, (Level("EXACT", 0.9, 0.5), Level("DIFFERENT", 0.3, 0.5))),
            ),
        ),
    ],
)
def test_what_is_no_model_is_refused(spoil: Callable[[], MatchModel]) -> None:
    with pytest.raises(BadMatchModel):
        spoil().require_sound()


def test_the_default_is_sound_and_so_is_merging_unasked_from_the_least_threshold_on() -> None:
    DEFAULT.require_sound()
    replace(DEFAULT, auto_merge=0.999).require_sound()
