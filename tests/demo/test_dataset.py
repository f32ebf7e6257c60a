"""The real purchases, as the specification counts them."""

from collections import Counter
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from demo.buckets import bucket, buckets, fnv1a32
from demo.dataset import DataUnavailable, Order, first_days, load_orders

NEW_YORK = ZoneInfo("America/New_York")


def test_the_dice_roll_what_the_specification_says() -> None:
    assert [fnv1a32(""), fnv1a32("a"), bucket("", "a")] == [2166136261, 3826002220, 216]
    assert bucket("exp:winback-9801", "cdnow:00001") == 4147
    assert bucket("exp:winback-9801", "cdnow:00002") == 4173
    assert bucket("gcg:cdnow-demo", "cdnow:00001") == 9794
    assert bucket("reach", "cdnow:00003") == 6173


def test_dice_that_are_rolled_at_once_show_what_each_shows_alone() -> None:
    keys = [
        "",
        "a",
        "cdnow:00001:view:3",
        "ein Schlüssel",
        "ends with nothing\0",
        *(f"line:{it}" for it in range(5_000)),
    ]
    for purpose in ("late", "dup", ""):
        assert buckets(purpose, keys) == [bucket(purpose, it) for it in keys]
    assert buckets("late", []) == []


def test_all_orders_are_read(orders: list[Order]) -> None:
    assert len(orders) == len({it.order_no for it in orders}) == 69_659
    assert sum(it.amount for it in orders) == 250_031_563
    assert sum(it.discs for it in orders) == 167_881
    assert len({it.customer for it in orders}) == 23_570
    assert sum(it.amount == 0 for it in orders) == 80


def test_an_order_is_a_row_of_the_file(orders: list[Order]) -> None:
    first, second, third = orders[:3]
    assert (first.order_no, first.customer, first.discs, first.amount) == ("cdnow-00001", "00001", 1, 1177)
    assert (second.paid_at.isoformat(), third.paid_at.isoformat()) == (
        "1997-01-12T17:00:00+00:00",
        "1997-01-12T17:00:01+00:00",
    )


def test_orders_are_paid_from_noon_on_in_winter_and_in_summer(orders: list[Order]) -> None:
    assert {it.paid_at.astimezone(NEW_YORK).time().replace(second=0) for it in orders} == {time(12)}


def test_some_orders_wait_for_three_hours_to_be_paid(orders: list[Order]) -> None:
    placed = Counter(it.placed_at.astimezone(NEW_YORK).time() for it in orders)
    assert placed == {time(9): 3_402, time(11, 55): 69_659 - 3_402}


def test_everybody_came_in_the_first_quarter(orders: list[Order]) -> None:
    days = first_days(orders).values()
    assert (min(days).isoformat(), max(days).isoformat()) == ("1997-01-01", "1997-03-25")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_bytes(b" customer_id date number_of_cds dollar_value\r\n 00001 19970101 1 11.77\r\n")
    with pytest.raises(DataUnavailable, match="SHA-256"):
        load_orders(tmp_path / "other.txt")
