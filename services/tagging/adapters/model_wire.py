"""Models on the wire: runs, tables and rows into messages."""

from typing import Final
from uuid import UUID

from scrm.tagging.v1 import layer_pb2, model_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from services.tagging.adapters import schedule_wire
from services.tagging.application.ports import Customer
from services.tagging.application.wire import day, money, timestamp
from services.tagging.domain.layers.params import stated
from services.tagging.domain.models import ModelRun, RfmModel, SegmentTotals
from services.tagging.domain.money import scale
from services.tagging.domain.rfm import RfmRow, RfmSegment, RfmType

_NOBODY: Final = SegmentTotals(0, 0, 0, 0)
_TYPES: Final = {None: model_pb2.RFM_TYPE_UNSPECIFIED} | {
    it: model_pb2.RfmType.Value(f"RFM_TYPE_{it}") for it in RfmType
}
_SEGMENTS: Final = {None: model_pb2.RFM_SEGMENT_UNSPECIFIED} | {
    it: model_pb2.RfmSegment.Value(f"RFM_SEGMENT_{it}") for it in RfmSegment
}


def model(it: RfmModel) -> model_pb2.RfmModel:
    message = model_pb2.RfmModel(
        model_id=it.key,
        window_days=it.params.window_days,
        create_time=timestamp(it.defined_at),
        model_version=it.model_version,
        active=it.active,
        schedule=schedule_wire.message(it.schedule),
    )
    message.params.update(stated(it.params))
    return message


def run(id: UUID, it: ModelRun) -> model_pb2.ModelRun:
    cuts = it.summary.cuts
    return model_pb2.ModelRun(
        run_id=str(id),
        model_id=it.model,
        as_of=day(it.as_of),
        population=it.summary.population,
        cuts=model_pb2.RfmCuts(
            recency_days=cuts.recency,
            frequency=cuts.frequency,
            monetary=[money(cut, it.currency) for cut in cuts.monetary],
        ),
        net=money(it.summary.net, it.currency),
        params_hash=it.params_hash,
        input_position=it.input_position,
        create_time=timestamp(it.completed_at),
        kind=layer_pb2.MODEL_KIND_RFM,
        model_version=it.model_version,
    )


def rfm_table(id: UUID, it: ModelRun) -> pb.GetRfmTableResponse:
    return pb.GetRfmTableResponse(
        run=run(id, it),
        segments=[_segment_row(name, it.summary.segments.get(name, _NOBODY), it.currency) for name in RfmSegment],
        types=[
            model_pb2.RfmTypeRow(
                type=model_pb2.RfmType.Value(f"RFM_TYPE_{name}"), customers=it.summary.types.get(name, 0)
            )
            for name in RfmType
        ],
    )


def _segment_row(name: RfmSegment, it: SegmentTotals, currency: str) -> model_pb2.RfmSegmentRow:
    n = it.customers or 1
    return model_pb2.RfmSegmentRow(
        segment=model_pb2.RfmSegment.Value(f"RFM_SEGMENT_{name}"),
        customers=it.customers,
        net=money(it.net, currency),
        total_recency_days=it.recency,
        total_frequency=it.frequency,
        average_recency_days=it.recency / n,
        average_frequency=it.frequency / n,
        average_monetary=it.net / n / scale(currency),
    )


def rfm_row(it: RfmRow, customer: Customer, currency: str) -> model_pb2.RfmRow:
    return model_pb2.RfmRow(
        customer_id=str(customer.id),
        assignment_key=customer.assignment_key,
        recency_days=it.recency,
        frequency=it.frequency,
        monetary=money(it.monetary, currency),
        recency_score=it.recency_score,
        frequency_score=it.frequency_score,
        monetary_score=it.monetary_score,
        type=_TYPES[it.type],
        segment=_SEGMENTS[it.segment],
    )
