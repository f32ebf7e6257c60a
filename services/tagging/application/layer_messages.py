"""What other services are told of models of layers, and of customers who move through them."""

from uuid import UUID

from google.protobuf.message import Message

from scrm.tagging.v1 import events_pb2 as pb
from scrm.tagging.v1 import layer_pb2, segment_pb2
from services.tagging.application import wire
from services.tagging.domain.layer_models import CustomerLayers, LayerModel, LayerRun
from services.tagging.domain.layers.kinds import Kind

ModelEvent = LayerModel.Defined | LayerModel.Updated | LayerModel.Activated | LayerRun.Completed
CustomerEvent = CustomerLayers.LayerChanged | CustomerLayers.ScoreChanged | CustomerLayers.LeadQualified


def kind(of: Kind) -> layer_pb2.ModelKind.ValueType:
    return layer_pb2.ModelKind.Value(f"MODEL_KIND_{of}")


def of_model(id: UUID, event: ModelEvent) -> Message:
    """`id` is that of the aggregate."""
    match event:
        case LayerModel.Defined() as it:
            universe = segment_pb2.Universe.Value(f"UNIVERSE_{it.universe}")
            return pb.ModelDefined(model_id=it.key, kind=kind(it.kind), universe=universe, params_json=it.params)
        case LayerModel.Updated() as it:
            return pb.ModelUpdated(model_id=it.model, version=it.version, params_json=it.params)
        case LayerModel.Activated() as it:
            return pb.ModelActivated(model_id=it.model, version=it.version)
        case LayerRun.Completed() as it:
            return pb.ModelRunCompleted(
                run_id=str(id),
                model_id=it.model,
                as_of=wire.day(it.as_of),
                population=it.population,
                counts=[pb.LayerCount(layer=layer, customers=n) for layer, n in sorted(it.counts.items())],
                kind=kind(it.kind),
                model_version=it.model_version,
            )


def of_customer(event: CustomerEvent) -> Message:
    match event:
        case CustomerLayers.LayerChanged() as it:
            return pb.LayerChanged(
                customer_id=str(it.customer),
                model_id=it.model,
                model_version=it.version,
                from_layer=it.before,
                to_layer=it.after,
                cause=layer_pb2.LayerCause.Value(f"LAYER_CAUSE_{it.cause}"),
                time=wire.timestamp(it.at),
            )
        case CustomerLayers.ScoreChanged() as it:
            return pb.ScoreChanged(
                customer_id=str(it.customer),
                model_id=it.model,
                model_version=it.version,
                category=it.category,
                from_band=it.before,
                to_band=it.after,
                score=it.score,
                cause=layer_pb2.LayerCause.Value(f"LAYER_CAUSE_{it.cause}"),
                time=wire.timestamp(it.at),
            )
        case CustomerLayers.LeadQualified() as it:
            return pb.LeadQualified(
                customer_id=str(it.customer),
                model_id=it.model,
                model_version=it.version,
                category=it.category,
                score=it.score,
                evidence=it.evidence,
                time=wire.timestamp(it.at),
            )
