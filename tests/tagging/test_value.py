"""What customers will be worth, on a published sample with published results (AC-45)."""

import csv
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from services.tagging.domain.value import buying, spending
from services.tagging.domain.value.buying import Buyer, Buying
from services.tagging.domain.value.simplex import minimum
from services.tagging.domain.value.spending import Margin, Spender


@cache
def rows(name: str) -> list[dict[str, str]]:
    """A data file of the wheel lifetimes; skips the test where it is not installed."""
    try:
        found = [Path(str(it.locate())) for it in files("lifetimes") or () if it.name == name]
    except PackageNotFoundError:
        found = []
    if not found:
        pytest.skip(f"{name} is not there: install the wheel lifetimes")
    with found[0].open() as lines:
        return list(csv.DictReader(lines))


def sample() -> list[Buyer]:
    found = rows("cdnow_customers_summary.csv")
    return [Buyer(int(it["frequency"]), float(it["recency"]), float(it["T"])) for it in found]


def test_ac_45_bg_nbd_on_the_sample_of_cdnow() -> None:
    buyers = sample()
    assert len(buyers) == 2_357
    fitted = buying.fit(buyers)
    assert fitted is not None
    assert fitted.r == pytest.approx(0.2426, rel=1e-3)
    assert fitted.alpha == pytest.approx(4.4135, rel=1e-3)
    assert fitted.a == pytest.approx(0.7929, rel=1e-3)
    assert fitted.b == pytest.approx(2.4258, rel=1e-3)
    assert fitted.log_likelihood(buyers) == pytest.approx(-9_582.43, rel=1e-6)


@pytest.mark.parametrize(
    ("buyer", "alive", "expected"),
    [
        (Buyer(2, 30.43, 38.86), 0.7266, 1.226),
        (Buyer(1, 1.71, 38.86), 0.2121, 0.203),
        (Buyer(0, 0, 38.86), 1, 0.195),
    ],
)
def test_ac_45_three_customers(buyer: Buyer, alive: float, expected: float) -> None:
    model = Buying(0.243, 4.414, 0.793, 2.426)
    assert model.alive(buyer) == pytest.approx(alive, abs=5e-5)
    assert model.expected(buyer, 39) == pytest.approx(expected, abs=6e-4)


def test_too_few_who_bought_again_are_not_fitted() -> None:
    repeaters = [it for it in sample() if it.repeats]
    assert buying.fit(repeaters[: buying.FEWEST_REPEATERS - 1]) is None


def test_amounts_of_the_sample_are_fitted_and_make_a_value() -> None:
    found = rows("cdnow_customers_summary_with_transactions.csv")
    spenders = [Spender(int(it["x"]), float(it["zbar"])) for it in found]
    fitted = spending.fit(spenders)
    assert fitted is not None
    assert (fitted.p, fitted.q, fitted.v) == pytest.approx((6.25, 3.74, 15.44), rel=5e-3)  # Fader, Hardie 2013
    model = Buying(0.243, 4.414, 0.793, 2.426)
    buyer, amount = Buyer(2, 30.43, 38.86), fitted.expected(Spender(2, 22.35))
    assert amount == pytest.approx(24.66, abs=0.05)
    value = spending.lifetime_value(model, buyer, amount, 39, Margin(1, 0))
    assert value == pytest.approx(model.expected(buyer, 39) * amount)
    less = spending.lifetime_value(model, buyer, amount, 39, Margin(0.3, 0.15))
    assert 0.27 * value < less < 0.3 * value


def test_amounts_that_go_with_frequency_are_not_fitted() -> None:
    assert spending.fit([Spender(n, 10.0 * n) for n in range(1, 50)]) is None


def test_the_minimum_of_a_bent_valley_is_found() -> None:
    found = minimum(lambda it: (1 - it[0]) ** 2 + 100 * (it[1] - it[0] ** 2) ** 2, (-1.2, 1.0))
    assert found == pytest.approx((1, 1), abs=1e-4)
