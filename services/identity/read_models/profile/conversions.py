"""Conversions: orders that count for a campaign, each with what it is worth as told last."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.campaigns.v1 import events_pb2 as pb
from services.identity.read_models.profile.told import amount, execute, instant, tables, uuid

conversions: Final = sa.Table(
    "told_conversions",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("broadcast", sa.Uuid, primary_key=True),
    sa.Column("order_id", sa.Uuid, primary_key=True),
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("net", sa.Numeric, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
)

_PUT: Final = (
    "INSERT INTO told_conversions (tenant, node, broadcast, order_id, variant, net, currency, paid_at) SELECT * FROM"
    " unnest(%s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::numeric[], %s::text[], %s::timestamptz[])"
    " ON CONFLICT (tenant, node, broadcast, order_id) DO UPDATE SET variant = excluded.variant, net = excluded.net,"
    " currency = excluded.currency, paid_at = excluded.paid_at"
)


class Conversions:
    """What a batch says last of each order and broadcast."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, UUID, UUID, UUID], tuple[str, Decimal, str, datetime]] = {}

    def take(self, tenant: str, message: Any) -> None:
        if isinstance(message, pb.ConversionRecorded):
            key = tenant, uuid(message.node_id), uuid(message.broadcast_id), uuid(message.order_id)
            self._found[key] = (
                message.variant,
                amount(message.net),
                message.net.currency_code,
                instant(message.pay_time),
            )

    def write(self, rows: sa.Connection) -> None:
        execute(rows, _PUT, [(*key, *it) for key, it in self._found.items()])


def conversions_of(rows: sa.Connection, nodes: Sequence[UUID], limit: int) -> Sequence[Any]:
    """Up to `limit` orders of the nodes that count for something, paid last first."""
    query = (
        sa.select(conversions)
        .where(
            conversions.c.tenant == sa.func.current_setting("scrm.tenant"),
            conversions.c.node.in_(nodes),
            conversions.c.net > 0,
        )
        .order_by(conversions.c.paid_at.desc(), conversions.c.order_id, conversions.c.broadcast)
        .limit(limit)
    )
    return rows.execute(query).all()
