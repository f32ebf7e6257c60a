"""Tagging over gRPC: the RPCs, by topic in `tag_methods`, `segment_methods`, `layer_methods` and `model_methods`."""

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.read_models import ReadModels
from services.tagging.adapters.export_methods import ExportMethods
from services.tagging.adapters.layer_methods import LayerMethods
from services.tagging.adapters.membership_methods import MembershipMethods
from services.tagging.adapters.model_methods import ModelMethods
from services.tagging.adapters.segment_methods import SegmentMethods
from services.tagging.adapters.tag_methods import TagMethods


class TaggingServicer(TagMethods, SegmentMethods, MembershipMethods, ExportMethods, LayerMethods, ModelMethods):
    """The whole service."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock) -> None:
        ModelMethods.__init__(self, bus, read_models, clock)
        MembershipMethods.__init__(self, bus, read_models, clock)
