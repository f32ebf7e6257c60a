"""Models of what customers will be worth, and their runs (spec TG-0, TG-7): parameters are fixed by the version, the result by the run."""

import hashlib
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.layers.params import stated
from services.tagging.domain.model_schedules import MONTHLY, Schedule
from services.tagging.domain.value.valuation import ValueParams

ALGORITHM: Final = "value/1 BG/NBD and gamma-gamma by Nelder-Mead"
"""Part of every run's fingerprint: raise the number when the same facts would give other rows."""


def value_model_id(tenant: str, key: str) -> UUID:
    return natural_id(tenant, "value_model", key)


class ValueModel(Aggregate):
    """A model of value under its key. It is run on schedule from the first on: unless another one is given, for the first day of
    every month, once that has begun."""

    TOPIC = "tagging.ValueModel"

    class Defined(InitialEvent):
        TOPIC = "tagging.ValueModelDefined"
        tenant: str
        key: str
        params: ValueParams
        at: datetime

    class Updated(Event):
        """Other parameters, which is another version."""

        TOPIC = "tagging.ValueModelUpdated"
        class_version = 2
        model: str
        version: int
        params: ValueParams
        at: datetime

        @staticmethod
        def upcast_v1_v2(fields: dict[str, Any]) -> None:
            """Versions were counted, not said."""
            fields["model"], fields["version"] = "", 0

    class Scheduled(Event):
        TOPIC = "tagging.ValueModelScheduled"
        schedule: Schedule
        at: datetime

    @event(Defined)
    def __init__(self, id: UUID, tenant: str, key: str, params: ValueParams, at: datetime) -> None:
        self.tenant = tenant
        self.key = key
        self.params = params
        self.schedule = MONTHLY
        self.model_version = 1
        self.defined_at = at

    def restate(self, params: ValueParams, now: datetime) -> None:
        """Take other parameters."""
        if params != self.params:
            self._updated(model=self.key, version=self.model_version + 1, params=params, at=now)

    def reschedule(self, schedule: Schedule, now: datetime) -> bool:
        """Be run at other times; whether they are others."""
        if schedule == self.schedule:
            return False
        self._scheduled(schedule=schedule, at=now)
        return True

    @event(Scheduled)
    def _scheduled(self, schedule: Schedule, at: datetime) -> None:
        self.schedule = schedule

    @event(Updated)
    def _updated(self, model: str, version: int, params: ValueParams, at: datetime) -> None:
        self.params = params
        self.model_version += 1

    def params_hash(self, zone: str, currency: str) -> str:
        """Fingerprint (hex) of all that decides the rows beside the facts and the date."""
        parts = (ALGORITHM, *(f"{key}={it!r}" for key, it in sorted(stated(self.params).items())), zone, currency)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


class ValueRun(Aggregate):
    """One run: immutable. Its rows are in the table of its read model, written with it.

    `buying` has r, alpha, a and b, `spending` p, q and v in minor units; each is empty where it could not be fitted, and the word for
    that is in `insufficient` or `amounts_insufficient`.
    """

    TOPIC = "tagging.ValueRun"

    class Completed(InitialEvent):
        TOPIC = "tagging.ValueRunCompleted"
        tenant: str
        model: str
        model_version: int
        as_of: date
        currency: str
        params_hash: str
        input_position: int
        population: int
        horizon_weeks: int
        insufficient: str
        amounts_insufficient: str
        buying: tuple[float, ...]
        spending: tuple[float, ...]
        log_likelihood: float | None
        at: datetime

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
        population: int,
        horizon_weeks: int,
        insufficient: str,
        amounts_insufficient: str,
        buying: tuple[float, ...],
        spending: tuple[float, ...],
        log_likelihood: float | None,
        at: datetime,
    ) -> None:
        self.tenant = tenant
        self.model = model
        self.model_version = model_version
        self.as_of = as_of
        self.currency = currency
        self.params_hash = params_hash
        self.input_position = input_position
        self.population = population
        self.horizon_weeks = horizon_weeks
        self.insufficient = insufficient
        self.amounts_insufficient = amounts_insufficient
        self.buying = buying
        self.spending = spending
        self.log_likelihood = log_likelihood
        self.completed_at = at
