"""What conditions compare: operators, the values they compare with, and windows of time (spec TG-4).

Values are texts, numbers (IEEE doubles) and truths, as in JSON. A date is a text in ISO form, so texts compare by code point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import ceil, floor, isfinite
from typing import Final

Plain = str | float | bool


class Operator(StrEnum):
    """How a value is compared. BETWEEN includes both bounds; CONTAINS is of a part of a text or an element of a list."""

    EQ = "EQ"
    NE = "NE"
    LT = "LT"
    LE = "LE"
    GT = "GT"
    GE = "GE"
    IN = "IN"
    CONTAINS = "CONTAINS"
    EXISTS = "EXISTS"
    NOT_EXISTS = "NOT_EXISTS"
    BETWEEN = "BETWEEN"
    STARTS_WITH = "STARTS_WITH"


@dataclass(frozen=True, slots=True)
class Value:
    """A text, a number or a truth: exactly one of them."""

    text: str | None = None
    number: float | None = None
    truth: bool | None = None

    @classmethod
    def of(cls, plain: Plain) -> "Value":
        match plain:
            case bool():
                return cls(truth=plain)
            case str():
                return cls(text=plain)
        return cls(number=float(plain))

    @property
    def plain(self) -> Plain:
        if self.text is not None:
            return self.text
        return bool(self.truth) if self.number is None else self.number


_BOUNDING: Final = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})


@dataclass(frozen=True, slots=True)
class Comparison:
    """An operator with what it compares with: nothing for EXISTS and NOT_EXISTS, two for BETWEEN, some for IN, else one."""

    operator: Operator
    values: tuple[Value, ...] = ()

    @classmethod
    def with_plain(cls, operator: Operator, *values: Plain) -> "Comparison":
        return cls(operator, tuple(map(Value.of, values)))

    @property
    def plain(self) -> Sequence[Plain]:
        return [it.plain for it in self.values]

    @property
    def bound(self) -> int | None:
        """The whole number such that one not below it compares otherwise than one below it; None where there is not one such."""
        number = self.values[0].number if self.operator in _BOUNDING else None
        if number is None or not isfinite(number):
            return None
        return ceil(number) if self.operator in (Operator.GE, Operator.LT) else floor(number) + 1


class Period(StrEnum):
    """Which stretch of time before an instant t a window is.

    ALL: everything up to t. LAST_N_DAYS: from the local midnight n − 1 days before the local date of t (spec 0.5).
    LAST_N_HOURS: after t − n h, so that a fact leaves exactly n hours after it happened. BETWEEN: the local days from `first` to
    `last`, both included. THIS_MONTH: from the local midnight at which the month of t began. Nothing after t ever counts.
    """

    ALL = "ALL"
    LAST_N_DAYS = "LAST_N_DAYS"
    LAST_N_HOURS = "LAST_N_HOURS"
    BETWEEN = "BETWEEN"
    THIS_MONTH = "THIS_MONTH"


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time; `n` of LAST_N_DAYS and LAST_N_HOURS, `first` and `last` of BETWEEN."""

    period: Period = Period.ALL
    n: int = 0
    first: date | None = None
    last: date | None = None

    @property
    def fixed(self) -> bool:
        """Whether nothing leaves it because time passes."""
        return self.period in (Period.ALL, Period.BETWEEN)

    @property
    def days(self) -> int | None:
        """How many days it is long at most; None for ALL."""
        match self.period:
            case Period.ALL:
                return None
            case Period.LAST_N_DAYS:
                return self.n
            case Period.LAST_N_HOURS:
                return -(-self.n // 24)
            case Period.THIS_MONTH:
                return 31
        return (self.last - self.first).days + 1 if self.first and self.last else 0


ALL_TIME = Window()


def last_days(n: int) -> Window:
    return Window(Period.LAST_N_DAYS, n)


def last_hours(n: int) -> Window:
    return Window(Period.LAST_N_HOURS, n)
