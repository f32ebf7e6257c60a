"""What other services are told of models that are run for everybody at once, and of customers whom a run moves."""

import json
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import Message

from scrm.tagging.v1 import events_pb2 as pb
from scrm.tagging.v1 import layer_pb2, model_pb2
from services.tagging.application import wire
from services.tagging.domain.layers.params import stated
from services.tagging.domain.models import ModelRun, RfmModel, RunMoves
from services.tagging.domain.value_models import ValueModel, ValueRun

ModelEvent = (
    RfmModel.Defined
    | RfmModel.Updated
    | RfmModel.Activated
    | ModelRun.Completed
    | RunMoves.Happened
    | ValueModel.Defined
    | ValueModel.Updated
    | ValueRun.Completed
)

_REASONS: Final = dict(model_pb2.InsufficientReason.items())


def of_model(id: UUID, event: ModelEvent) -> Message | Sequence[Message] | None:
    """`id` is that of the aggregate. None of changes from when they did not say of which model they are."""
    match event:
        case RfmModel.Defined(key=key, params=params):
            return pb.ModelDefined(model_id=key, kind=layer_pb2.MODEL_KIND_RFM, params_json=_json(params))
        case ValueModel.Defined(key=key, params=params):
            return pb.ModelDefined(model_id=key, kind=layer_pb2.MODEL_KIND_VALUE, params_json=_json(params))
        case RfmModel.Updated(model=model, version=version, params=params):
            return pb.ModelUpdated(model_id=model, version=version, params_json=_json(params))
        case ValueModel.Updated(model=""):
            return None
        case ValueModel.Updated(model=model, version=version, params=params):
            return pb.ModelUpdated(model_id=model, version=version, params_json=_json(params))
        case RfmModel.Activated(model=model, version=version):
            return pb.ModelActivated(model_id=model, version=version)
        case RunMoves.Happened():
            return _moves(event)
        case ValueRun.Completed():
            return _valued(id, event)
    return _scored(id, event)


def _moves(it: RunMoves.Happened) -> list[Message]:
    return [
        pb.LayerChanged(
            customer_id=str(one.customer),
            model_id=it.model,
            model_version=it.version,
            from_layer=one.before,
            to_layer=one.after,
            cause=layer_pb2.LayerCause.Value(f"LAYER_CAUSE_{it.cause}"),
            time=wire.timestamp(it.at),
        )
        for one in it.moves
    ]


def _valued(id: UUID, event: ValueRun.Completed) -> pb.ModelRunCompleted:
    return pb.ModelRunCompleted(
        run_id=str(id),
        model_id=event.model,
        as_of=wire.day(event.as_of),
        population=event.population,
        kind=layer_pb2.MODEL_KIND_VALUE,
        model_version=event.model_version,
        insufficient_reason=_REASONS.get(
            f"INSUFFICIENT_REASON_{event.insufficient}", model_pb2.INSUFFICIENT_REASON_UNSPECIFIED
        ),
    )


def _scored(id: UUID, event: ModelRun.Completed) -> pb.ModelRunCompleted:
    summary = event.summary
    counts = {layer: it.customers for layer, it in summary.segments.items()} | summary.types
    scored = model_pb2.INSUFFICIENT_REASON_UNSPECIFIED
    return pb.ModelRunCompleted(
        run_id=str(id),
        model_id=event.model,
        as_of=wire.day(event.as_of),
        population=summary.population,
        counts=[pb.LayerCount(layer=layer, customers=n) for layer, n in sorted(counts.items())],
        kind=layer_pb2.MODEL_KIND_RFM,
        model_version=event.model_version,
        insufficient_reason=scored if counts else model_pb2.INSUFFICIENT_REASON_TOO_FEW_CUSTOMERS,
    )


def _json(params: Any) -> str:
    return json.dumps(stated(params), sort_keys=True, separators=(",", ":"))
