"""The CDNOW orders as a tester reads them: plain Python that shares nothing with the services."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

_SHA256 = "eff6889e"
WIN_BACK = frozenset({"NEED_ATTENTION", "ABOUT_TO_SLEEP", "AT_RISK", "CANT_LOSE", "HIBERNATING"})
AS_OF = date(1998, 1, 5)


@dataclass(frozen=True, slots=True)
class Row:
    """One order: number of the data row, customer, day and amount."""

    number: int
    customer: str
    day: date
    amount: Decimal


@cache
def rows() -> tuple[Row, ...]:
    """All orders of the file; skips the test where the file is not installed."""
    text = _file().read_bytes()
    if not hashlib.sha256(text).hexdigest().startswith(_SHA256):
        pytest.skip("CDNOW_master.txt is not the expected file")
    found = []
    for number, line in enumerate(text.decode().splitlines()[1:], 1):
        customer, day, _, amount = line.split()
        when = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        found.append(Row(number, customer, when, Decimal(amount)))
    return tuple(found)


def win_back_audience() -> list[str]:
    """The assignment keys of the customers whose RFM segment as of 1998-01-05 is one of the five."""
    days: dict[str, set[date]] = {}
    spent: dict[str, Decimal] = {}
    for row in rows():
        if row.day < AS_OF and row.amount > 0:
            days.setdefault(row.customer, set()).add(row.day)
            spent[row.customer] = spent.get(row.customer, Decimal(0)) + row.amount
    recency = {customer: (AS_OF - max(its)).days for customer, its in days.items()}
    r_cuts = _cuts(list(recency.values()))
    f_cuts = _cuts([len(its) for its in days.values()])
    return sorted(
        f"cdnow:{customer}"
        for customer, its in days.items()
        if _segment(5 - _above(r_cuts, recency[customer]), 1 + _above(f_cuts, len(its))) in WIN_BACK
    )


def _file() -> Path:
    try:
        listed = files("lifetimes") or []
    except PackageNotFoundError:
        pytest.skip("the wheel lifetimes==0.11.3 with the CDNOW orders is not installed")
    for it in listed:
        if it.name == "CDNOW_master.txt":
            return Path(str(it.locate()))
    pytest.skip("the installed lifetimes has no CDNOW_master.txt")


def _cuts(values: Sequence[int]) -> list[int]:
    ordered = sorted(values)
    return [ordered[-(-len(ordered) * k // 5) - 1] for k in (1, 2, 3, 4)]


def _above(cuts: Sequence[int], value: int) -> int:
    return sum(value > cut for cut in cuts)


def _segment(r: int, f: int) -> str:
    if r <= 2:
        return "CANT_LOSE" if f == 5 else "AT_RISK" if f >= 3 else "HIBERNATING"
    if r == 3:
        return "LOYAL" if f >= 4 else "NEED_ATTENTION" if f == 3 else "ABOUT_TO_SLEEP"
    if f >= 4:
        return "LOYAL" if r == 4 else "CHAMPIONS"
    if f >= 2:
        return "POTENTIAL_LOYALIST"
    return "PROMISING" if r == 4 else "NEW"
