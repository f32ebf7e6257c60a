"""What other services are told of alerts, look-alikes and clusterings; and alerts as messages, which events carry too."""

from uuid import UUID

from google.protobuf.message import Message

from scrm.tagging.v1 import analysis_pb2
from scrm.tagging.v1 import events_pb2 as pb
from services.tagging.application import wire
from services.tagging.domain.asset_alerts import AlertReading, AlertTerms, AssetAlert
from services.tagging.domain.clusterings import Clustering
from services.tagging.domain.lookalikes import Lookalike

AnalysisEvent = (
    AssetAlert.Defined
    | AssetAlert.Changed
    | AssetAlert.Archived
    | AssetAlert.Raised
    | Lookalike.Built
    | Clustering.Built
)


def of_analysis(event: AnalysisEvent) -> Message:
    match event:
        case AssetAlert.Defined(key=key, terms=it):
            return pb.AssetAlertDefined(alert_id=key, version=1, terms=terms(it))
        case AssetAlert.Changed(alert=key, version=version, terms=it):
            return pb.AssetAlertDefined(alert_id=key, version=version, terms=terms(it))
        case AssetAlert.Archived(alert=key):
            return pb.AssetAlertArchived(alert_id=key)
        case AssetAlert.Raised() as raised:
            return pb.AssetAlertRaised(
                alert_id=raised.alert,
                terms=terms(raised.terms),
                model_version=raised.model_version,
                reading=reading(raised.reading, raised.segment),
            )
        case Lookalike.Built(key=key, built=built):
            return pb.LookalikeBuilt(
                lookalike_id=key,
                version=built.version,
                segment_id=str(built.segment),
                size=built.size,
                auc=built.learnt.auc,
            )
        case Clustering.Built(key=key, built=found):
            return pb.ClustersBuilt(
                clustering_id=key,
                version=found.version,
                tag_key=found.tag,
                sizes=[it.size for it in found.clusters],
                silhouette=found.silhouette,
            )


def terms(it: AlertTerms) -> analysis_pb2.AlertTerms:
    return analysis_pb2.AlertTerms(
        model_id=it.model,
        metric=analysis_pb2.AlertMetric.Value(f"ALERT_METRIC_{it.metric}"),
        layer=it.layer,
        to_layer=it.to_layer,
        segment_id=str(it.segment) if it.segment else "",
        period=analysis_pb2.AlertPeriod.Value(f"ALERT_PERIOD_{it.period}"),
        compare=analysis_pb2.AlertComparison.Value(f"ALERT_COMPARISON_{it.compare}"),
        target=it.target,
        threshold=it.threshold,
        min_n=it.min_n,
    )


def reading(it: AlertReading, segment: UUID | None) -> analysis_pb2.AlertReading:
    message = analysis_pb2.AlertReading(
        alert_version=it.version,
        to=wire.day(it.end),
        value=it.value,
        n=it.n,
        baseline=it.baseline,
        baseline_n=it.baseline_n,
        relative_change=it.relative,
        z=it.z,
        p_value=it.p_value,
        raised=it.raised,
        segment_id=str(segment) if segment else "",
    )
    getattr(message, "from").CopyFrom(wire.day(it.start))
    return message
