"""Models of layers on the wire: definitions, runs, reports and moves into messages."""

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any
from uuid import UUID

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from scrm.tagging.v1 import layer_pb2, model_pb2, segment_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from services.tagging.adapters.layer_snapshots import Dated, Report
from services.tagging.application import layer_messages
from services.tagging.application.layer_ports import ListedModel
from services.tagging.application.wire import day, timestamp
from services.tagging.domain.layer_models import LayerModel, LayerRun
from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.consideration import ALSO_COMPETITOR, Outcome, outcome
from services.tagging.domain.layers.kinds import KINDS, Kind
from services.tagging.domain.layers.report import Moves


def kind(number: layer_pb2.ModelKind.ValueType) -> Kind | None:
    """The kind of a model of layers; None for RFM and value."""
    name = layer_pb2.ModelKind.Name(number).removeprefix("MODEL_KIND_")
    return None if name in ("UNSPECIFIED", "RFM", "VALUE") else Kind(name)


def params(message: Struct) -> Mapping[str, Any]:
    """The values given, as they would be in JSON."""
    found: Mapping[str, Any] = json_format.MessageToDict(message)
    return found


def model(it: LayerModel) -> layer_pb2.LayerModel:
    listed = ListedModel(
        it.key, it.kind, it.model_version, it.params, it.universe, it.active, it.defined_at, it.updated_at
    )
    return listed_model(listed)


def listed_model(it: ListedModel) -> layer_pb2.LayerModel:
    message = layer_pb2.LayerModel(
        model_id=it.key,
        kind=layer_messages.kind(it.kind),
        version=it.version,
        universe=segment_pb2.Universe.Value(f"UNIVERSE_{it.universe}"),
        active=it.active,
        layers=KINDS[it.kind].layers,
        create_time=timestamp(it.created_at),
        update_time=timestamp(it.updated_at),
    )
    message.params.update(json.loads(json.dumps(rules.stated(it.params))))
    return message


def run(id: UUID, it: LayerRun) -> model_pb2.ModelRun:
    return model_pb2.ModelRun(
        run_id=str(id),
        model_id=it.model,
        as_of=day(it.as_of),
        population=it.population,
        params_hash=it.params_hash,
        input_position=it.input_position,
        create_time=timestamp(it.completed_at),
        kind=layer_messages.kind(it.kind),
        model_version=it.model_version,
        counts=[layer_pb2.LayerSize(layer=layer, customers=n) for layer, n in sorted(it.counts.items())],
    )


def report(it: Report) -> pb.GetLayerReportResponse:
    kind = KINDS[it.model.kind]
    found = pb.GetLayerReportResponse(
        model_id=it.model.key,
        model_version=it.model.model_version,
        kind=layer_messages.kind(it.model.kind),
        to=_date(it.after, it.moves.after),
        rows=[_moves(row, kind.actions.get(row.layer, "")) for row in it.moves.rows],
        reach=[_reach(one.layer, one.customers, one.conversion) for one in it.moves.reach],
        deepening_rate=_rate(it.moves.deepening),
    )
    getattr(found, "from").CopyFrom(_date(it.before, it.moves.before))
    if it.model.kind is Kind.CONSIDERATION:
        counts = {layer: len(who) for layer, who in it.after.members.items()}
        found.consideration.CopyFrom(_outcome(outcome(counts, it.model.params), counts.get(ALSO_COMPETITOR, 0)))
    return found


def _date(it: Dated, counts: Mapping[str, int]) -> layer_pb2.LayerDate:
    sizes = {**counts, **{name: len(who) for name, who in it.marks.items()}}
    return layer_pb2.LayerDate(
        as_of=day(it.as_of),
        run_id=str(it.run) if it.run else "",
        counts=[layer_pb2.LayerSize(layer=layer, customers=n) for layer, n in sizes.items()],
    )


def _moves(it: Moves, action: str) -> layer_pb2.LayerMoves:
    return layer_pb2.LayerMoves(
        layer=it.layer,
        customers=it.customers,
        moves=[layer_pb2.LayerMove(layer=to, customers=n, rate=float(it.part(n) or 0)) for to, n in it.to.items()],
        upward_rate=float(it.part(it.up) or 0),
        downward_rate=float(it.part(it.down) or 0),
        churn_rate=float(it.part(it.lost) or 0),
        win_back_rate=float(it.part(it.won_back) or 0),
        action=action,
    )


def _reach(layer: str, customers: int, conversion: Fraction | None) -> layer_pb2.LayerReach:
    return layer_pb2.LayerReach(layer=layer, customers=customers, conversion_rate=_rate(conversion))


def _outcome(it: Outcome, also: int) -> layer_pb2.ConsiderationOutcome:
    return layer_pb2.ConsiderationOutcome(
        transfer_in=it.transfer_in,
        realised=it.realised,
        transfer_out=it.transfer_out,
        pending=it.pending,
        realisation_rate=_rate(it.realisation),
        loss_rate=_rate(it.loss),
        also_competitor=also,
    )


def _rate(of: Fraction | None) -> float | None:
    return None if of is None else float(of)
