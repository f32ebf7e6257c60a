"""Statistics against the published figures of the specification."""

from math import exp

import pytest

from services.campaigns.domain.conversion import Tally
from services.campaigns.domain.evaluation import Health, decide, sample_ratio, uplift
from services.campaigns.domain.statistics import (
    Share,
    chi_square_tail,
    difference,
    fisher_exact,
    goodness_of_fit,
    holm,
    homogeneity,
    sample_size,
)


def test_165_of_2000_beats_120_of_2000() -> None:  # AC-85
    found = difference(Share(120, 2000), Share(165, 2000))
    assert found.z is not None
    assert round(found.z, 3) == 2.766
    assert round(found.p, 4) == 0.0057
    assert [round(100 * it, 2) for it in (found.value, found.low, found.high)] == [2.25, 0.66, 3.84]
    decision = decide([Tally("A", 2000, 120), Tally("B", 2000, 165)])
    assert (decision.winner, decision.is_inconclusive) == ("B", False)


def test_135_of_2000_against_120_is_inconclusive_and_names_the_leader() -> None:  # AC-86
    decision = decide([Tally("A", 2000, 120), Tally("B", 2000, 135)])
    assert round(decision.comparisons[0].difference.p, 3) == 0.332
    assert (decision.leader, decision.winner) == ("B", None)


def test_of_three_arms_the_leader_must_beat_each_after_holm() -> None:  # AC-87
    decision = decide([Tally("A", 2000, 100), Tally("B", 2000, 110), Tally("C", 2000, 160)])
    assert decision.omnibus is not None
    assert (round(decision.omnibus[0], 2), round(decision.omnibus[1], 5)) == (17.86, 0.00013)
    raw = {it.first: it.difference.p for it in decision.comparisons}
    assert (round(raw["A"], 5), round(raw["B"], 4)) == (0.00012, 0.0016)
    assert round(max(it.p_adjusted for it in decision.comparisons), 4) == 0.0016
    assert decision.winner == "C"


def test_a_broken_split_is_invalid_and_has_no_winner() -> None:  # AC-88
    ratio = sample_ratio({"A": 4800, "B": 5200}, {"A": 1, "B": 1})
    assert (ratio.statistic, f"{ratio.p:.0e}", ratio.health) == (16, "6e-05", Health.INVALID)
    arms = [Tally("A", 4800, 100), Tally("B", 5200, 300)]
    assert decide(arms).winner == "B"
    assert decide(arms, ratio.health).winner is None


def test_a_split_that_is_slightly_off_by_chance_is_fine() -> None:  # AC-88
    ratio = sample_ratio({"A": 5000, "B": 5200}, {"A": 1, "B": 1})
    assert (round(ratio.p, 3), ratio.health) == (0.048, Health.OK)


def test_a_tiny_deviation_among_very_many_units_is_a_warning_only() -> None:
    ratio = sample_ratio({"A": 5_008_000, "B": 4_992_000}, {"A": 1, "B": 1})
    assert ratio.p < 0.001
    assert ratio.health is Health.WARNING


@pytest.mark.parametrize(("p1", "p2", "n"), [(0.06, 0.08, 2554), (0.02, 0.04, 1141)])
def test_the_sample_size_shows_the_change_with_80_percent_power(p1: float, p2: float, n: int) -> None:
    assert sample_size(p1, p2) == n  # AC-88


def test_uplift_of_720_of_9000_against_60_of_1000() -> None:  # AC-89
    found = uplift("treated", Share(720, 9000), Share(60, 1000))
    assert found is not None
    assert found.difference.z is not None
    assert found.relative is not None
    assert (round(found.difference.z, 2), round(found.difference.p, 3)) == (2.24, 0.025)
    effect = found.difference
    assert [round(100 * it, 2) for it in (effect.value, effect.low, effect.high)] == [2.0, 0.42, 3.58]
    assert round(100 * found.relative) == 33
    assert [round(it) for it in (found.incremental, found.incremental_low, found.incremental_high)] == [180, 38, 322]
    assert not found.low_power


@pytest.mark.parametrize("control", [Share(20, 80), Share(4, 1000)])
def test_a_small_holdout_is_low_power_and_still_has_an_interval(control: Share) -> None:  # AC-124
    found = uplift("A", Share(100, 1000), control)
    assert found is not None
    assert found.low_power
    assert found.difference.low < found.difference.value < found.difference.high


def test_without_holdout_there_is_no_causal_estimate() -> None:  # AC-124
    assert uplift("A", Share(100, 1000), Share(0, 0)) is None


def test_the_published_demo_decision_for_b() -> None:  # 6.3 step 6
    found = difference(Share(44, 1958), Share(81, 2048))
    assert found.z is not None
    assert (round(found.z, 3), round(found.p, 4)) == (3.108, 0.0019)
    assert [round(100 * it, 2) for it in (found.value, found.low, found.high)] == [1.71, 0.64, 2.78]


def test_the_published_demo_uplift() -> None:  # 6.4 (c)
    found = uplift("treated", Share(630, 11_837), Share(32, 1341))
    assert found is not None
    assert found.difference.z is not None
    assert round(found.difference.z, 2) == 4.67
    assert [round(it, 1) for it in (found.incremental, found.incremental_low, found.incremental_high)] == [
        347.5,
        239.6,
        455.4,
    ]


def test_nobody_converting_is_inconclusive_without_a_leader() -> None:
    decision = decide([Tally("A", 100, 0), Tally("B", 100, 0)])
    assert (decision.leader, decision.winner, decision.comparisons) == (None, None, ())


def test_everybody_converting_differs_in_nothing() -> None:
    assert homogeneity([Share(10, 10), Share(20, 20)]) == (0.0, 1.0)
    assert difference(Share(10, 10), Share(20, 20)).p == 1.0


def test_small_counts_are_tested_exactly() -> None:
    found = difference(Share(1, 4), Share(3, 4))
    assert found.z is None
    assert found.p == pytest.approx(34 / 70)  # the lady who tastes tea
    assert fisher_exact(Share(1, 10), Share(11, 14)) == pytest.approx(0.0027594562)


def test_fisher_of_equal_shares_is_one() -> None:
    assert fisher_exact(Share(3, 10), Share(3, 10)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("statistic", "degrees", "p"),
    [(0.0, 3, 1.0), (3.841459, 1, 0.05), (7.814728, 3, 0.05), (18.307038, 10, 0.05), (124.342113, 100, 0.05)],
)
def test_the_tail_of_chi_square_is_that_of_the_tables(statistic: float, degrees: int, p: float) -> None:
    assert chi_square_tail(statistic, degrees) == pytest.approx(p, abs=1e-7)


@pytest.mark.parametrize("statistic", [0.01, 1.0, 3.9, 4.1, 20.0, 200.0, 1000.0])
def test_with_two_degrees_the_tail_is_exponential(statistic: float) -> None:
    assert chi_square_tail(statistic, 2) == pytest.approx(exp(-statistic / 2), rel=1e-10)


def test_goodness_of_fit_of_nothing_says_nothing() -> None:
    assert goodness_of_fit([0, 0], [1, 1]) == (0.0, 1.0)


def test_holm_keeps_the_order_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
