"""What alerts, look-alikes and clusterings need of the tables; made real in `read_models/analyses.py`."""

from enum import StrEnum
from typing import Protocol
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.domain.asset_alerts import AlertReading, AssetAlert
from services.tagging.domain.conditions import Universe


class TrainedKind(StrEnum):
    """What was learnt: who is like a seed, or which groups there are."""

    LOOKALIKE = "LOOKALIKE"
    CLUSTERING = "CLUSTERING"


class Analyses(Protocol):
    """Alerts with what they saw, and what was learnt of customers."""

    def keep_alert(self, work: UnitOfWork, alert: AssetAlert) -> None:
        """List an alert."""
        ...

    def keep_reading(self, work: UnitOfWork, alert: str, reading: AlertReading, segment: UUID | None) -> None:
        """Keep what an alert saw in a period."""
        ...

    def keep_trained(self, work: UnitOfWork, kind: TrainedKind, key: str, version: int, run: UUID) -> None:
        """List a version of what was learnt; its members are those of a run."""
        ...

    def run_members(self, work: UnitOfWork, run: UUID) -> dict[str, BitMap]:
        """The members of a run by layer."""
        ...

    def universe(self, work: UnitOfWork, universe: Universe) -> BitMap:
        """All customers of a universe now."""
        ...

    def tagged(self, work: UnitOfWork, tag: str) -> dict[str, BitMap]:
        """Who has a tag, by its value."""
        ...
