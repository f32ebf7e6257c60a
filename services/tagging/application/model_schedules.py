"""Whenever a model that is run for everybody at once has been run, or cannot be: when is the next time?"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.rule_review import calendar_of
from services.tagging.domain.models import RfmModel, model_id
from services.tagging.domain.value_models import ValueModel, value_model_id

MODEL_DUE: Final = "value_month"
"""Kind of the timers of models to be run, of which each has one; the loop of valuations looks after them. It keeps the name from when
models of value were the only ones, each due once a month, because timers are kept by it."""

BatchModel = RfmModel | ValueModel


def batch_model(work: UnitOfWork, key: str) -> BatchModel | None:
    """The model under a key, if it is one that is run for everybody at once."""
    tenant = work.context.tenant
    return work.find(RfmModel, model_id(tenant, key)) or work.find(ValueModel, value_model_id(tenant, key))


def run_later(work: UnitOfWork, model: BatchModel) -> None:
    """Have an active model run when it is time for the first time from now on."""
    if _active(model):
        _run_as_of(work, model, model.schedule.first(calendar_of(work), work.now))


def run_next(work: UnitOfWork, model: BatchModel, after: date) -> None:
    """Have a model run for the day after the one it was run for; days that were missed are made up for."""
    _run_as_of(work, model, model.schedule.after(after))


@dataclass(frozen=True, slots=True)
class PassOverRun:
    """Leave a run that cannot be made, so that those behind it are. One whose day has not begun where the brand is by now is made when
    it has."""

    model: str
    as_of: date


def pass_over_run(command: PassOverRun, work: UnitOfWork) -> None:
    model = batch_model(work, command.model)
    if model is None:
        work.unschedule(MODEL_DUE, command.model)
    elif model.schedule.due(calendar_of(work), command.as_of) > work.now:
        _run_as_of(work, model, command.as_of)
    else:
        run_next(work, model, command.as_of)


def _active(model: BatchModel) -> bool:
    return model.active if isinstance(model, RfmModel) else True


def _run_as_of(work: UnitOfWork, model: BatchModel, as_of: date) -> None:
    due = model.schedule.due(calendar_of(work), as_of)
    work.schedule(Timer(MODEL_DUE, model.key, due, {"as_of": as_of.isoformat()}))
