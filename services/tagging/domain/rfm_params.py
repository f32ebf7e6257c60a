"""What an RFM model counts and where its scores begin (spec TG-7)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from services.tagging.domain.layers.params import LONGEST_WINDOW, bad

_AMOUNTS: Final = ("NET", "GROSS")
_CUTS: Final = ("recency_cuts", "frequency_cuts", "monetary_cuts")
_HIGHEST: Final = 5


@dataclass(frozen=True, slots=True)
class RfmParams:
    """`window_days` back from the date of a run count (0: all of history), by what was paid after refunds (NET) or before (GROSS).

    Scores are by quintiles, or by fixed cuts: four each, the upper bounds of the scores 1 to 4 (of recency: of 5 to 2), in days,
    occasions and minor units of the currency. A score is high above the mean of the population, or above its one of
    `type_thresholds` (of recency, frequency and amount).
    """

    window_days: int = 0
    monetary: str = "NET"
    recency_cuts: tuple[int, ...] = ()
    frequency_cuts: tuple[int, ...] = ()
    monetary_cuts: tuple[int, ...] = ()
    type_thresholds: tuple[float, ...] = ()

    @property
    def gross(self) -> bool:
        return self.monetary == "GROSS"

    @property
    def cuts(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
        """Of recency, frequency and amount, where they are fixed."""
        return (self.recency_cuts, self.frequency_cuts, self.monetary_cuts) if self.recency_cuts else None

    def check(self) -> None:
        """Raises ModelParams."""
        if not 0 <= self.window_days <= LONGEST_WINDOW:
            raise bad("window_days", f"days are from 0 to {LONGEST_WINDOW}")
        if self.monetary not in _AMOUNTS:
            raise bad("monetary", "NET or GROSS")
        fixed = [getattr(self, name) for name in _CUTS]
        for name, cuts in zip(_CUTS, fixed, strict=True):
            if any(fixed) and len(cuts) != _HIGHEST - 1:
                raise bad(name, "four cuts of each, or none of any")
            if any(lower >= higher for lower, higher in pairwise((0, *cuts))):
                raise bad(name, "cuts are above 0 and rise")
        if self.type_thresholds and len(self.type_thresholds) != len(_CUTS):
            raise bad("type_thresholds", "one for each score, or none")
        for n, it in enumerate(self.type_thresholds):
            if not 0 <= it <= _HIGHEST:
                raise bad(f"type_thresholds[{n}]", f"from 0 to {_HIGHEST}")


DEFAULTS: Final = RfmParams()
