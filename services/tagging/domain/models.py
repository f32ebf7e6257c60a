"""Models and their runs (spec TG-0, TG-7): what is counted is fixed by the model, the result by the run."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event, natural_id
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import AsOfInFuture
from services.tagging.domain.rfm import Cuts, RfmRow, RfmSegment

ALGORITHM: Final = "rfm/1 quintile nearest-rank, net, types by mean"
"""Part of every run's fingerprint: raise the number when the same facts would give other rows."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which purchases count: those paid in [start, end); days count back from `as_of`."""

    as_of: date
    start: datetime | None
    end: datetime

    @classmethod
    def before(cls, as_of: date, days: int, calendar: Calendar, now: datetime) -> "Window":
        """The `days` local days before `as_of` (0: all of history). Raises AsOfInFuture."""
        end = calendar.midnight(as_of.toordinal())
        if end > now:
            raise AsOfInFuture(field="as_of")
        start = calendar.midnight((as_of - timedelta(days)).toordinal()) if days else None
        return cls(as_of, start, end)


def model_id(tenant: str, key: str) -> UUID:
    return natural_id(tenant, "rfm_model", key)


class RfmModel(Aggregate):
    """An RFM model under its key; what it counts never changes."""

    TOPIC = "tagging.RfmModel"

    class Defined(InitialEvent):
        TOPIC = "tagging.RfmModelDefined"
        tenant: str
        key: str
        window_days: int
        at: datetime

    @event(Defined)
    def __init__(self, id: UUID, tenant: str, key: str, window_days: int, at: datetime) -> None:
        self.tenant = tenant
        self.key = key
        self.window_days = window_days
        self.defined_at = at

    def params_hash(self, zone: str, currency: str) -> str:
        """Fingerprint (hex) of all that decides the rows beside the facts and the date."""
        return hashlib.sha256("\x1f".join((ALGORITHM, str(self.window_days), zone, currency)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SegmentTotals:
    """One line of the RFM table: exact sums over the customers of a segment."""

    customers: int
    net: int
    recency: int
    frequency: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run found, without its rows."""

    population: int
    net: int
    cuts: Cuts
    segments: dict[str, SegmentTotals]
    types: dict[str, int]

    @classmethod
    def of(cls, cuts: Cuts, rows: Sequence[RfmRow]) -> "RunSummary":
        by_segment: dict[RfmSegment, list[RfmRow]] = {}
        for row in rows:
            if row.segment is not None:
                by_segment.setdefault(row.segment, []).append(row)
        return cls(
            population=len(rows),
            net=sum(row.monetary for row in rows),
            cuts=cuts,
            segments={str(segment): _totals(of_it) for segment, of_it in by_segment.items()},
            types={str(kind): n for kind, n in Counter(row.type for row in rows).items() if kind is not None},
        )


def _totals(rows: Sequence[RfmRow]) -> SegmentTotals:
    return SegmentTotals(
        customers=len(rows),
        net=sum(it.monetary for it in rows),
        recency=sum(it.recency for it in rows),
        frequency=sum(it.frequency for it in rows),
    )


class ModelRun(Aggregate):
    """One run of a model: immutable. Its rows are in the table of its read model, written with it."""

    TOPIC = "tagging.ModelRun"

    class Completed(InitialEvent):
        TOPIC = "tagging.ModelRunCompleted"
        tenant: str
        model: str
        as_of: date
        currency: str
        params_hash: str
        input_position: int
        summary: RunSummary
        at: datetime

    @event(Completed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        model: str,
        as_of: date,
        currency: str,
        params_hash: str,
        input_position: int,
        summary: RunSummary,
        at: datetime,
    ) -> None:
        self.tenant = tenant
        self.model = model
        self.as_of = as_of
        self.currency = currency
        self.params_hash = params_hash
        self.input_position = input_position
        self.summary = summary
        self.completed_at = at
