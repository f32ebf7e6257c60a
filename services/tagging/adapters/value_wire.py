"""Models of value on the wire: definitions, runs and rows into messages."""

from typing import Final
from uuid import UUID

from scrm.tagging.v1 import layer_pb2, model_pb2
from services.tagging.adapters import schedule_wire
from services.tagging.application.ports import Customer
from services.tagging.application.wire import day, money, timestamp
from services.tagging.domain.money import scale
from services.tagging.domain.value.valuation import ValueRow
from services.tagging.domain.value_models import ValueModel, ValueRun

_DAYS_OF_A_WEEK: Final = 7


def model(it: ValueModel) -> model_pb2.ValueModel:
    params = it.params
    return model_pb2.ValueModel(
        model_id=it.key,
        model_version=it.model_version,
        horizon_weeks=params.horizon_weeks,
        margin=params.margin,
        yearly_discount=params.yearly_discount,
        create_time=timestamp(it.defined_at),
        schedule=schedule_wire.message(it.schedule),
    )


def run(id: UUID, it: ValueRun) -> model_pb2.ModelRun:
    return model_pb2.ModelRun(
        run_id=str(id),
        model_id=it.model,
        as_of=day(it.as_of),
        population=it.population,
        params_hash=it.params_hash,
        input_position=it.input_position,
        create_time=timestamp(it.completed_at),
        kind=layer_pb2.MODEL_KIND_VALUE,
        model_version=it.model_version,
        value_fit=fit(it),
    )


def fit(it: ValueRun) -> model_pb2.ValueFit:
    found = model_pb2.ValueFit(
        state=_state(bool(it.buying)),
        reason=_reason(it.insufficient),
        amounts_state=_state(bool(it.spending)),
        amounts_reason=_reason(it.amounts_insufficient or it.insufficient),
        log_likelihood=it.log_likelihood or 0.0,
        horizon_weeks=it.horizon_weeks,
    )
    if it.buying:
        found.r, found.alpha, found.a, found.b = it.buying
    if it.spending:
        found.p, found.q, v = it.spending
        found.v = v / scale(it.currency)
    return found


def row(it: ValueRow, customer: Customer, currency: str) -> model_pb2.ValueRow:
    return model_pb2.ValueRow(
        customer_id=str(customer.id),
        assignment_key=customer.assignment_key,
        repeats=it.repeats,
        last_weeks=it.last_days / _DAYS_OF_A_WEEK,
        now_weeks=it.now_days / _DAYS_OF_A_WEEK,
        alive_probability=it.alive,
        expected_purchases=it.expected,
        expected_amount=None if it.amount is None else money(round(it.amount), currency),
        lifetime_value=None if it.value is None else money(round(it.value), currency),
    )


def _state(fitted: bool) -> model_pb2.FitState.ValueType:
    return model_pb2.FIT_STATE_FITTED if fitted else model_pb2.FIT_STATE_INSUFFICIENT_DATA


def _reason(word: str) -> model_pb2.InsufficientReason.ValueType:
    return model_pb2.InsufficientReason.Value(f"INSUFFICIENT_REASON_{word or 'UNSPECIFIED'}")
