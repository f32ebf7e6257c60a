"""The brand pyramid and AIPL on real purchases (AC-52), with matrices whose sums are the counts."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import groupby
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.history import History, Purchase
from services.tagging.domain.layers.kinds import KINDS, Kind, state
from services.tagging.domain.layers.report import LayerReport, between
from services.tagging.domain.layers.view import NONE
from tests.tagging import cdnow

ZONE: Final = ZoneInfo("America/New_York")
CALENDAR: Final = Calendar(ZONE)


@cache
def histories() -> tuple[History, ...]:
    found = []
    for customer, orders in groupby(cdnow.rows(), key=lambda it: it.customer):
        purchases = [
            Purchase(UUID(int=it.number), datetime.combine(it.day, time(12), ZONE), "USD", it.cents)
            for it in sorted(orders, key=lambda it: it.day)
        ]
        found.append(History(UUID(int=int(customer)), purchases=purchases))
    return tuple(found)


@cache
def members(kind: Kind, as_of: date) -> Mapping[str, frozenset[int]]:
    at, params = CALENDAR.midnight(as_of.toordinal()) - timedelta(microseconds=1), KINDS[kind].params()
    found: dict[str, set[int]] = {}
    for number, it in enumerate(histories()):
        found.setdefault(state(kind, it, params, CALENDAR, at), set()).add(number)
    found.pop(NONE, None)
    return {layer: frozenset(who) for layer, who in found.items()}


def report(kind: Kind, start: date, end: date) -> LayerReport:
    return between(KINDS[kind], members(kind, start), members(kind, end))


def moved(it: LayerReport, layer: str) -> dict[str, int]:
    return dict(it.row(layer).to)


def percent(part: object) -> str:
    return f"{float(part) * 100:.2f}"  # type: ignore[arg-type]


def test_ac_52_the_pyramid_of_cdnow() -> None:
    half_year = report(Kind.PYRAMID, date(1998, 1, 1), date(1998, 7, 1))
    assert {it: n for it, n in half_year.before.items() if n} == {"L3": 13_015, "L4": 4_345, "L5": 6_142}
    assert moved(half_year, "L3") == {"L3": 1, "L4": 744, "L5": 282, "LAPSED": 11_988}
    assert moved(half_year, "L4") == {"L4": 1_075, "L5": 1_049, "LAPSED": 2_221}
    assert moved(half_year, "L5") == {"L5": 5_181, "LAPSED": 961}
    loyal, repeat = half_year.row("L5"), half_year.row("L4")
    assert percent(loyal.part(loyal.lost)) == "15.65"
    assert percent(repeat.part(repeat.up)) == "24.14"
    lapsed = report(Kind.PYRAMID, date(1998, 4, 1), date(1998, 7, 1)).row("LAPSED")
    assert (lapsed.customers, lapsed.won_back) == (13_976, 308 + 154)
    assert {it: n for it, n in lapsed.to.items() if it != "LAPSED"} == {"L4": 308, "L5": 154}
    assert percent(lapsed.part(lapsed.won_back)) == "3.31"


PAIRS: Final = (
    (date(1997, 2, 1), date(1997, 4, 1)),
    (date(1997, 4, 1), date(1998, 1, 1)),
    (date(1998, 1, 1), date(1998, 7, 1)),
)


@pytest.mark.parametrize("kind", [Kind.PYRAMID, Kind.AIPL])
@pytest.mark.parametrize(("start", "end"), PAIRS)
def test_rows_and_columns_of_the_matrix_sum_to_the_counts(kind: Kind, start: date, end: date) -> None:
    it = report(kind, start, end)
    for row in it.rows:
        assert sum(row.to.values()) == row.customers == it.before[row.layer]
    for layer in it.layers:
        assert sum(row.to.get(layer, 0) for row in it.rows) == it.after[layer]
    assert sum(it.after.values()) > 0
