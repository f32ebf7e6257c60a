"""How a segment is spread beside a baseline (spec TG-18): shares, and the target group index of each value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

GREY_BELOW: Final = 30
MOST_CELLS: Final = 200


class Counted(NamedTuple):
    """Customers of the segment, and of the baseline, that have a value."""

    n: int
    baseline_n: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: customers with it in the segment of `size` and in the baseline of `baseline_size`."""

    value: str
    n: int
    size: int
    baseline_n: int
    baseline_size: int

    @property
    def share(self) -> Fraction | None:
        return Fraction(self.n, self.size) if self.size else None

    @property
    def baseline_share(self) -> Fraction | None:
        return Fraction(self.baseline_n, self.baseline_size) if self.baseline_size else None

    @property
    def tgi(self) -> Fraction | None:
        """100 times the share in the segment by that in the baseline; None where there is nobody to compare with."""
        share, baseline = self.share, self.baseline_share
        return None if share is None or not baseline else 100 * share / baseline

    @property
    def grey(self) -> bool:
        """Whether there are too few to rely on."""
        return self.n < GREY_BELOW


@dataclass(frozen=True, slots=True)
class Table:
    """The values of a dimension; `cut`: there are more."""

    cells: Sequence[Cell]
    cut: bool = False


def table(sizes: Counted, values: Mapping[str, Counted], *, ordered: bool = False) -> Table:
    """The values that most of the segment have first, or `ordered` as they are given."""
    found = [Cell(value, it.n, sizes.n, it.baseline_n, sizes.baseline_n) for value, it in values.items()]
    if not ordered:
        found.sort(key=lambda it: (-it.n, -it.baseline_n, it.value))
    return Table(found[:MOST_CELLS], len(found) > MOST_CELLS)
