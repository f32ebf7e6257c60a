"""What is read of the messages of other services: which there are, and what stands in them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.postgres import columns, driver_cursor
from scrm.campaigns.v1 import events_pb2 as campaigns
from scrm.identity.v1 import events_pb2 as identity
from scrm.membership.v1 import events_pb2 as membership
from scrm.tagging.v1 import events_pb2 as tagging
from scrm.tracking.v1 import events_pb2 as tracking

tables: Final = sa.MetaData()
"""All tables of the read model."""

_READ: Final[Sequence[type[Message]]] = (
    tracking.BehaviourTracked,
    tracking.OrderPlaced,
    tracking.OrderPaid,
    tracking.OrderPaymentRevised,
    tracking.OrderRefunded,
    tracking.OrderShipped,
    tracking.OrderReceived,
    tracking.OrderCancelled,
    tracking.ShareCreated,
    tracking.ShareVisited,
    tracking.GroupMembershipChanged,
    tagging.TagAssigned,
    tagging.TagRemoved,
    tagging.ModelDefined,
    tagging.ModelActivated,
    tagging.LayerChanged,
    membership.MemberJoined,
    membership.MemberJoinedEarlier,
    membership.MemberRevoked,
    membership.MembersMerged,
    membership.MembersUnmerged,
    membership.MemberRestored,
    membership.PointsGranted,
    membership.PointsActivated,
    membership.PointsBurned,
    membership.PointsRestored,
    membership.PointsExpired,
    membership.PointsReversed,
    membership.PointsDebtOffset,
    membership.PointsAccountsMerged,
    membership.PointsAccountsSplit,
    membership.PointsAccountRestored,
    campaigns.DeliverySent,
    campaigns.ConversionRecorded,
    identity.CustomerErased,
)

MESSAGES: Final[Mapping[str, type[Message]]] = {it.DESCRIPTOR.full_name: it for it in _READ}
"""The messages that are read, by their full names."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS: Final = 1_000_000_000


@lru_cache(maxsize=16_384)
def uuid(text: str) -> UUID:
    """An id; those of customers come again and again."""
    return UUID(text)


def instant(stamp: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def amount(money: Money) -> Decimal:
    """The sum without its currency; exact."""
    return Decimal(money.units) + Decimal(money.nanos) / _NANOS


def execute(rows: sa.Connection, statement: str, values: Sequence[Sequence[Any]]) -> None:
    """One statement for all `values`, whose columns are its arrays; nothing for none."""
    if values:
        with driver_cursor(rows) as cursor:
            cursor.execute(statement, columns(values))
