"""Commands on models that are run for everybody at once: define an RFM model, change and activate models of any kind, keep a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

from chassis.commands import UnitOfWork
from services.tagging.application import layer_commands
from services.tagging.application.layer_commands import ActivateModel, UpdateModel
from services.tagging.application.model_schedules import BatchModel, batch_model, run_later, run_next
from services.tagging.application.ports import Audiences, RunRows
from services.tagging.application.run_moves import current_run, tell_moves
from services.tagging.domain.errors import ModelExists, ModelNotFound
from services.tagging.domain.layer_models import LayerModel, layer_model_id
from services.tagging.domain.layers.params import bad, read
from services.tagging.domain.model_schedules import NIGHTLY, Schedule
from services.tagging.domain.models import ModelRun, RfmModel, RunSummary, model_id
from services.tagging.domain.rfm import Purchases, RfmRow, score
from services.tagging.domain.rfm_params import RfmParams
from services.tagging.domain.value.valuation import ValueParams
from services.tagging.domain.value_models import ValueModel, value_model_id


@dataclass(frozen=True, slots=True)
class DefineModel:
    """Define an RFM model; what `params` do not give has its default, and so does the schedule."""

    key: str
    params: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None


def define_model(command: DefineModel, work: UnitOfWork) -> RfmModel:
    id, tenant, params = (
        model_id(work.context.tenant, command.key),
        work.context.tenant,
        read(RfmParams, command.params),
    )
    if command.schedule is not None:
        command.schedule.check()
    model = work.find(RfmModel, id)
    if model is not None:
        model.redefine(params, command.schedule)
        return model
    others = (
        work.find(LayerModel, layer_model_id(tenant, command.key)),
        work.find(ValueModel, value_model_id(tenant, command.key)),
    )
    if any(it is not None for it in others):
        raise ModelExists(field="model_id")
    model = RfmModel(id, tenant, command.key, params, command.schedule or NIGHTLY, work.now)
    work.add(model)
    return model


def update_model(command: UpdateModel, work: UnitOfWork, audiences: Audiences) -> BatchModel | LayerModel:
    """Other parameters are another version, by which the model is run the next time it is due."""
    match batch_model(work, command.key):
        case RfmModel() as model:
            model.restate(read(RfmParams, command.params), work.now)
            _reschedule(work, model, command.schedule)
            return model
        case ValueModel() as valuing:
            valuing.restate(read(ValueParams, command.params), work.now)
            _reschedule(work, valuing, command.schedule)
            return valuing
    if command.schedule is not None:
        raise bad("schedule", "layers are kept up to date with every fact")
    return layer_commands.update_model(command, work, audiences)


def activate_model(command: ActivateModel, work: UnitOfWork, audiences: Audiences) -> BatchModel | LayerModel:
    """Models of value are active from the first on."""
    model = batch_model(work, command.key)
    if model is None:
        return layer_commands.activate_model(command, work, audiences)
    if isinstance(model, RfmModel) and model.activate(work.now):
        run_later(work, model)
    return model


def _reschedule(work: UnitOfWork, model: BatchModel, schedule: Schedule | None) -> None:
    if schedule is not None:
        schedule.check()
        if model.reschedule(schedule, work.now):
            run_later(work, model)


@dataclass(frozen=True, slots=True)
class KeepModelRun:
    """Keep what a run found; scored beforehand, so that nothing else waits for it. A `due` one is followed by the next."""

    model: str
    model_version: int
    as_of: date
    currency: str
    params_hash: str
    input_position: int
    summary: RunSummary
    rows: Sequence[RfmRow]
    due: bool = False

    @classmethod
    def of(
        cls, model: RfmModel, as_of: date, zone: str, currency: str, population: Sequence[Purchases], position: int
    ) -> "KeepModelRun":
        """Score `population`, what customers bought in the window of the model before `as_of`."""
        cuts, rows = score(population, model.params)
        params = model.params_hash(zone, currency)
        summary = RunSummary.of(cuts, rows)
        return cls(model.key, model.model_version, as_of, currency, params, position, summary, rows)


def keep_model_run(command: KeepModelRun, work: UnitOfWork, audiences: Audiences) -> tuple[UUID, ModelRun]:
    tenant = work.context.tenant
    model = work.find(RfmModel, model_id(tenant, command.model))
    if model is None:
        raise ModelNotFound(field="model_id")
    audiences.lock(work)
    id, before = work.new_id(), current_run(work, audiences, model)
    run = ModelRun(
        id,
        tenant,
        command.model,
        command.model_version,
        command.as_of,
        command.currency,
        command.params_hash,
        command.input_position,
        command.summary,
        work.now,
    )
    work.add(run)
    audiences.keep_run(work, RunRows(id, command.model, command.model_version, command.as_of, command.rows))
    if before is not None:
        tell_moves(work, audiences, before, id, run)
    if command.due:
        run_next(work, model, command.as_of)
    return id, run
