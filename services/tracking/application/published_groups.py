"""What other services are told of community groups."""

from typing import Final

from google.protobuf.message import Message

from chassis.log import Recorded
from scrm.tracking.v1 import events_pb2 as pb
from scrm.tracking.v1 import group_pb2
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.group import CommunityGroup, GroupMembership, GroupTerms

PRIVATE: Final = frozenset[type]({GroupMembership.Begun})


def of_groups(recorded: Recorded) -> Message | None:
    """The message for an event of a group or a membership."""
    match recorded.event:
        case (
            CommunityGroup.Registered(group_id=group_id, terms=terms)
            | CommunityGroup.Changed(group_id=group_id, terms=terms)
        ):
            return pb.GroupUpserted(group=group_message(group_id, terms))
        case GroupMembership.Moved(group_id=group_id, node=node, change=change, inferred=inferred, moved_at=at):
            return pb.GroupMembershipChanged(
                group_id=group_id,
                node_id=str(node),
                change=group_pb2.GroupChange.Value(f"GROUP_CHANGE_{change}"),
                inferred=inferred,
                change_time=timestamp(at),
            )
    return None


def group_message(group_id: str, terms: GroupTerms) -> group_pb2.CommunityGroup:
    return group_pb2.CommunityGroup(group_id=group_id, owner_staff_id=terms.owner_staff, store_id=terms.store)
