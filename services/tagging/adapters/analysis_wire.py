"""Alerts, analyses, look-alikes and clusterings on the wire: requests into values, values into messages."""

from typing import Final
from uuid import UUID

from scrm.tagging.v1 import analysis_pb2 as pb
from services.tagging.application import analysis_messages
from services.tagging.application.wire import timestamp
from services.tagging.domain.asset_alerts import AlertTerms, AssetAlert, Comparison, Metric
from services.tagging.domain.clusterings import Cluster, Clustering, ClusteringRun, cluster_name
from services.tagging.domain.features import ALL_FAMILIES, WINDOW_DAYS, Family, FeatureChoice
from services.tagging.domain.lookalikes import Lookalike, LookalikeRun
from services.tagging.domain.periods import Period
from services.tagging.domain.segment_analysis import Cell, Table
from services.tagging.read_models.dimensions import Attribute, Behaviour, BoughtCategory, Dimension, Layer, Tag

LEAST_N: Final = 100
"""Customers an alert needs where it does not say how many."""

reading = analysis_messages.reading


def terms(it: pb.AlertTerms) -> AlertTerms:
    return AlertTerms(
        model=it.model_id,
        metric=Metric(pb.AlertMetric.Name(it.metric).removeprefix("ALERT_METRIC_")),
        layer=it.layer,
        to_layer=it.to_layer,
        segment=UUID(it.segment_id) if it.segment_id else None,
        period=Period(pb.AlertPeriod.Name(it.period).removeprefix("ALERT_PERIOD_")),
        compare=Comparison(pb.AlertComparison.Name(it.compare).removeprefix("ALERT_COMPARISON_")),
        target=it.target,
        threshold=it.threshold,
        min_n=it.min_n or LEAST_N,
    )


def alert(it: AssetAlert) -> pb.AssetAlert:
    return pb.AssetAlert(
        alert_id=it.key,
        version=it.alert_version,
        terms=analysis_messages.terms(it.terms),
        archived=it.archived,
        create_time=timestamp(it.defined_at),
        update_time=timestamp(it.updated_at),
    )


def dimension(it: pb.AnalysisDimension) -> Dimension:
    match it.WhichOneof("kind"):
        case "attribute":
            return Attribute(it.attribute)
        case "tag_key":
            return Tag(it.tag_key)
        case "model_id":
            return Layer(it.model_id)
        case "funnel_model_id":
            return Layer(it.funnel_model_id, funnel=True)
        case "bought_category_days":
            return BoughtCategory(it.bought_category_days)
    return Behaviour(it.behaviour.days, it.behaviour.event_type, it.behaviour.property)


def table(of: pb.AnalysisDimension, it: Table) -> pb.AnalysisTable:
    return pb.AnalysisTable(dimension=of, cells=map(_cell, it.cells), cut=it.cut)


def _cell(it: Cell) -> pb.AnalysisCell:
    message = pb.AnalysisCell(value=it.value, n=it.n, baseline_n=it.baseline_n, grey=it.grey)
    for name in ("share", "baseline_share", "tgi"):
        if (found := getattr(it, name)) is not None:
            setattr(message, name, float(found))
    return message


def choice(it: pb.FeatureChoice, default: tuple[Family, ...] = ALL_FAMILIES) -> FeatureChoice:
    named = [Family(pb.FeatureFamily.Name(one).removeprefix("FEATURE_FAMILY_")) for one in it.families]
    families = tuple(one for one in Family if one in named) or default
    return FeatureChoice(families, it.window_days or WINDOW_DAYS, tuple(sorted(set(it.omitted))))


def _choice(it: FeatureChoice) -> pb.FeatureChoice:
    families = [pb.FeatureFamily.Value(f"FEATURE_FAMILY_{one}") for one in it.families]
    return pb.FeatureChoice(families=families, window_days=it.window_days, omitted=it.omitted)


def lookalike(of: Lookalike, it: LookalikeRun) -> pb.Lookalike:
    return pb.Lookalike(
        lookalike_id=of.key,
        version=it.version,
        run_id=str(it.run),
        seed_segment_id=str(it.seed_segment),
        seed_size=it.seed_size,
        segment_id=str(it.segment),
        size=it.size,
        threshold=it.threshold,
        auc=it.learnt.auc,
        features=_choice(it.features),
        weights=[pb.FeatureWeight(feature=name, weight=weight) for name, weight in it.learnt.weights],
        sample_size=it.learnt.sample_size,
        holdout_size=it.learnt.holdout_size,
        random_seed=it.random_seed,
        input_position=it.input_position,
        create_time=timestamp(it.at),
    )


def clustering(of: Clustering, it: ClusteringRun) -> pb.Clustering:
    return pb.Clustering(
        clustering_id=of.key,
        version=it.version,
        run_id=str(it.run),
        tag_key=it.tag,
        clusters=[_cluster(of, it, number, one) for number, one in enumerate(it.clusters)],
        silhouette=it.silhouette,
        population=sum(one.size for one in it.clusters),
        features=_choice(it.features),
        random_seed=it.random_seed,
        input_position=it.input_position,
        create_time=timestamp(it.at),
    )


def _cluster(of: Clustering, run: ClusteringRun, number: int, it: Cluster) -> pb.Cluster:
    surveys = of.surveys.get((run.version, cluster_name(number)), {})
    return pb.Cluster(
        name=cluster_name(number),
        size=it.size,
        description=it.description,
        centroid=[
            pb.CentroidFeature(feature=one.feature, mean=one.mean, overall=one.overall, z=one.z) for one in it.centroid
        ],
        surveys=[
            pb.ClusterSurvey(
                survey_ref=one.survey,
                respondents=one.respondents,
                confirmed=one.confirmed,
                topics=one.topics,
                link_time=timestamp(one.at),
            )
            for _, one in sorted(surveys.items())
        ],
    )
