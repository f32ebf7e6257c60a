"""The win-back campaign on the real orders alone: without a treatment no effect may be found."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from uuid import UUID

from services.campaigns.domain.buckets import buckets, experiment_seed, global_control_seed
from services.campaigns.domain.conversion import Tally, tallies
from services.campaigns.domain.evaluation import evaluate
from tests.campaigns.cdnow import rows, win_back_audience
from tests.campaigns.test_buckets import DESIGN
from tests.campaigns.world import customer


def test_an_a_a_comparison_of_the_real_orders_finds_nothing() -> None:  # 6.4 (c)
    counted = tallies(variants(), {}, orders(date(1998, 1, 5), date(1998, 2, 12)))
    found = evaluate(DESIGN, counted, rolled_out="B")
    [*_, treated] = found.uplifts
    assert (treated.treated.x, treated.treated.n) == (240, 11_837)
    assert (treated.control.x, treated.control.n) == (32, 1_341)
    assert treated.difference.z is not None
    assert (round(treated.difference.z, 2), round(treated.difference.p, 2)) == (-0.88, 0.38)
    assert found.decision.is_inconclusive


def test_after_seven_days_eight_of_the_holdout_have_bought() -> None:  # 6.3 step 6
    counted: dict[str, Tally] = tallies(variants(), {}, orders(date(1998, 1, 5), date(1998, 1, 12)))
    assert counted["holdout"].converted == 8


def variants() -> dict[str, list[UUID]]:
    keys = win_back_audience()
    units = [
        key for key, slot in zip(keys, buckets(global_control_seed("cdnow-demo"), keys), strict=True) if slot >= 500
    ]
    found: dict[str, list[UUID]] = {}
    for key, variant in zip(units, DESIGN.variants(buckets(experiment_seed("winback-9801"), units)), strict=True):
        found.setdefault(str(variant), []).append(customer(key))
    return found


def orders(first: date, until: date) -> Iterable[tuple[UUID, Decimal, str]]:
    """Real orders paid from noon of the first day on, the demo's broadcast going out at ten."""
    return [(customer(f"cdnow:{it.customer}"), it.amount, "USD") for it in rows() if first <= it.day < until]
