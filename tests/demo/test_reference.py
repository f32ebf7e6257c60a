"""The reference computation against the figures of the specification, so that it may judge the services."""

from collections import Counter
from datetime import UTC, date, datetime

from demo.dataset import Order
from tests.demo import reference


def test_scores_at_the_end_of_the_story(orders: list[Order]) -> None:
    scoring = reference.rfm(orders, date(1998, 7, 1))
    assert len(scoring.customers) == 23_502
    assert scoring.cuts == {"R": [141, 431, 485, 513], "F": [1, 1, 2, 4], "M": [1536, 3154, 6005, 13429]}
    assert scoring.customers["00003"].scores == (5, 5, 5)
    assert scoring.customers["00002"].scores == (1, 1, 4)
    assert scoring.customers["00001"].scores == (1, 1, 1)
    assert Counter(it.type for it in scoring.customers.values()) == {
        "HHH": 8_797,
        "LHH": 1_713,
        "LLH": 3_587,
        "HHL": 611,
        "HLL": 1,
        "LHL": 392,
        "LLL": 8_401,
    }
    champions = [it for it in scoring.customers.values() if it.segment == "CHAMPIONS"]
    assert len(champions) == 4_117


def test_audience_and_arms_of_the_win_back(orders: list[Order]) -> None:
    scoring = reference.rfm(orders, date(1998, 1, 5))
    assert scoring.cuts == {"R": [112, 288, 313, 337], "F": [1, 1, 2, 3], "M": [1536, 2973, 5342, 11161]}
    assert sum(it.segment in reference.SLIPPING_AWAY for it in scoring.customers.values()) == 13_888
    units = reference.assigned(scoring)
    assert Counter(units.values()) == {"holdout": 1_341, "A": 1_958, "B": 2_048, "remainder": 7_831}


def test_purchases_of_the_assigned_without_any_campaign(orders: list[Order]) -> None:
    units = reference.assigned(reference.rfm(orders, date(1998, 1, 5)))
    start = datetime(1998, 1, 5, 15, tzinfo=UTC)
    in_a_week = reference.converted(orders, units, start, datetime(1998, 1, 12, 15, tzinfo=UTC))
    by_february = reference.converted(orders, units, start, datetime(1998, 2, 12, 15, tzinfo=UTC))
    assert in_a_week["holdout"] == 8
    assert by_february["holdout"] == 32
    assert sum(by_february.values()) - 32 == 240
