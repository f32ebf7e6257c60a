"""BroadcastDirectory: every broadcast with how far it is and the sizes of its audience, for lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.builds import Source
from chassis.event_store import Recorded
from services.campaigns.domain.broadcast import Broadcast, State

tables: Final = sa.MetaData()

broadcast = sa.Table(
    "broadcasts",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("broadcast", sa.Uuid, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text),
    sa.Column("segment", sa.Uuid),
    sa.Column("snapshot", sa.Uuid),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("schedule_at", sa.DateTime(timezone=True)),
    sa.Column("opens_at", sa.DateTime(timezone=True)),
    sa.Column("completed_at", sa.DateTime(timezone=True)),
    sa.Column("rolled_out", sa.Text, nullable=False),
    sa.Column("cancel_reason", sa.Text, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("targeted", sa.BigInteger, nullable=False),
    sa.Column("global_control", sa.BigInteger, nullable=False),
    sa.Column("outside", sa.BigInteger, nullable=False),
    sa.Index("broadcasts_by_creation", "tenant", "created_at", "broadcast"),
)


class BroadcastDirectory:
    """One row per broadcast."""

    name = "broadcast_directory"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        for recorded in items:
            event = recorded.event
            if isinstance(event, Broadcast.Created):
                rows.execute(insert(broadcast).values(_created(recorded.tenant, event)))
            elif isinstance(event, _OF_BROADCAST):
                changed = {**_changed(event), "version": event.originator_version}
                key = (broadcast.c.tenant == recorded.tenant, broadcast.c.broadcast == event.originator_id)
                rows.execute(sa.update(broadcast).where(*key).values(changed))


_OF_BROADCAST: Final = (
    Broadcast.Redesigned,
    Broadcast.Approved,
    Broadcast.Cancelled,
    Broadcast.Opened,
    Broadcast.AudienceFrozen,
    Broadcast.PageAssigned,
    Broadcast.Started,
    Broadcast.BatchFinished,
    Broadcast.RolledOut,
    Broadcast.Completed,
)


def latest(rows: sa.Connection, limit: int, before: tuple[datetime, UUID] | None) -> list[Any]:
    """Up to `limit` broadcasts of the tenant, latest first, created before the key `before`."""
    order = (broadcast.c.created_at.desc(), broadcast.c.broadcast.desc())
    query = sa.select(broadcast).order_by(*order).limit(limit)
    if before is not None:
        query = query.where(sa.tuple_(broadcast.c.created_at, broadcast.c.broadcast) < before)
    return list(rows.execute(query))


def sizes(rows: sa.Connection, id: UUID) -> tuple[int, int, int] | None:
    """Members targeted, of these in the global control group, and outside of all ranges."""
    columns = (broadcast.c.targeted, broadcast.c.global_control, broadcast.c.outside)
    found = rows.execute(sa.select(*columns).where(broadcast.c.broadcast == id)).first()
    return (found[0], found[1], found[2]) if found else None


def _created(tenant: str, event: Broadcast.Created) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "broadcast": event.originator_id,
        "title": event.title,
        "experiment": event.experiment,
        "segment": event.segment,
        "snapshot": event.snapshot,
        "state": State.DRAFT,
        "schedule_at": event.schedule_at,
        "rolled_out": "",
        "cancel_reason": "",
        "created_at": event.created_at,
        "version": event.originator_version,
        "targeted": 0,
        "global_control": 0,
        "outside": 0,
    }


def _changed(event: Any) -> dict[str, Any]:
    match event:
        case Broadcast.Approved(schedule_at=at):
            return {"state": State.APPROVED, "schedule_at": at}
        case Broadcast.Cancelled(reason=reason):
            return {"state": State.CANCELLED, "cancel_reason": reason}
        case Broadcast.Opened(opens_at=at):
            return {"state": State.ASSIGNING, "opens_at": at}
        case Broadcast.AudienceFrozen(snapshot=snapshot):
            return {"snapshot": snapshot}
        case Broadcast.PageAssigned(counts=counts, global_control=removed, outside=outside):
            seen = sum(counts.values()) + removed + outside
            return {
                "targeted": broadcast.c.targeted + seen,
                "global_control": broadcast.c.global_control + removed,
                "outside": broadcast.c.outside + outside,
            }
        case Broadcast.Started():
            return {"state": State.SENDING}
        case Broadcast.RolledOut(arm=arm):
            return {"state": State.SENDING, "rolled_out": arm}
        case Broadcast.Completed(completed_at=at):
            return {"state": State.COMPLETED, "completed_at": at}
    return {}
