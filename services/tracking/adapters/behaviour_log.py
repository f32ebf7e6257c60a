"""The public log of behaviours: the table `behaviours`, row by row, as other services read it."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from chassis.envelope import Outgoing
from chassis.pulse import News
from chassis.quick_look import QuickLook
from scrm.tracking.v1 import events_pb2
from services.tracking.application.wire_values import timestamp

EVENT_NAME: Final = "behaviour_tracked"
TYPE: Final = events_pb2.BehaviourTracked.DESCRIPTOR.full_name

# Behaviours up to there are all written; the last of them may have been removed since, which must not look like a loss.
_HEAD: Final = "SELECT position FROM resolver_cursor WHERE name = 'resolve'"


class _Row(NamedTuple):
    """A behaviour as its table has it."""

    position: int
    tenant: str
    node: UUID
    occurred_at: datetime
    received_at: datetime
    message_id: str
    source_key: str
    event_type: str
    category: str
    late: bool
    channel: str
    app: str
    page: str
    content_id: str
    page_view_id: str
    code_key: str
    delivery_id: str
    share_id: str
    staff_code: str
    tz_offset_minutes: int | None
    properties: str
    traceparent: str | None


_READ: Final = (
    f"SELECT {', '.join(_Row._fields)} FROM behaviours WHERE position > %(after)s ORDER BY position LIMIT %(limit)s"  # noqa: S608
)


class BehaviourLog:
    """A `PublicLog` of its own stream, because its order and size have nothing to do with the event store's."""

    name = "tracking_behaviours"
    news = News.BESIDE

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._look = QuickLook(engine)

    def read(self, after: int, limit: int) -> list[Outgoing]:
        found = self._look.rows(_READ, {"after": after, "limit": limit})
        return [_outgoing(_Row(*it)) for it in found]

    def head(self) -> int:
        position: int = self._look.scalar(_HEAD)
        return position

    def head_now(self) -> Awaitable[int]:
        return QuickLook.of(self._engine).ask_scalar(_HEAD)


def _outgoing(row: _Row) -> Outgoing:
    message = events_pb2.BehaviourTracked(
        message_id=row.message_id,
        source_key=row.source_key,
        event_type=row.event_type,
        category=row.category,
        node_id=str(row.node),
        occur_time=timestamp(row.occurred_at),
        receive_time=timestamp(row.received_at),
        late=row.late,
        channel=row.channel,
        content_id=row.content_id,
        page_view_id=row.page_view_id,
        code_key=row.code_key,
        tz_offset_minutes=row.tz_offset_minutes,
        properties_json=row.properties.encode(),
        app=row.app,
        page=row.page,
        delivery_id=row.delivery_id,
        share_id=row.share_id,
        staff_code=row.staff_code,
    )
    return Outgoing(
        position=row.position,
        tenant=row.tenant,
        name=EVENT_NAME,
        partition_key=row.node,
        payload=message.SerializeToString(),
        time=row.received_at,
        type=TYPE,
        traceparent=row.traceparent,
    )
