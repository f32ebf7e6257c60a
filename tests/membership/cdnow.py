"""The CDNOW orders as a tester reads them: plain Python that shares nothing with the services."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from uuid import UUID

import pytest

from tests.membership.scenario import NEW_YORK

_SHA256 = "eff6889e"


@dataclass(frozen=True, slots=True)
class Row:
    """One order: the number of its data row, who paid it, when, and minor units."""

    number: int
    customer: UUID
    paid_at: datetime
    net: int


@cache
def rows() -> Sequence[Row]:
    """All orders by time; skips the test where the file is not installed."""
    content = _file().read_bytes()
    if not hashlib.sha256(content).hexdigest().startswith(_SHA256):
        pytest.skip("CDNOW_master.txt is not the expected file")
    found, times = [], dict[tuple[str, str], int]()
    for number, line in enumerate(content.decode().splitlines()[1:], 1):
        customer, day, _, amount = line.split()
        second = times[customer, day] = times.get((customer, day), -1) + 1
        noon = datetime(int(day[:4]), int(day[4:6]), int(day[6:]), 12, 0, second, tzinfo=NEW_YORK)
        found.append(Row(number, UUID(int=int(customer)), noon.astimezone(UTC), int(Decimal(amount) * 100)))
    return sorted(found, key=lambda it: (it.paid_at, it.number))


def _file() -> Path:
    try:
        listed = files("lifetimes") or []
    except PackageNotFoundError:
        pytest.skip("the wheel lifetimes==0.11.3 with the CDNOW orders is not installed")
    for it in listed:
        if it.name == "CDNOW_master.txt":
            return Path(str(it.locate()))
    pytest.skip("the installed lifetimes has no CDNOW_master.txt")
