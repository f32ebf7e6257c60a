"""Models and their runs (spec TG-0, TG-7): what is counted is fixed by the model, the result by the run."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import AsOfInFuture, ModelExists
from services.tagging.domain.layer_models import LayerCause
from services.tagging.domain.layers.params import stated
from services.tagging.domain.model_schedules import NIGHTLY, Schedule
from services.tagging.domain.rfm import Cuts, RfmRow, RfmSegment
from services.tagging.domain.rfm_params import RfmParams

ALGORITHM: Final = "rfm/1 quintile nearest-rank, net, types by mean"
"""Part of every run's fingerprint: raise the number when the same facts would give other rows."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which purchases count: those paid in [start, end), of whose amounts refunds are taken or (`gross`) not; days count back from
    `as_of`."""

    as_of: date
    start: datetime | None
    end: datetime
    gross: bool = False

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
    """An RFM model under its key: what it counts is fixed by the version. An active one is run on schedule."""

    TOPIC = "tagging.RfmModel"

    class Defined(InitialEvent):
        TOPIC = "tagging.RfmModelDefined"
        class_version = 2
        tenant: str
        key: str
        params: RfmParams
        schedule: Schedule
        at: datetime

        @staticmethod
        def upcast_v1_v2(fields: dict[str, Any]) -> None:
            """When there was nothing to choose but the window."""
            fields["params"] = asdict(RfmParams(window_days=fields.pop("window_days")))
            fields["schedule"] = asdict(NIGHTLY)

    class Updated(Event):
        """Other parameters, which is another version."""

        TOPIC = "tagging.RfmModelUpdated"
        model: str
        version: int
        params: RfmParams
        at: datetime

    class Scheduled(Event):
        TOPIC = "tagging.RfmModelScheduled"
        schedule: Schedule
        at: datetime

    class Activated(Event):
        TOPIC = "tagging.RfmModelActivated"
        model: str
        version: int
        at: datetime

    @event(Defined)
    def __init__(self, id: UUID, tenant: str, key: str, params: RfmParams, schedule: Schedule, at: datetime) -> None:
        self.tenant = tenant
        self.key = key
        self.params = params
        self.schedule = schedule
        self.model_version = 1
        self.active = False
        self.defined_at = at

    def redefine(self, params: RfmParams, schedule: Schedule | None) -> None:
        """Be defined again, which has to be the same. Raises ModelExists."""
        if params != self.params or schedule not in (None, self.schedule):
            raise ModelExists(field="model_id")

    def restate(self, params: RfmParams, now: datetime) -> None:
        """Take other parameters."""
        if params != self.params:
            self._updated(model=self.key, version=self.model_version + 1, params=params, at=now)

    def reschedule(self, schedule: Schedule, now: datetime) -> bool:
        """Be run at other times; whether they are others."""
        if schedule == self.schedule:
            return False
        self._scheduled(schedule=schedule, at=now)
        return True

    def activate(self, now: datetime) -> bool:
        """Be run on schedule from now on; whether that is new."""
        if self.active:
            return False
        self._activated(model=self.key, version=self.model_version, at=now)
        return True

    @event(Updated)
    def _updated(self, model: str, version: int, params: RfmParams, at: datetime) -> None:
        self.model_version = version
        self.params = params

    @event(Scheduled)
    def _scheduled(self, schedule: Schedule, at: datetime) -> None:
        self.schedule = schedule

    @event(Activated)
    def _activated(self, model: str, version: int, at: datetime) -> None:
        self.active = True

    def window(self, as_of: date, calendar: Calendar, now: datetime) -> Window:
        """What counts as of a date. Raises AsOfInFuture."""
        return replace(Window.before(as_of, self.params.window_days, calendar, now), gross=self.params.gross)

    def params_hash(self, zone: str, currency: str) -> str:
        """Fingerprint (hex) of all that decides the rows beside the facts and the date."""
        plain, given = stated(RfmParams(window_days=self.params.window_days)), stated(self.params)
        chosen = (f"{name}={it!r}" for name, it in sorted(given.items()) if it != plain[name])
        parts = (ALGORITHM, str(self.params.window_days), zone, currency, *chosen)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


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
        class_version = 2
        tenant: str
        model: str
        model_version: int
        as_of: date
        currency: str
        params_hash: str
        input_position: int
        summary: RunSummary
        at: datetime

        @staticmethod
        def upcast_v1_v2(fields: dict[str, Any]) -> None:
            """When a model had one version."""
            fields["model_version"] = 1

    @event(Completed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        model: str,
        model_version: int,
        as_of: date,
        currency: str,
        params_hash: str,
        input_position: int,
        summary: RunSummary,
        at: datetime,
    ) -> None:
        self.tenant = tenant
        self.model = model
        self.model_version = model_version
        self.as_of = as_of
        self.currency = currency
        self.params_hash = params_hash
        self.input_position = input_position
        self.summary = summary
        self.completed_at = at


@dataclass(frozen=True, slots=True)
class Moved:
    """A customer who is in another segment by a run than by the one before it."""

    customer: UUID
    before: str
    after: str


class RunMoves(Aggregate):
    """Customers whom a run of an active model moved, and why: some of them, so that each is told with what else is told of it."""

    TOPIC = "tagging.RunMoves"

    class Happened(InitialEvent):
        TOPIC = "tagging.RunMovesHappened"
        tenant: str
        run: UUID
        model: str
        version: int
        cause: LayerCause
        moves: tuple[Moved, ...]
        at: datetime

    @event(Happened)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        run: UUID,
        model: str,
        version: int,
        cause: LayerCause,
        moves: tuple[Moved, ...],
        at: datetime,
    ) -> None:
        self.tenant = tenant
        self.run = run
