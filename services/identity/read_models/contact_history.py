"""ContactHistory: what customers and the brand had to do with each other, newest first, by node.

Words that were said are in it as they were sealed. Messages that were sent are a read model of their own, since others tell of them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.follow_up import Contact, FollowUp
from services.identity.domain.sealing import Sealed
from services.identity.domain.work_order import Matter, WorkOrder
from services.identity.read_models.concerned import concerning
from services.identity.read_models.newest import Place, newest
from services.identity.read_models.sent_messages import sent_messages
from services.identity.read_models.upserting import Key, upsert

tables: Final = sa.MetaData()

entries: Final = sa.Table(
    "contact_entries",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("entry", sa.Uuid, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("direction", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("duration_seconds", sa.Integer),
    sa.Column("staff", sa.Uuid),
    sa.Column("stage", sa.Text),
    sa.Column("next_follow_at", sa.DateTime(timezone=True)),
    sa.Column("topics", ARRAY(sa.Text), nullable=False),
    sa.Column("supersedes", sa.Uuid),
    sa.Column("superseded_by", sa.Uuid),
    sa.Column("content", sa.LargeBinary),
    sa.Index("contact_entries_by_node", "tenant", "node", "occurred_at", "entry"),
)


class EntryKind(StrEnum):
    """What an entry tells of."""

    FOLLOW_UP = "FOLLOW_UP"
    CONTACT = "CONTACT"
    WORK_ORDER = "WORK_ORDER"
    DELIVERY = "DELIVERY"


_EVENTS: Final = frozenset(
    {FollowUp.Superseded, FollowUp.Recorded, Contact.Recorded, WorkOrder.Created, WorkOrder.Mirrored}
)


class ContactHistoryProjection:
    """One row per follow-up, contact and work order."""

    name = "contact_history"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        found: dict[Key, dict[str, Any]] = {}
        superseded: list[dict[str, Any]] = []
        for it in items:
            event, key = it.event, (it.tenant, it.event.originator_id)
            if isinstance(event, FollowUp.Superseded):
                superseded.append({"of_tenant": it.tenant, "of_entry": event.originator_id, "by": event.by})
            elif (row := _row(event)) is not None:
                found[key] = {"tenant": it.tenant, "entry": event.originator_id, "topics": [], **row}
        upsert(rows, entries, found.values())
        if superseded:
            rows.execute(_SUPERSEDE, superseded)


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One entry; `code` is the type of a follow-up, the channel of a contact, the kind of a work order or the arm of a broadcast."""

    entry: UUID
    kind: EntryKind
    node: UUID
    occurred_at: datetime
    code: str
    direction: str | None = None
    result: str | None = None
    duration_seconds: int | None = None
    staff: UUID | None = None
    stage: str | None = None
    next_follow_at: datetime | None = None
    topics: Sequence[str] = ()
    supersedes: UUID | None = None
    superseded_by: UUID | None = None
    content: Sealed | None = None
    broadcast: UUID | None = None


def contact_history(
    rows: sa.Connection, nodes: Sequence[UUID], kinds: Collection[EntryKind], before: Place | None, limit: int
) -> list[EntryRow]:
    """Up to `limit` entries of these nodes and kinds (none: all), newest first, before `before`."""
    found: list[EntryRow] = []
    if not kinds or set(kinds) - {EntryKind.DELIVERY}:
        only = entries.c.kind.in_(sorted(kinds)) if kinds else None
        chosen = newest((entries.c.occurred_at, entries.c.entry), nodes, before, limit, only)
        found += [_entry(it) for it in rows.execute(chosen).mappings()]
    if not kinds or EntryKind.DELIVERY in kinds:
        sent = sent_messages(rows, nodes, before, limit)
        found += [
            EntryRow(it.delivery, EntryKind.DELIVERY, it.node, it.sent_at, it.arm, "OUTBOUND", broadcast=it.broadcast)
            for it in sent
        ]
    found.sort(key=lambda it: (it.occurred_at, it.entry), reverse=True)
    return found[:limit]


def _entry(row: sa.RowMapping) -> EntryRow:
    return EntryRow(
        **{name: value for name, value in row.items() if name != "tenant"} | {"kind": EntryKind(row["kind"])}
    )


_SUPERSEDE: Final = (
    sa.update(entries)
    .where(entries.c.tenant == sa.bindparam("of_tenant"), entries.c.entry == sa.bindparam("of_entry"))
    .values(superseded_by=sa.bindparam("by"))
)


def _row(event: object) -> dict[str, Any] | None:
    match event:
        case FollowUp.Recorded(notes=notes) as it:
            return {
                "kind": EntryKind.FOLLOW_UP,
                "node": it.node,
                "occurred_at": it.occurred_at,
                "code": notes.type,
                "staff": it.staff,
                "stage": notes.stage,
                "next_follow_at": notes.next_follow_at,
                "topics": list(notes.topics),
                "supersedes": it.supersedes,
                "content": notes.content,
            }
        case Contact.Recorded() as it:
            return {
                "kind": EntryKind.CONTACT,
                "node": it.node,
                "occurred_at": it.occurred_at,
                "code": it.channel,
                "direction": it.direction,
                "result": it.result,
                "duration_seconds": it.duration_seconds,
                "staff": it.staff,
            }
        case WorkOrder.Created(matter=matter, created_at=at):
            return _work_order(matter, at)
        case WorkOrder.Mirrored(row=told):
            return _work_order(told.matter, told.created_at)
    return None


def _work_order(matter: Matter, at: datetime) -> dict[str, Any]:
    return {
        "kind": EntryKind.WORK_ORDER,
        "node": matter.node,
        "occurred_at": at,
        "code": matter.kind,
        "topics": list(matter.topics),
    }
