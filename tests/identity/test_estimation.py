"""A model finds its own figures: out of invented pairs whose figures are known, and out of people with spelling errors."""

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest

from services.identity.domain.blocking import BlockKey, BlockKeys, KeyKind
from services.identity.domain.comparing import Population
from services.identity.domain.estimation import Estimate, Sample, estimate, with_accepted
from services.identity.domain.match_model import DEFAULT, MISSING, Feature, Levels, MatchModel
from services.identity.domain.traits import Known
from tests.identity.brand import SECRET
from tests.identity.febrl import Pair, people

RANDOM_PAIRS = 200_000


def drawn(model: MatchModel, pairs: int, share_matched: float, seed: int = 1) -> tuple[Levels, Levels]:
    """Pairs as the model says that they are, some of them one person; and pairs of two persons each."""
    random = np.random.default_rng(seed)

    def rows(count: int, of: str) -> Levels:
        columns = []
        for it in model.comparisons:
            shares = np.array([getattr(level, of) for level in it.levels])
            columns.append(random.choice(len(shares), count, p=shares / shares.sum()))
        return np.array(columns, dtype=np.int8).T

    matched = int(pairs * share_matched)
    return np.concatenate([rows(matched, "m"), rows(pairs - matched, "u")]), rows(RANDOM_PAIRS, "u")


def test_the_figures_by_which_pairs_were_made_are_found_again() -> None:
    levels, at_random = drawn(DEFAULT, 40_000, 0.3)
    muddled = replace(
        DEFAULT,
        comparisons=tuple(
            replace(
                one,
                levels=tuple(
                    replace(it, m=0.6 if n == 0 else 0.4 / (len(one.levels) - 1)) for n, it in enumerate(one.levels)
                ),
            )
            for one in DEFAULT.comparisons
        ),
    )

    found = estimate(muddled, [Sample(levels)], at_random, all_pairs=40_000)

    assert found.expected == pytest.approx(12_000, rel=0.02)
    assert found.model.prior == pytest.approx(0.3, rel=0.02)
    for one, other in zip(found.model.comparisons, DEFAULT.comparisons, strict=True):
        assert [it.m for it in one.levels] == pytest.approx([it.m for it in other.levels], abs=0.02)
        assert [it.u for it in one.levels] == pytest.approx([it.u for it in other.levels], abs=0.02)
    found.model.require_sound()


def test_a_feature_that_no_pair_can_tell_about_keeps_its_figures() -> None:
    levels, at_random = drawn(DEFAULT, 5_000, 0.3)
    levels[:, 4] = at_random[:, 4] = MISSING

    found = estimate(DEFAULT, [Sample(levels, frozenset({Feature.NAME}))], at_random, all_pairs=1e6)

    name, gender = found.model.comparisons[0], found.model.comparisons[4]
    assert [it.m for it in name.levels] == [it.m for it in DEFAULT.comparisons[0].levels]
    assert [it.m for it in gender.levels] == pytest.approx([0.98, 0.02])
    assert [it.u for it in gender.levels] == pytest.approx([0.5, 0.5])


def test_without_pairs_nothing_is_learnt() -> None:
    nothing = np.empty((0, len(Feature)), dtype=np.int8)

    found = estimate(DEFAULT, [Sample(nothing)], nothing, all_pairs=0)

    assert (found.pairs, found.random_pairs, found.expected, found.model.prior) == (0, 0, 0, DEFAULT.prior)


def test_pairs_that_stewards_accepted_tell_how_often_one_person_is_seen_to_differ() -> None:
    accepted, _ = drawn(DEFAULT, 3_000, 1.0)
    moved = accepted.copy()
    moved[:1500, 2] = 2  # half of them have another address by now

    learnt = with_accepted(DEFAULT, moved)

    address, before = learnt.comparisons[2].levels, DEFAULT.comparisons[2].levels
    assert address[2].m == pytest.approx(0.5 + 0.5 * before[2].m, abs=0.03)
    assert [it.u for it in address] == [it.u for it in before]
    learnt.require_sound()


@dataclass(frozen=True)
class Measured:
    """Of all pairs that are one person: the share in blocks, and the share found; and how many of those found are."""

    blocked: float
    recall: float
    precision: float


class DataSet:
    """The pairs of one public data set, and the truth about them."""

    def __init__(self, known: list[Known], truth: set[Pair]) -> None:
        traits = [it.traits() for it in known]
        population, keys = Population(traits), BlockKeys(SECRET)
        blocks: dict[BlockKey, list[int]] = defaultdict(list)
        for place, it in enumerate(traits):
            for key in keys.of("acme", it):
                blocks[key].append(place)
        by_kind: dict[KeyKind, set[tuple[int, int]]] = defaultdict(set)
        for key, places in blocks.items():
            by_kind[key.kind].update(combinations(places, 2))
        pairs = np.array(sorted(set().union(*by_kind.values())))
        self.pairs = len(pairs)
        self._levels = population.compare(pairs[:, 0], pairs[:, 1])
        self._true = np.array([frozenset((traits[a].customer, traits[b].customer)) in truth for a, b in pairs])
        self._truth = len(truth)
        self._count = len(traits)
        self._samples = []
        for kind, found in by_kind.items():
            of_kind = np.array(sorted(found))
            self._samples.append(Sample(population.compare(of_kind[:, 0], of_kind[:, 1]), kind.features))
        left, right = np.random.default_rng(1).integers(0, len(traits), (2, RANDOM_PAIRS))
        two = left != right
        self._random = population.compare(left[two], right[two])

    def learn(self) -> Estimate:
        """A model learnt from these pairs without the truth about them."""
        return estimate(DEFAULT, self._samples, self._random, self._count * (self._count - 1) / 2)

    def measure(self, model: MatchModel) -> Measured:
        found = model.weights(self._levels) >= model.least_weight
        right = int((found & self._true).sum())
        return Measured(int(self._true.sum()) / self._truth, right / self._truth, right / int(found.sum()))


@pytest.fixture(scope="module")
def febrl() -> dict[str, DataSet]:
    names = {
        "febrl1": ["dataset1"],
        "febrl2": ["dataset2"],
        "febrl3": ["dataset3"],
        "febrl4": ["dataset4a", "dataset4b"],
    }
    return {name: DataSet(*people(*files)) for name, files in names.items()}


@pytest.mark.parametrize(
    ("name", "blocked", "by_default", "learnt"),
    [
        ("febrl1", 0.88, 0.74, 0.84),
        ("febrl2", 0.82, 0.61, 0.77),
        ("febrl3", 0.78, 0.57, 0.73),
        ("febrl4", 0.89, 0.75, 0.86),
    ],
)
def test_people_with_spelling_errors_are_found(
    febrl: dict[str, DataSet], name: str, blocked: float, by_default: float, learnt: float
) -> None:
    """Bars against falling back, a little below what docs/matching.md says was measured; the model is learnt from febrl4."""
    model = febrl["febrl4"].learn().model

    default, own = febrl[name].measure(DEFAULT), febrl[name].measure(model)

    print(f"\n{name}: {febrl[name].pairs} pairs; default {default}; learnt {own}")
    assert default.blocked == own.blocked >= blocked
    assert default.recall >= by_default
    assert own.recall >= learnt
    assert min(default.precision, own.precision) >= 0.995
