"""SentMessages: what campaigns sent to whom, by the node it was sent to; built from its messages as they were kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.consumer import Incoming
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from scrm.campaigns.v1.events_pb2 import DeliverySent
from services.identity.read_models.newest import Place, newest

SENT: Final = DeliverySent.DESCRIPTOR.full_name

tables: Final = sa.MetaData()

messages: Final = sa.Table(
    "sent_messages",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("delivery", sa.Uuid, primary_key=True),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("broadcast", sa.Uuid, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Index("sent_messages_by_node", "tenant", "node", "sent_at", "delivery"),
)


class SentMessagesProjection:
    """One row per delivery."""

    name = "sent_messages"
    version = 1
    source: Source = "inbox"
    tables = tables

    def apply(self, items: Sequence[Incoming], rows: sa.Connection) -> None:
        sent = [_row(it) for it in items if it.type == SENT]
        if sent:
            with driver_cursor(rows) as cursor:
                cursor.execute(_ADD, columns(sent))


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message that was sent."""

    delivery: UUID
    node: UUID
    sent_at: datetime
    broadcast: UUID
    arm: str


def sent_messages(rows: sa.Connection, nodes: Sequence[UUID], before: Place | None, limit: int) -> list[MessageRow]:
    """Up to `limit` messages to these nodes before `before`, newest first."""
    chosen = newest((messages.c.sent_at, messages.c.delivery), nodes, before, limit)
    return [MessageRow(*(it[name] for name in MessageRow.__slots__)) for it in rows.execute(chosen).mappings()]


_ADD: Final = (
    "INSERT INTO sent_messages (tenant, delivery, node, sent_at, broadcast, arm) SELECT * FROM"
    " unnest(%s::text[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::uuid[], %s::text[])"
    " ON CONFLICT (tenant, delivery) DO NOTHING"
)


def _row(message: Incoming) -> tuple[str, UUID, UUID, datetime, UUID, str]:
    sent = message.parse(DeliverySent)
    at = sent.send_time.ToDatetime(UTC)
    return message.tenant, UUID(sent.delivery_id), UUID(sent.customer_id), at, UUID(sent.broadcast_id), sent.arm
