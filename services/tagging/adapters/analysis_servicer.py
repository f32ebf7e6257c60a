"""The service of analyses over gRPC: alerts in `alert_methods`, what is learnt in `learning_methods`, segments here."""

from uuid import UUID

from sqlalchemy import Connection

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.tagging.v1 import analysis_service_pb2 as pb
from services.tagging.adapters import analysis_wire as wire
from services.tagging.adapters.alert_methods import AlertMethods
from services.tagging.adapters.learning_methods import LearningMethods
from services.tagging.adapters.trainer import Trainer
from services.tagging.domain.conditions import Universe
from services.tagging.read_models import dimensions, segments
from services.tagging.read_models.leaf_sets import as_of


class AnalysisServicer(AlertMethods, LearningMethods):
    """The whole service."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock, trainer: Trainer) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock
        self._trainer = trainer

    async def AnalyseSegment(
        self, request: pb.AnalyseSegmentRequest, context: ServicerContext
    ) -> pb.AnalyseSegmentResponse:
        tenant, now = contexts.current().tenant, self._clock.now()
        asked = [(it, wire.dimension(it)) for it in request.dimensions]

        def read(rows: Connection) -> pb.AnalyseSegmentResponse:
            sets, when = segments.Sets(rows, tenant), as_of(rows, tenant, now)
            segment = sets.segment(UUID(request.segment_id))
            beside = request.baseline_segment_id
            baseline = sets.segment(UUID(beside)) if beside else sets.universe(Universe.KNOWN)
            tables = [wire.table(it, dimensions.analysed(rows, when, segment, baseline, by)) for it, by in asked]
            return pb.AnalyseSegmentResponse(size=len(segment), baseline_size=len(baseline), tables=tables)

        return await self._read_models.query(read)
