"""What customers are described by where something is learnt of them (spec TG-18)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Family(StrEnum):
    """Kinds of features."""

    TAGS = "TAGS"
    LAYERS = "LAYERS"
    BEHAVIOUR = "BEHAVIOUR"
    PURCHASES = "PURCHASES"


ALL_FAMILIES: Final = tuple(Family)
FIGURES: Final = (Family.BEHAVIOUR, Family.PURCHASES)
WINDOW_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class FeatureChoice:
    """Which families, over how many days, and what is left out of them by name, with all below it."""

    families: tuple[Family, ...] = ALL_FAMILIES
    window_days: int = WINDOW_DAYS
    omitted: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether a feature is used."""
        return not any(name == it or name.startswith((f"{it}:", f"{it}=")) for it in self.omitted)
