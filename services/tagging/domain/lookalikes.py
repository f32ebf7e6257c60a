"""Look-alikes (spec TG-18): who is like the customers of a segment, by what tells these from others."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.errors import LookalikeNotFound, ModelTooWeak, PopulationTooSmall, SeedTooSmall
from services.tagging.domain.features import FeatureChoice

SMALLEST_SEED: Final = 100
OTHERS_PER_SEED: Final = 5
"""So many others, drawn at random, are set against each customer of the seed."""
WEAKEST: Final = 0.6
"""Area under the curve below which what was learnt is of no use."""
LOOKALIKE: Final = "LOOKALIKE"
SEED: Final = "SEED"


@dataclass(frozen=True, slots=True)
class Learnt:
    """What tells the seed from others: the weight of each feature per standard deviation, and how well that works on the hold-out."""

    weights: tuple[tuple[str, float], ...]
    auc: float
    sample_size: int
    holdout_size: int


@dataclass(frozen=True, slots=True)
class LookalikeRun:
    """One version of a look-alike."""

    version: int
    run: UUID
    seed_segment: UUID
    seed_size: int
    segment: UUID
    size: int
    threshold: float
    features: FeatureChoice
    learnt: Learnt
    random_seed: int
    input_position: int
    at: datetime


def check_seed(seed: int, others: int) -> None:
    """Raises SeedTooSmall, PopulationTooSmall."""
    if seed < SMALLEST_SEED:
        raise SeedTooSmall(field="seed_segment_id", customers=seed, least=SMALLEST_SEED)
    if others < SMALLEST_SEED:
        raise PopulationTooSmall(field="seed_segment_id", customers=others, least=SMALLEST_SEED)


def check_strength(auc: float) -> None:
    """Raises ModelTooWeak."""
    if auc < WEAKEST:
        raise ModelTooWeak(auc=round(auc, 4), least=WEAKEST)


def lookalike_id(tenant: str, key: str) -> UUID:
    return natural_id(tenant, "lookalike", key)


def model_key(key: str) -> str:
    """The model that the members are kept under."""
    return f"lookalike:{key}"


class Lookalike(Aggregate):
    """All versions of a look-alike under its key; none ever changes."""

    TOPIC = "tagging.Lookalike"

    class Opened(InitialEvent):
        TOPIC = "tagging.LookalikeOpened"
        tenant: str
        key: str

    class Built(Event):
        TOPIC = "tagging.LookalikeBuilt"
        key: str
        built: LookalikeRun

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, key: str) -> None:
        self.tenant = tenant
        self.key = key
        self.runs: list[LookalikeRun] = []

    def build(self, run: LookalikeRun) -> None:
        """Keep another version."""
        self._built(key=self.key, built=run)

    def run(self, version: int) -> LookalikeRun:
        """A version; 0 stands for the latest. Raises LookalikeNotFound."""
        if not 0 <= version <= len(self.runs) or not self.runs:
            raise LookalikeNotFound(field="version")
        return self.runs[version - 1]

    @event(Built)
    def _built(self, key: str, built: LookalikeRun) -> None:
        self.runs.append(built)
