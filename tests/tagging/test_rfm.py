"""RFM on real data (AC-43, AC-44 and checkpoint A), beside a recomputation that shares nothing with the product."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

import pytest

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import AsOfInFuture, ModelParams
from services.tagging.domain.layers.params import read
from services.tagging.domain.model_schedules import NIGHTLY
from services.tagging.domain.models import ALGORITHM, RfmModel, RunSummary, Window, model_id
from services.tagging.domain.rfm import GRID, Cuts, Purchases, RfmRow, RfmSegment, quintiles, score
from services.tagging.domain.rfm_params import RfmParams
from tests.tagging import cdnow

END = date(1998, 7, 1)
CHECKPOINT_A = date(1998, 1, 5)


def bought(orders: Iterable[cdnow.Row], as_of: date, days: int = 0) -> list[Purchases]:
    """What every customer bought in the `days` days before `as_of` (0: ever)."""
    occasions: defaultdict[int, set[date]] = defaultdict(set)
    net: Counter[int] = Counter()
    for it in orders:
        if it.cents > 0 and it.day < as_of and (not days or (as_of - it.day).days <= days):
            occasions[int(it.customer)].add(it.day)
            net[int(it.customer)] += it.cents
    return [Purchases(c, (as_of - max(d)).days, len(d), net[c]) for c, d in occasions.items()]


class Expected(NamedTuple):
    """A row as it should be."""

    scores: tuple[int, int, int]
    type: str
    segment: str


def recomputed(population: Sequence[Purchases]) -> dict[int, Expected]:
    """Scores, types and segments by the letter of the specification, in fractions."""
    n = len(population)

    def cuts(values: Iterable[int]) -> list[int]:
        ordered = sorted(values)
        return [ordered[math.ceil(Fraction(k, 5) * n) - 1] for k in (1, 2, 3, 4)]

    r_cuts = cuts(it.recency for it in population)
    f_cuts = cuts(it.frequency for it in population)
    m_cuts = cuts(it.monetary for it in population)
    scores = {
        it.customer: (
            5 - sum(it.recency > cut for cut in r_cuts),
            1 + sum(it.frequency > cut for cut in f_cuts),
            1 + sum(it.monetary > cut for cut in m_cuts),
        )
        for it in population
    }
    means = [Fraction(sum(it[k] for it in scores.values()), n) for k in range(3)]
    return {
        customer: Expected(it, "".join("H" if it[k] > means[k] else "L" for k in range(3)), named(it[0], it[1]))
        for customer, it in scores.items()
    }


def named(r: int, f: int) -> str:
    if r <= 2:
        return "HIBERNATING" if f <= 2 else "AT_RISK" if f <= 4 else "CANT_LOSE"
    if r == 3:
        return "ABOUT_TO_SLEEP" if f <= 2 else "NEED_ATTENTION" if f == 3 else "LOYAL"
    if r == 4:
        return "PROMISING" if f == 1 else "POTENTIAL_LOYALIST" if f <= 3 else "LOYAL"
    return "NEW" if f == 1 else "POTENTIAL_LOYALIST" if f <= 3 else "CHAMPIONS"


def as_expected(rows: Iterable[RfmRow]) -> dict[int, Expected]:
    return {
        it.customer: Expected((it.recency_score, it.frequency_score, it.monetary_score), str(it.type), str(it.segment))
        for it in rows
    }


def test_ac_43_all_of_history_as_of_july_1998() -> None:
    cuts, rows = score(bought(cdnow.rows(), END))
    summary = RunSummary.of(cuts, rows)
    assert summary.population == 23_502
    assert summary.net == 250_031_563
    assert cuts == Cuts((141, 431, 485, 513), (1, 1, 2, 4), (1536, 3154, 6005, 13429))
    by_customer = {it.customer: it for it in rows}
    assert [as_expected([by_customer[c]])[c].scores for c in (3, 2, 1)] == [(5, 5, 5), (1, 1, 4), (1, 1, 1)]
    types = {"HHH": 8797, "LHH": 1713, "LLH": 3587, "HHL": 611, "HLL": 1, "LHL": 392, "LLL": 8401}
    assert summary.types == types  # nobody is HLH
    champions = summary.segments["CHAMPIONS"]
    assert champions.customers == 4117
    assert round(champions.customers / summary.population, 3) == 0.175
    assert round(champions.net / summary.net, 3) == 0.518


@pytest.mark.parametrize(("days", "customers"), [(0, 23_502), (365, 8_332)], ids=["ac_43", "ac_44"])
def test_every_one_of_the_customers_is_scored_as_a_plain_recomputation_does(days: int, customers: int) -> None:
    population = bought(cdnow.rows(), END, days)
    _, rows = score(population)
    assert as_expected(rows) == recomputed(population)
    assert len(rows) == customers


def test_ac_44_a_window_of_365_days() -> None:
    cuts, rows = score(bought(cdnow.rows(), END, 365))
    assert len(rows) == 8332
    assert cuts == Cuts((34, 92, 160, 247), (1, 2, 3, 4), (2498, 4697, 8539, 16844))


def test_checkpoint_a_of_the_main_job() -> None:
    cuts, rows = score(bought(cdnow.rows(), CHECKPOINT_A))
    assert cuts == Cuts((112, 288, 313, 337), (1, 1, 2, 3), (1536, 2973, 5342, 11161))
    assert Counter(str(it.segment) for it in rows) == {
        "CHAMPIONS": 3748,
        "LOYAL": 2323,
        "POTENTIAL_LOYALIST": 3113,
        "NEW": 1,
        "PROMISING": 429,
        "NEED_ATTENTION": 594,
        "ABOUT_TO_SLEEP": 4097,
        "AT_RISK": 711,
        "CANT_LOSE": 25,
        "HIBERNATING": 8461,
    }


def test_the_recomputation_notices_ties_split_by_row_number() -> None:
    """Negative control: NTILE, which the specification forbids, does not pass for quintiles."""
    population = bought(cdnow.rows(), END)
    by_frequency = sorted(population, key=lambda it: it.frequency)
    ntile = {it.customer: 1 + 5 * rank // len(population) for rank, it in enumerate(by_frequency)}
    expected = recomputed(population)
    assert any(expected[customer].scores[1] != tile for customer, tile in ntile.items())


@pytest.mark.parametrize("n", [5, 6, 7, 11, 100])
def test_random_populations_with_many_ties_are_scored_as_recomputed(n: int) -> None:
    random = Random(n)
    for _ in range(200):
        population = [
            Purchases(c, random.randint(1, 4), random.randint(1, 3), random.choice((100, 200, 205))) for c in range(n)
        ]
        assert as_expected(score(population)[1]) == recomputed(population)


def test_fixed_cuts_and_thresholds_take_the_place_of_quintiles_and_means() -> None:
    population = [Purchases(n, 10 * n + 1, n + 1, 100 * n) for n in range(6)]
    fixed = read(
        RfmParams,
        {
            "recency_cuts": [10, 20, 30, 40],
            "frequency_cuts": [1, 2, 3, 4],
            "monetary_cuts": [50, 150, 250, 350],
            "type_thresholds": [2, 3, 4],
        },
    )
    cuts, rows = score(population, fixed)
    assert (cuts.recency, cuts.frequency, cuts.monetary) == fixed.cuts
    assert [(it.recency_score, it.frequency_score, it.monetary_score) for it in rows] == [
        (5, 1, 1),
        (4, 2, 2),
        (3, 3, 3),
        (2, 4, 4),
        (1, 5, 5),
        (1, 5, 5),
    ]
    assert [it.type for it in rows] == ["HLL", "HLL", "HLL", "LHL", "LHH", "LHH"]
    assert score(population) == score(population, read(RfmParams, {}))


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"window_days": 3651}, "window_days"),
        ({"window_days": -1}, "window_days"),
        ({"monetary": "TAX"}, "monetary"),
        ({"recency_cuts": [1, 2, 3, 4]}, "frequency_cuts"),
        ({"recency_cuts": [1, 2, 2, 4], "frequency_cuts": [1, 2, 3, 4], "monetary_cuts": [1, 2, 3, 4]}, "recency_cuts"),
        ({"type_thresholds": [3, 3]}, "type_thresholds"),
        ({"type_thresholds": [3, 3, 6]}, "type_thresholds[2]"),
        ({"windows": 3}, "windows"),
    ],
)
def test_bad_parameters_are_refused_by_their_path(given: dict[str, Any], path: str) -> None:
    with pytest.raises(ModelParams) as caught:
        read(RfmParams, given)
    assert caught.value.metadata["path"] == path


def test_the_fingerprint_of_a_model_without_choices_is_what_it_was() -> None:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    plain = RfmModel(model_id("acme", "rfm"), "acme", "rfm", RfmParams(365), NIGHTLY, at)
    before = hashlib.sha256("\x1f".join((ALGORITHM, "365", "UTC", "USD")).encode()).hexdigest()
    assert plain.params_hash("UTC", "USD") == before
    plain.restate(RfmParams(365, monetary="GROSS"), at)
    assert plain.params_hash("UTC", "USD") != before


def test_fewer_than_five_customers_have_no_scores() -> None:
    cuts, rows = score([Purchases(c, c + 1, 1, 100) for c in range(4)])
    assert cuts == Cuts()
    assert {(it.recency_score, it.type, it.segment) for it in rows} == {(0, None, None)}
    assert score([]) == (Cuts(), [])


def test_quintiles_are_nearest_rank() -> None:
    assert quintiles([5, 1, 4, 2, 3]) == (1, 2, 3, 4)
    assert quintiles([1, 2, 3, 4, 5, 6]) == (2, 3, 4, 5)


def test_the_grid_is_total() -> None:
    assert [len(it) for it in GRID] == [5] * 5
    assert {it for row in GRID for it in row} == set(RfmSegment)


def test_a_run_as_of_a_day_counts_up_to_its_local_midnight() -> None:
    new_york = Calendar.of("America/New_York")
    now = datetime(1998, 7, 1, 4, tzinfo=UTC)
    window = Window.before(END, 30, new_york, now)
    assert window.end == now
    assert window.start == datetime(1998, 6, 1, 4, tzinfo=UTC)
    with pytest.raises(AsOfInFuture):
        Window.before(date(1998, 7, 2), 0, new_york, now)
