"""The real purchases: every order of CDNOW's customers of early 1997, out of a published data file.

The file is part of the `lifetimes` wheel, which is installed without its dependencies and never imported.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Final

from demo.buckets import bucket
from demo.calendar import instant, local_day

_PACKAGE: Final = "lifetimes"
_FILE: Final = "lifetimes/datasets/CDNOW_master.txt"
_SHA256: Final = "eff6889ed364c5199d6eacbbeb7a6d559971df4406ac876f322c373f00a072ef"

_PLACED: Final = time(11, 55)
_PLACED_LONG_BEFORE: Final = time(9)
_PAID: Final = time(12)
_OF_10_000_PAID_LATE: Final = 500


class DataUnavailable(RuntimeError):
    """The data file is missing, or not the one that this job is about."""


@dataclass(frozen=True, slots=True)
class Order:
    """One row of the file; `amount` in cents, `customer` the five digits by which the file knows the buyer."""

    row: int
    customer: str
    discs: int
    amount: int
    placed_at: datetime
    paid_at: datetime

    @property
    def order_no(self) -> str:
        """The number of the row, because equal rows are different orders."""
        return f"cdnow-{self.row:05d}"


def data_file() -> Path:
    """Where the wheel put the file. Raises DataUnavailable without the wheel or the file."""
    try:
        installed = files(_PACKAGE) or []
    except PackageNotFoundError:
        raise DataUnavailable(f"the package {_PACKAGE} is not installed; `make demo` installs it") from None
    for it in installed:
        if it.as_posix() == _FILE:
            return Path(str(it.locate()))
    raise DataUnavailable(f"the package {_PACKAGE} holds no {_FILE}")


def load_orders(path: Path) -> list[Order]:
    """All orders in the order of the file: by customer, then by day. Raises DataUnavailable for another file."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256:
        raise DataUnavailable(f"{path} has the SHA-256 {digest}, not {_SHA256}")
    return list(_parsed(content.decode("ascii").splitlines()[1:]))


def first_days(orders: Sequence[Order]) -> dict[str, date]:
    """The local day of each customer's first order."""
    days: dict[str, date] = {}
    for order in orders:
        days.setdefault(order.customer, local_day(order.paid_at))
    return days


def _parsed(rows: Sequence[str]) -> Iterator[Order]:
    """Times of day are not in the file: orders of one customer and day are paid in the order of the rows, from noon on."""
    orders_of_day: Counter[tuple[str, str]] = Counter()
    for row, text in enumerate(rows, 1):
        customer, day, discs, dollars = text.split()
        cents = int(Decimal(dollars) * 100)
        earlier = orders_of_day[customer, day]
        orders_of_day[customer, day] += 1
        local = date(int(day[:4]), int(day[4:6]), int(day[6:]))
        hesitates = cents > 0 and bucket("unpaid", f"line:{row}") < _OF_10_000_PAID_LATE
        yield Order(
            row,
            customer,
            int(discs),
            cents,
            placed_at=instant(local, _PLACED_LONG_BEFORE if hesitates else _PLACED),
            paid_at=instant(local, _PAID) + timedelta(seconds=earlier),
        )
