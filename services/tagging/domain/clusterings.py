"""Clusterings (spec TG-18): groups of customers who are alike, each described by how its centre differs from everybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.errors import ClusteringNotFound, PopulationTooSmall, SurveyLinksFull
from services.tagging.domain.features import FeatureChoice

SMALLEST: Final = 100
MOST_CLUSTERS: Final = 12
MOST_SURVEYS: Final = 50
_TOLD: Final = 3
_STRIKING: Final = 0.3
"""Standard deviations from which on a difference is told of."""


@dataclass(frozen=True, slots=True)
class Centroid:
    """One feature at the centre of a cluster: its average there and of all, and the difference in standard deviations."""

    feature: str
    mean: float
    overall: float
    z: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster; its centre, what differs most first."""

    size: int
    centroid: tuple[Centroid, ...]

    @property
    def description(self) -> str:
        """What is particular of it, in words."""
        return described(self.centroid)


@dataclass(frozen=True, slots=True)
class ClusterSurvey:
    """What people of a cluster said when they were asked, and whether that bears it out."""

    survey: str
    respondents: int
    confirmed: bool
    topics: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class ClusteringRun:
    """One version of a clustering."""

    version: int
    run: UUID
    tag: str
    clusters: tuple[Cluster, ...]
    silhouette: float
    features: FeatureChoice
    random_seed: int
    input_position: int
    at: datetime


def described(centroid: Sequence[Centroid]) -> str:
    """The features that differ most, in words: "much behaviour:events, little purchase:net"."""
    striking = [it for it in centroid if abs(it.z) >= _STRIKING][:_TOLD]
    return ", ".join(f"{'much' if it.z > 0 else 'little'} {it.feature}" for it in striking) or "as everybody"


def check_population(customers: int) -> None:
    """Raises PopulationTooSmall."""
    if customers < SMALLEST:
        raise PopulationTooSmall(field="segment_id", customers=customers, least=SMALLEST)


def cluster_name(number: int) -> str:
    """The name of a cluster, from 0 on."""
    return f"CLUSTER:{number + 1}"


def clustering_id(tenant: str, key: str) -> UUID:
    return natural_id(tenant, "clustering", key)


def model_key(key: str) -> str:
    """The model that the members are kept under."""
    return f"clustering:{key}"


def tag_key(key: str) -> str:
    """The tag that says in which cluster a customer is."""
    return f"cluster_{key}"


class Clustering(Aggregate):
    """All versions of a clustering under its key; but for the surveys linked to its clusters, none ever changes."""

    TOPIC = "tagging.Clustering"

    class Opened(InitialEvent):
        TOPIC = "tagging.ClusteringOpened"
        tenant: str
        key: str

    class Built(Event):
        TOPIC = "tagging.ClustersBuilt"
        key: str
        built: ClusteringRun

    class SurveyLinked(Event):
        TOPIC = "tagging.ClusterSurveyLinked"
        version: int
        cluster: str
        survey: ClusterSurvey

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, key: str) -> None:
        self.tenant = tenant
        self.key = key
        self.runs: list[ClusteringRun] = []
        self.surveys: dict[tuple[int, str], dict[str, ClusterSurvey]] = {}

    def build(self, run: ClusteringRun) -> None:
        """Keep another version."""
        self._built(key=self.key, built=run)

    def run(self, version: int) -> ClusteringRun:
        """A version; 0 stands for the latest. Raises ClusteringNotFound."""
        if not 0 <= version <= len(self.runs) or not self.runs:
            raise ClusteringNotFound(field="version")
        return self.runs[version - 1]

    def link(self, version: int, cluster: str, survey: ClusterSurvey) -> None:
        """Keep what a survey said of a cluster. Raises ClusteringNotFound, SurveyLinksFull."""
        run = self.run(version)
        if cluster not in map(cluster_name, range(len(run.clusters))):
            raise ClusteringNotFound(field="cluster")
        linked = self.surveys.get((run.version, cluster), {})
        if survey.survey not in linked and len(linked) >= MOST_SURVEYS:
            raise SurveyLinksFull(field="survey_ref", limit=MOST_SURVEYS)
        self._linked(version=run.version, cluster=cluster, survey=survey)

    @event(Built)
    def _built(self, key: str, built: ClusteringRun) -> None:
        self.runs.append(built)

    @event(SurveyLinked)
    def _linked(self, version: int, cluster: str, survey: ClusterSurvey) -> None:
        self.surveys.setdefault((version, cluster), {})[survey.survey] = survey
