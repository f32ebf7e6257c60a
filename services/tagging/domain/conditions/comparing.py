"""How a value of a customer compares with those of a condition: two-valued, and never true of another kind of value (TG-4)."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from services.tagging.domain.conditions.values import Comparison, Operator

Test = Callable[[Any], bool]

_ORDERED: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    Operator.LT: lambda value, bound: value < bound,
    Operator.LE: lambda value, bound: value <= bound,
    Operator.GT: lambda value, bound: value > bound,
    Operator.GE: lambda value, bound: value >= bound,
}
_RANKING: Final = ((int, float), (str,))
"""Types of values of which one can be before the other; truths cannot."""


@lru_cache(maxsize=4096)
def tester(comparison: Comparison) -> Test:
    """The test of one value, which is missing if it is None."""
    values = list(comparison.plain)
    match comparison.operator:
        case Operator.EXISTS:
            return lambda value: value is not None
        case Operator.NOT_EXISTS:
            return lambda value: value is None
        case Operator.EQ:
            return lambda value: _same(value, values[0])
        case Operator.NE:
            return lambda value: _alike(value, values[0]) and value != values[0]
        case Operator.IN:
            return lambda value: any(_same(value, it) for it in values)
        case Operator.BETWEEN:
            return lambda value: all(_ranks(value, it) for it in values) and values[0] <= value <= values[1]
        case Operator.STARTS_WITH:
            return lambda value: isinstance(value, str) and value.startswith(str(values[0]))
        case Operator.CONTAINS:
            return lambda value: _contains(value, values[0])
    compare, bound = _ORDERED[comparison.operator], values[0]
    kinds = next((it for it in _RANKING if type(bound) in it), ())
    return lambda value: type(value) in kinds and compare(value, bound)


def total_compares(comparison: Comparison, total: Any, parts: int) -> bool:
    """Whether `total` / `parts` compares so, exactly: sums are of decimals, as they are written."""
    if parts == 1 and not isinstance(total, Decimal):
        return tester(comparison)(total)
    bounds = [Decimal(repr(it)) * parts for it in comparison.plain if kind(it) == "number"]
    match comparison.operator:
        case Operator.EXISTS:
            return True
        case Operator.EQ | Operator.IN:
            return total in bounds
        case Operator.NE:
            return total not in bounds and bounds != []
        case Operator.BETWEEN:
            return len(bounds) == 2 and bool(bounds[0] <= total <= bounds[1])
    compare = _ORDERED.get(comparison.operator)
    return compare is not None and bounds != [] and compare(total, bounds[0])


def exact(number: float) -> int | Decimal:
    """A number as it is written in decimal."""
    return number if isinstance(number, int) else Decimal(repr(number))


def kind(value: Any) -> str:
    """What can be compared with what: texts, numbers, truths; "" for all else."""
    match value:
        case bool():
            return "truth"
        case int() | float():
            return "number"
        case str():
            return "text"
    return ""


def plain(value: Any) -> Any:
    """A stored value as conditions see it: dates and instants are texts."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            return float(value)
    return value


def _alike(value: Any, other: Any) -> bool:
    found = kind(value)
    return found != "" and found == kind(other)


def _same(value: Any, other: Any) -> bool:
    return _alike(value, other) and bool(value == other)


def _ranks(value: Any, bound: Any) -> bool:
    """Whether one can be before the other: truths cannot."""
    return _alike(value, bound) and not isinstance(value, bool)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list | tuple | set | frozenset) and any(_same(it, wanted) for it in value)
