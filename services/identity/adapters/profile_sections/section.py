"""What a section of a profile is, and what it is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import sqlalchemy as sa
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.org_queries import Guide
from services.identity.domain.consent import Permissions
from services.identity.domain.customer import Customer


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a profile is about, as of the last write, and at which instant; days and hours are those of `zone`.

    Whoever shows personal data in clear, which `unmasked` allows, notes the fields in `viewed`.
    """

    customer: Customer
    permissions: Sequence[Permissions]
    guide: Guide | None
    at: datetime
    zone: ZoneInfo
    unsealer: Unsealer
    unmasked: bool = False
    viewed: set[str] = field(default_factory=set)

    @property
    def nodes(self) -> list[UUID]:
        """The nodes of the customer, its own first."""
        return list(self.customer.nodes)


@dataclass(frozen=True, slots=True)
class Section:
    """`field` is its place in `ProfileSection`, `streams` whose messages it is made of: none for what is identity's own."""

    kind: "pb.ProfileSectionKind.ValueType"
    field: str
    streams: tuple[str, ...]
    read: Callable[[sa.Connection, Asked], Message]


def timestamp(at: datetime | None) -> Timestamp | None:
    """An instant on the wire; nothing for none."""
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def facts_of(row: Any) -> dict[str, Any]:
    """The facts of a row of the timeline."""
    found: dict[str, Any] = orjson.loads(row.facts)
    return found
