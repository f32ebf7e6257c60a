"""Commands on clusterings: keep one, tag those whose cluster is another one page by page, link what people said when asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from chassis.errors import DomainError
from services.tagging.application.analysis_ports import TrainedKind
from services.tagging.application.layer_ports import LayerRows
from services.tagging.application.ports import Audiences
from services.tagging.application.rule_review import calendar_of
from services.tagging.application.standing import Case, cases, conclude, taxonomy_of
from services.tagging.application.tag_commands import Giver, Giving, note_given
from services.tagging.domain.claims import Cause, Origin
from services.tagging.domain.clusterings import (
    MOST_CLUSTERS,
    Cluster,
    Clustering,
    ClusteringRun,
    ClusterSurvey,
    cluster_name,
    clustering_id,
    model_key,
    tag_key,
)
from services.tagging.domain.conditions import Universe
from services.tagging.domain.errors import ClusteringNotFound, TagExists
from services.tagging.domain.features import FeatureChoice
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.taxonomy import Taxonomy, preset_id

TAG_CLUSTERS: Final = "tag_clusters"
"""Kind of the timer that tags the next customers with the cluster they are in."""

_PAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class KeepClustering:
    """Keep clusters found beforehand, with who is in which; nobody is in two."""

    key: str
    features: FeatureChoice
    random_seed: int
    clusters: Sequence[Cluster]
    members: Sequence[BitMap]
    silhouette: float
    input_position: int


@dataclass(frozen=True, slots=True)
class KeptClustering:
    """A clustering, and one of its versions."""

    clustering: Clustering
    run: ClusteringRun


def keep_clustering(command: KeepClustering, work: UnitOfWork, audiences: Audiences) -> KeptClustering:
    tenant = work.context.tenant
    clustering = work.find(Clustering, clustering_id(tenant, command.key))
    if clustering is None:
        clustering = Clustering(clustering_id(tenant, command.key), tenant, command.key)
    _define_tag(command.key, work)
    audiences.lock(work)
    alive = audiences.universe(work, Universe.ALL)
    members = {cluster_name(n): it & alive for n, it in enumerate(command.members)}
    clusters = [replace(it, size=len(who)) for it, who in zip(command.clusters, members.values(), strict=True)]
    run, version = work.new_id(), len(clustering.runs) + 1
    as_of = date.fromordinal(calendar_of(work).day(work.now))
    audiences.keep_layers(work, LayerRows(run, model_key(command.key), version, as_of, members))
    audiences.keep_trained(work, TrainedKind.CLUSTERING, command.key, version, run)
    built = ClusteringRun(
        version=version,
        run=run,
        tag=tag_key(command.key),
        clusters=tuple(clusters),
        silhouette=command.silhouette,
        features=command.features,
        random_seed=command.random_seed,
        input_position=command.input_position,
        at=work.now,
    )
    clustering.build(built)
    work.add(clustering)
    _tag_later(command.key, version, -1, work)
    return KeptClustering(clustering, built)


@dataclass(frozen=True, slots=True)
class TagClusters:
    """Tag the next customers, from the one after ordinal `after` on, who are not tagged with their clusters of a version, unless there
    is a later one."""

    key: str
    version: int
    after: int


def tag_clusters(command: TagClusters, work: UnitOfWork, audiences: Audiences) -> None:
    clustering = work.find(Clustering, clustering_id(work.context.tenant, command.key))
    if clustering is None or clustering.run(0).version != command.version:
        return
    audiences.lock(work)
    run = clustering.run(command.version)
    members = audiences.run_members(work, run.run)
    tagged, wrong = audiences.tagged(work, run.tag), BitMap()
    for name in members.keys() | tagged.keys():
        wrong |= members.get(name, BitMap()) ^ tagged.get(name, BitMap())
    rest = wrong[wrong.rank(command.after) if command.after >= 0 else 0 :]
    page = rest[:_PAGE]
    cluster_of = {ordinal: name for name, it in members.items() for ordinal in it & page}
    _tag(run, cluster_of, page, work, audiences)
    if len(rest) > len(page):
        _tag_later(command.key, command.version, page.max(), work)


@dataclass(frozen=True, slots=True)
class LinkClusterSurvey:
    """Link what people of a cluster said when they were asked; version 0 stands for the latest."""

    key: str
    version: int
    cluster: str
    survey: str
    respondents: int
    confirmed: bool
    topics: Sequence[str] = ()


def link_cluster_survey(command: LinkClusterSurvey, work: UnitOfWork) -> KeptClustering:
    clustering = work.find(Clustering, clustering_id(work.context.tenant, command.key))
    if clustering is None:
        raise ClusteringNotFound(field="clustering_id")
    survey = ClusterSurvey(
        command.survey, command.respondents, command.confirmed, tuple(sorted(command.topics)), work.now
    )
    clustering.link(command.version, command.cluster, survey)
    return KeptClustering(clustering, clustering.run(command.version))


def _define_tag(key: str, work: UnitOfWork) -> None:
    """The tag of a clustering, with all the values it can have. Raises TagExists, TagNotActive."""
    taxonomy = taxonomy_of(work) or Taxonomy.open(work.context.tenant)
    name = tag_key(key)
    if name not in taxonomy.tags:
        definition = TagDefinition(
            key=name,
            name=f"Cluster of {key}",
            category=preset_id(work.context.tenant, "Custom"),
            mode=ValueMode.SINGLE_CHOICE,
            kind=TagKind.MODEL,
            values=tuple(map(cluster_name, range(MOST_CLUSTERS))),
            manual_allowed=False,
        )
        if definition.category not in taxonomy.categories:
            harmless = next(it for it in taxonomy.categories if not taxonomy.sensitive(it))
            definition = replace(definition, category=harmless)
        taxonomy.define_tag(definition)
        work.add(taxonomy)
    elif taxonomy.active(name).kind is not TagKind.MODEL:
        raise TagExists("the key of the tag is that of another one", field="clustering_id", tag=name)


def _tag(
    run: ClusteringRun, cluster_of: Mapping[int, str], page: BitMap, work: UnitOfWork, audiences: Audiences
) -> None:
    """Let these customers have the tag with their cluster, and those in none not have it."""
    nodes = {node: ordinal for ordinal, node, erased in audiences.by_ordinal(work, page) if not erased}
    here = {it.id: it.ordinal for it in audiences.customers(work, nodes).values() if it.ordinal in page}
    giving = Giving.of(work, Giver(model=str(run.run)))
    found = list(cases(work, audiences, here).values())
    for case in found:
        try:
            _settle(case, run, cluster_of.get(case.ordinal), giving)
        except DomainError:
            continue  # the customer has as many tags as allowed
    note_given(work, audiences, [it for it in found if it.tags.pending_events])
    audiences.retag(work, conclude(work, found), BitMap())


def _settle(case: Case, run: ClusteringRun, cluster: str | None, giving: Giving) -> None:
    if cluster is None:
        for part in (case.tags, *case.parts):
            part.withdraw(run.tag, giving.now, Origin.MODEL)
        case.tags.settle(Cause.MODEL, case.standing)
    else:
        giving.give(case, [(giving.definition(run.tag), cluster)])


def _tag_later(key: str, version: int, after: int, work: UnitOfWork) -> None:
    payload = {"clustering": key, "version": version, "after": after}
    work.schedule(Timer(TAG_CLUSTERS, f"{key}:{version}:{after}", work.now, payload))
