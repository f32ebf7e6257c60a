"""Commands on models: define one, keep a run of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Audiences, RunRows
from services.tagging.domain.errors import ModelExists, ModelNotFound
from services.tagging.domain.layer_models import LayerModel, layer_model_id
from services.tagging.domain.models import ModelRun, RfmModel, RunSummary, model_id
from services.tagging.domain.rfm import Purchases, RfmRow, score
from services.tagging.domain.value_models import ValueModel, value_model_id


@dataclass(frozen=True, slots=True)
class DefineModel:
    """Define an RFM model over `window_days` calendar days (0: all of history)."""

    key: str
    window_days: int


def define_model(command: DefineModel, work: UnitOfWork) -> RfmModel:
    id = model_id(work.context.tenant, command.key)
    model = work.find(RfmModel, id)
    if model is None:
        tenant = work.context.tenant
        others = (
            work.find(LayerModel, layer_model_id(tenant, command.key)),
            work.find(ValueModel, value_model_id(tenant, command.key)),
        )
        if any(it is not None for it in others):
            raise ModelExists(field="model_id")
        model = RfmModel(id, work.context.tenant, command.key, command.window_days, work.now)
        work.add(model)
    elif model.window_days != command.window_days:
        raise ModelExists(field="model_id")
    return model


@dataclass(frozen=True, slots=True)
class KeepModelRun:
    """Keep what a run found; scored beforehand, so that nothing else waits for it."""

    model: str
    as_of: date
    currency: str
    params_hash: str
    input_position: int
    summary: RunSummary
    rows: Sequence[RfmRow]

    @classmethod
    def of(
        cls, model: RfmModel, as_of: date, zone: str, currency: str, population: Sequence[Purchases], position: int
    ) -> "KeepModelRun":
        """Score `population`, what customers bought in the window of the model before `as_of`."""
        cuts, rows = score(population)
        params = model.params_hash(zone, currency)
        return cls(model.key, as_of, currency, params, position, RunSummary.of(cuts, rows), rows)


def keep_model_run(command: KeepModelRun, work: UnitOfWork, audiences: Audiences) -> tuple[UUID, ModelRun]:
    tenant = work.context.tenant
    if work.find(RfmModel, model_id(tenant, command.model)) is None:
        raise ModelNotFound(field="model_id")
    audiences.lock(work)
    id = work.new_id()
    run = ModelRun(
        id,
        tenant,
        command.model,
        command.as_of,
        command.currency,
        command.params_hash,
        command.input_position,
        command.summary,
        work.now,
    )
    work.add(run)
    audiences.keep_run(work, RunRows(id, command.model, command.as_of, command.rows))
    return id, run
