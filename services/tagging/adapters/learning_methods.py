"""The RPCs that learn something of customers: look-alikes and clusterings. Learning is beside the writer, in a process of its own."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import numpy as np
import sqlalchemy as sa
from pyroaring import BitMap

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import analysis_pb2
from scrm.tagging.v1 import analysis_service_pb2 as pb
from scrm.tagging.v1.analysis_service_pb2_grpc import AnalysisServiceServicer
from services.tagging.adapters import analysis_wire as wire
from services.tagging.adapters import learning
from services.tagging.adapters.segment_wire import segment_result
from services.tagging.adapters.trainer import Arrays, Trainer
from services.tagging.application.analysis_ports import TrainedKind
from services.tagging.application.clustering_commands import KeepClustering, KeptClustering, LinkClusterSurvey
from services.tagging.application.lookalike_commands import KeepLookalike, KeptLookalike
from services.tagging.domain.clusterings import Clustering, check_population, clustering_id
from services.tagging.domain.conditions import Universe
from services.tagging.domain.errors import ClusteringNotFound, LookalikeNotFound
from services.tagging.domain.features import FIGURES, FeatureChoice
from services.tagging.domain.lookalikes import Lookalike, check_seed, check_strength, lookalike_id
from services.tagging.domain.tag_definitions import TagKind
from services.tagging.domain.taxonomy import Taxonomy, taxonomy_id
from services.tagging.read_models import audiences, features, segments, trained_runs
from services.tagging.read_models.features import Features
from services.tagging.read_models.leaf_sets import as_of

BY_VERSION: Final = Keyset(str, int, maximum=100)


class _Population(NamedTuple):
    """Customers with their features, those of a seed among them, and how much was known then."""

    features: Features
    seed: BitMap
    input_position: int


class LearningMethods(AnalysisServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    _bus: CommandBus
    _read_models: ReadModels
    _clock: Clock
    _trainer: Trainer

    async def BuildLookalike(
        self, request: pb.BuildLookalikeRequest, context: ServicerContext
    ) -> pb.BuildLookalikeResponse:
        def reply(it: KeptLookalike) -> pb.BuildLookalikeResponse:
            return pb.BuildLookalikeResponse(
                lookalike=wire.lookalike(it.lookalike, it.run), segment=segment_result(it.segment)
            )

        result: pb.BuildLookalikeResponse = await self._bus.find_out(partial(self._learn_lookalike, request), reply)
        return result

    async def _learn_lookalike(self, request: pb.BuildLookalikeRequest) -> KeepLookalike:
        choice, segment = wire.choice(request.features), UUID(request.seed_segment_id)
        population = await self._population(choice, seed=segment)
        sample = await asyncio.to_thread(learning.drawn, population.features, population.seed, request.random_seed)
        arrays: Arrays = {
            "features": await asyncio.to_thread(population.features.rows, sample.positions),
            "label": sample.label,
            "random_seed": np.array(request.random_seed),
        }
        answer = await self._trainer.learn("tell_apart", arrays)
        learnt = learning.learnt(population.features, sample, answer)
        check_strength(learnt.auc)
        extent = request.size if request.WhichOneof("extent") == "size" else request.threshold
        found = await asyncio.to_thread(learning.alike, population.features, population.seed, learnt, answer, extent)
        return KeepLookalike(
            key=request.lookalike_id,
            seed_segment=segment,
            features=choice,
            random_seed=request.random_seed,
            learnt=learnt,
            seed=population.seed,
            alike=found.who,
            threshold=found.threshold,
            input_position=population.input_position,
            name=request.display_name,
        )

    async def GetLookalike(self, request: pb.GetLookalikeRequest, context: ServicerContext) -> pb.GetLookalikeResponse:
        return pb.GetLookalikeResponse(lookalike=await self._lookalike(request.lookalike_id, request.version))

    async def ListLookalikes(
        self, request: pb.ListLookalikesRequest, context: ServicerContext
    ) -> pb.ListLookalikesResponse:
        shown, token = await self._versions(request, TrainedKind.LOOKALIKE)
        found = await asyncio.gather(*(self._lookalike(*it) for it in shown))
        return pb.ListLookalikesResponse(lookalikes=found, next_page_token=token)

    async def RunClustering(
        self, request: pb.RunClusteringRequest, context: ServicerContext
    ) -> pb.RunClusteringResponse:
        def reply(it: KeptClustering) -> pb.RunClusteringResponse:
            return pb.RunClusteringResponse(clustering=wire.clustering(it.clustering, it.run))

        result: pb.RunClusteringResponse = await self._bus.find_out(partial(self._learn_clusters, request), reply)
        return result

    async def _learn_clusters(self, request: pb.RunClusteringRequest) -> KeepClustering:
        choice = wire.choice(request.features, FIGURES)
        within = UUID(request.segment_id) if request.segment_id else None
        population = await self._population(choice, within=within)
        drawn = await asyncio.to_thread(learning.sampled, population.features, request.random_seed)
        arrays: Arrays = {
            "features": await asyncio.to_thread(population.features.rows, drawn),
            "clusters": np.array(request.clusters),
            "random_seed": np.array(request.random_seed),
        }
        answer = await self._trainer.learn("cluster", arrays)
        found = await asyncio.to_thread(learning.clusters, population.features, answer)
        return KeepClustering(
            key=request.clustering_id,
            features=choice,
            random_seed=request.random_seed,
            clusters=found.clusters,
            members=found.members,
            silhouette=found.silhouette,
            input_position=population.input_position,
        )

    async def GetClustering(
        self, request: pb.GetClusteringRequest, context: ServicerContext
    ) -> pb.GetClusteringResponse:
        return pb.GetClusteringResponse(clustering=await self._clustering(request.clustering_id, request.version))

    async def ListClusterings(
        self, request: pb.ListClusteringsRequest, context: ServicerContext
    ) -> pb.ListClusteringsResponse:
        shown, token = await self._versions(request, TrainedKind.CLUSTERING)
        found = await asyncio.gather(*(self._clustering(*it) for it in shown))
        return pb.ListClusteringsResponse(clusterings=found, next_page_token=token)

    async def LinkClusterSurvey(
        self, request: pb.LinkClusterSurveyRequest, context: ServicerContext
    ) -> pb.LinkClusterSurveyResponse:
        command = LinkClusterSurvey(
            request.clustering_id,
            request.version,
            request.cluster,
            request.survey_ref,
            request.respondents,
            request.confirmed,
            list(request.topics),
        )
        found: pb.LinkClusterSurveyResponse = await self._bus.execute(
            command,
            reply=lambda it: pb.LinkClusterSurveyResponse(clustering=wire.clustering(it.clustering, it.run)),
        )
        return found

    async def _population(
        self, choice: FeatureChoice, *, seed: UUID | None = None, within: UUID | None = None
    ) -> _Population:
        """Known customers who did not refuse profiling, of a segment or all, as of now. Raises what is too small."""
        tenant, now, hidden = contexts.current().tenant, self._clock.now(), await self._hidden_tags()
        return await self._read_models.query(lambda rows: _read(rows, tenant, now, choice, hidden, seed, within))

    async def _hidden_tags(self) -> frozenset[str]:
        """Tags that nothing is learnt from: sensitive ones, and what was learnt before."""
        try:
            taxonomy = await self._bus.load(Taxonomy, taxonomy_id(contexts.current().tenant))
        except AggregateNotFound:
            return frozenset()
        return frozenset(key for key, it in taxonomy.tags.items() if taxonomy.bars(key) or it.kind is TagKind.MODEL)

    async def _lookalike(self, key: str, version: int) -> analysis_pb2.Lookalike:
        try:
            found = await self._bus.load(Lookalike, lookalike_id(contexts.current().tenant, key))
        except AggregateNotFound:
            raise LookalikeNotFound(field="lookalike_id") from None
        return wire.lookalike(found, found.run(version))

    async def _clustering(self, key: str, version: int) -> analysis_pb2.Clustering:
        try:
            found = await self._bus.load(Clustering, clustering_id(contexts.current().tenant, key))
        except AggregateNotFound:
            raise ClusteringNotFound(field="clustering_id") from None
        return wire.clustering(found, found.run(version))

    async def _versions(
        self, request: pb.ListLookalikesRequest | pb.ListClusteringsRequest, kind: TrainedKind
    ) -> tuple[list[tuple[str, int]], str]:
        tenant, page = contexts.current().tenant, BY_VERSION.page(request)
        last = (page.after[0], page.after[1]) if page.after else ("", 0)
        found = await self._read_models.query(lambda rows: trained_runs.after(rows, tenant, kind, last, page.limit))
        shown, token = BY_VERSION.cut(request, found, lambda it: it)
        return list(shown), token


def _read(
    rows: sa.Connection,
    tenant: str,
    now: datetime,
    choice: FeatureChoice,
    hidden: frozenset[str],
    seed: UUID | None,
    within: UUID | None,
) -> _Population:
    sets, when = segments.Sets(rows, tenant), as_of(rows, tenant, now)
    who = sets.universe(Universe.KNOWN) if within is None else sets.segment(within)
    who = who - features.unwilling(rows, tenant)
    of_seed = BitMap() if seed is None else sets.segment(seed) & who
    if seed is None:
        check_population(len(who))
    else:
        check_seed(len(of_seed), len(who) - len(of_seed))
    return _Population(features.read(rows, when, who, choice, hidden), of_seed, audiences.input_position(rows, tenant))
