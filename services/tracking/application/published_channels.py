"""What other services are told of channel codes."""

from datetime import datetime
from typing import Final

from google.protobuf.message import Message

from chassis.log import Recorded
from scrm.tracking.v1 import channel_pb2
from scrm.tracking.v1 import events_pb2 as pb
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.channel_code import ChannelCode, CodeDesign, CodeTerms, PermanentCodes
from services.tracking.domain.touches import ChannelTouches, Follow

PRIVATE: Final = frozenset[type](
    {
        PermanentCodes.Opened,
        PermanentCodes.Taken,
        ChannelTouches.Began,
        ChannelTouches.Followed,  # the behaviours that say so are published themselves
        ChannelTouches.Unfollowed,
    }
)


def of_channels(recorded: Recorded) -> Message | None:
    """The message for an event of a code, or of somebody who came by one."""
    match recorded.event:
        case ChannelCode.Created(code_key=key, design=design, terms=terms, timestamp=at):
            return pb.ChannelCodeCreated(code=code_message(key, design, terms, at))
        case ChannelCode.Updated(code_key=key, terms=terms):
            return pb.ChannelCodeUpdated(
                code_key=key,
                staff_ids=terms.staff,
                auto_tags=terms.auto_tags,
                welcome_template=terms.welcome_template,
            )
        case ChannelCode.Archived(code_key=key):
            return pb.ChannelCodeArchived(code_key=key)
        case ChannelTouches.Scanned():
            return _scanned(recorded.event)
    return None


def code_message(code_key: str, design: CodeDesign, terms: CodeTerms, created_at: datetime) -> channel_pb2.ChannelCode:
    """A code as it was when it was made."""
    return channel_pb2.ChannelCode(
        code_key=code_key,
        kind=channel_pb2.CodeKind.Value(f"CODE_KIND_{design.kind}"),
        app=design.app,
        channel=design.channel,
        campaign=design.campaign,
        store_id=design.store,
        staff_ids=terms.staff,
        auto_tags=terms.auto_tags,
        welcome_template=terms.welcome_template,
        expire_time=timestamp(design.expires_at) if design.expires_at else None,
        create_time=timestamp(created_at),
        update_time=timestamp(created_at),
    )


def _scanned(event: ChannelTouches.Scanned) -> pb.ChannelScanned:
    return pb.ChannelScanned(
        code_key=event.code_key,
        node_id=str(event.node),
        new_follow=event.follow == Follow.NEW,
        re_follow=event.follow == Follow.AGAIN,
        nth_scan=event.nth_scan,
        staff_code=event.staff,
        app=event.app,
        scan_time=timestamp(event.scanned_at),
    )
