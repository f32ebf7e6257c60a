"""Commands on models of value: define one, keep a run of it."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from chassis.commands import UnitOfWork
from services.tagging.application.model_schedules import run_later, run_next
from services.tagging.application.ports import Audiences, ValueRows
from services.tagging.domain.errors import ModelExists, ModelNotFound
from services.tagging.domain.layer_models import LayerModel, layer_model_id
from services.tagging.domain.layers.params import read
from services.tagging.domain.model_schedules import Schedule
from services.tagging.domain.models import RfmModel, model_id
from services.tagging.domain.value.valuation import Record, Valuation, ValueParams, value
from services.tagging.domain.value_models import ValueModel, ValueRun, value_model_id


@dataclass(frozen=True, slots=True)
class DefineValueModel:
    """Define a model of value, or give it other parameters; what `params` do not give has its default. A schedule that is not given is
    as it was, or monthly."""

    key: str
    params: Mapping[str, Any]
    schedule: Schedule | None = None


def define_value_model(command: DefineValueModel, work: UnitOfWork) -> ValueModel:
    tenant, params = work.context.tenant, read(ValueParams, command.params)
    id = value_model_id(tenant, command.key)
    if command.schedule is not None:
        command.schedule.check()
    model = work.find(ValueModel, id)
    if model is not None:
        model.restate(params, work.now)
        if command.schedule is not None and model.reschedule(command.schedule, work.now):
            run_later(work, model)
        return model
    others = (
        work.find(RfmModel, model_id(tenant, command.key)),
        work.find(LayerModel, layer_model_id(tenant, command.key)),
    )
    if any(it is not None for it in others):
        raise ModelExists(field="model_id")
    model = ValueModel(id, tenant, command.key, params, work.now)
    work.add(model)
    if command.schedule is not None:
        model.reschedule(command.schedule, work.now)
    run_later(work, model)
    return model


class Place(NamedTuple):
    """Of which facts a run is: those before the midnight that begins `as_of`, as far as the intake was."""

    as_of: date
    zone: str
    currency: str
    position: int


@dataclass(frozen=True, slots=True)
class KeepValueRun:
    """Keep what a run found; fitted beforehand, so that nothing else waits for it. A `due` one is followed by the next."""

    model: str
    model_version: int
    place: Place
    params_hash: str
    horizon_weeks: int
    found: Valuation
    due: bool = False

    @classmethod
    def of(cls, model: ValueModel, population: Sequence[Record], place: Place) -> "KeepValueRun":
        """Fit `population` and value it; this takes seconds."""
        params_hash = model.params_hash(place.zone, place.currency)
        found = value(population, model.params)
        return cls(model.key, model.model_version, place, params_hash, model.params.horizon_weeks, found)


def keep_value_run(command: KeepValueRun, work: UnitOfWork, audiences: Audiences) -> tuple[UUID, ValueRun]:
    tenant, found = work.context.tenant, command.found
    model = work.find(ValueModel, value_model_id(tenant, command.model))
    if model is None:
        raise ModelNotFound(field="model_id")
    audiences.lock(work)
    id = work.new_id()
    run = ValueRun(
        id,
        tenant,
        command.model,
        command.model_version,
        command.place.as_of,
        command.place.currency,
        command.params_hash,
        command.place.position,
        found.population,
        command.horizon_weeks,
        str(found.insufficient or ""),
        str(found.amounts_insufficient or ""),
        astuple(found.buying) if found.buying else (),
        astuple(found.spending) if found.spending else (),
        found.log_likelihood,
        work.now,
    )
    work.add(run)
    rows = ValueRows(id, command.model, command.model_version, command.place.as_of, found.rows)
    audiences.keep_value_run(work, rows)
    if command.due:
        run_next(work, model, command.place.as_of)
    return id, run
