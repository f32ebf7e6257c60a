"""What other services are told of purchase paths, insights and shares."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from chassis.aggregate import natural_id
from chassis.log import Recorded
from scrm.tracking.v1 import events_pb2 as pb
from scrm.tracking.v1 import insight_pb2, path_pb2
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.insights import Insight
from services.tracking.domain.shares import Share, ShareVisit
from services.tracking.domain.shopping_mission import Ending, Reached, ShoppingMission

PUBLISHED_ANALYSIS: Final = (
    "path_node_reached",
    "path_stalled",
    "mission_closed",
    "insight_detected",
    "share_created",
    "share_visited",
)
PRIVATE_ANALYSIS: Final = frozenset[type]({ShoppingMission.Opened})


def of_analysis(recorded: Recorded) -> Message | Sequence[Message] | None:
    """The message for an event; for what a batch of facts made of a mission one for each step, and one for its end."""
    match recorded.event:
        case ShoppingMission.Begun() | ShoppingMission.Moved():
            return _moved(recorded.event)
        case ShoppingMission.NodeReached(originator_id=id, category=category):
            return _reached(str(id), category, recorded.event)
        case ShoppingMission.Stalled():
            return _stalled(recorded.event)
        case ShoppingMission.Closed(originator_id=id, node=node, category=category):
            return _closed(str(id), node, category, recorded.event)
        case Insight.Detected() | Insight.DetectedAgain():
            return _detected(recorded.event, recorded.tenant)
        case Share.Created():
            return _shared(recorded.event)
        case ShareVisit.Visited(share_id=share, node=node, unique=unique, visited_at=at):
            return pb.ShareVisited(share_id=share, node_id=str(node), unique=unique, visit_time=timestamp(at))
    return None


def insight_id(tenant: str, event: Insight.Detected | Insight.DetectedAgain) -> UUID:
    """The id of one insight; what is noticed again after 90 days is another one."""
    return natural_id(tenant, "insight_told", event.originator_id, event.originator_version)


def path_node(step: str) -> "path_pb2.PathNode.ValueType":
    return path_pb2.PathNode.Value(f"PATH_NODE_{step}")


def mission_result(result: str) -> "path_pb2.MissionResult.ValueType":
    return path_pb2.MissionResult.Value(f"MISSION_RESULT_{result}")


def need_state(state: str) -> "path_pb2.NeedState.ValueType":
    return path_pb2.NeedState.Value(f"NEED_STATE_{state}")


def insight_kind(kind: str) -> "insight_pb2.InsightKind.ValueType":
    return insight_pb2.InsightKind.Value(f"INSIGHT_KIND_{kind}")


def _moved(event: ShoppingMission.Begun | ShoppingMission.Moved) -> list[Message]:
    mission, category, end = str(event.originator_id), event.category, event.ending
    steps = [_reached(mission, category, it) for it in event.steps]
    return [*steps, _closed(mission, event.node, category, end)] if end else [*steps]


def _reached(mission: str, category: str, it: Reached | ShoppingMission.NodeReached) -> pb.PathNodeReached:
    return pb.PathNodeReached(
        mission_id=mission,
        node_id=str(it.node),
        category=category,
        path_node=path_node(it.step),
        sku=it.sku,
        order_id=_id(it.order_id),
        reach_time=timestamp(it.reached_at),
    )


def _stalled(event: ShoppingMission.Stalled) -> pb.PathStalled:
    return pb.PathStalled(
        mission_id=str(event.originator_id),
        node_id=str(event.node),
        category=event.category,
        path_node=path_node(event.step),
        order_id=_id(event.order_id),
        since_time=timestamp(event.since),
        after_seconds=event.after_seconds,
    )


def _closed(mission: str, node: UUID, category: str, it: Ending | ShoppingMission.Closed) -> pb.MissionClosed:
    return pb.MissionClosed(
        mission_id=mission,
        node_id=str(node),
        category=category,
        result=mission_result(it.result),
        need_state=need_state(it.need_state),
        close_time=timestamp(it.closed_at),
    )


def _detected(event: Insight.Detected | Insight.DetectedAgain, tenant: str) -> pb.InsightDetected:
    return pb.InsightDetected(
        insight_id=str(insight_id(tenant, event)),
        node_id=str(event.node),
        kind=insight_kind(event.kind),
        subject=event.subject,
        evidence=event.evidence,
        detect_time=timestamp(event.detected_at),
    )


def _shared(event: Share.Created) -> pb.ShareCreated:
    return pb.ShareCreated(
        share_id=event.share_id,
        node_id=str(event.node),
        parent_share_id=event.parent,
        root_share_id=event.root,
        depth=event.depth,
        content_id=event.content_id,
        activity_id=event.activity_id,
        share_time=timestamp(event.shared_at),
    )


def _id(id: UUID | None) -> str:
    return str(id) if id else ""
