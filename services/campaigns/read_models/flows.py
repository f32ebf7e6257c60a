"""FlowDirectory: every flow with how far it is, for lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.builds import Source
from chassis.event_store import Recorded
from services.campaigns.domain.flow import Flow, FlowState

tables: Final = sa.MetaData()

flow = sa.Table(
    "flows",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("flow", sa.Uuid, primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Index("flows_by_creation", "tenant", "created_at", "flow"),
)


class FlowDirectory:
    """One row per flow."""

    name = "flow_directory"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        for recorded in items:
            event = recorded.event
            if isinstance(event, Flow.Created):
                rows.execute(insert(flow).values(_created(recorded.tenant, event)))
            elif isinstance(event, Flow.Redrafted | Flow.Published | Flow.Ended):
                changed = {**_changed(event), "version": event.originator_version}
                key = (flow.c.tenant == recorded.tenant, flow.c.flow == event.originator_id)
                rows.execute(sa.update(flow).where(*key).values(changed))


def latest(rows: sa.Connection, limit: int, before: tuple[datetime, UUID] | None) -> list[Any]:
    """Up to `limit` flows of the tenant, latest first, created before the key `before`."""
    query = sa.select(flow).order_by(flow.c.created_at.desc(), flow.c.flow.desc()).limit(limit)
    if before is not None:
        query = query.where(sa.tuple_(flow.c.created_at, flow.c.flow) < before)
    return list(rows.execute(query))


def _created(tenant: str, event: Flow.Created) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "flow": event.originator_id,
        "title": event.title,
        "state": FlowState.DRAFT,
        "number": 0,
        "created_at": event.created_at,
        "version": event.originator_version,
    }


def _changed(event: Any) -> dict[str, Any]:
    match event:
        case Flow.Redrafted(title=title):
            return {"title": title}
        case Flow.Published(number=number):
            return {"state": FlowState.PUBLISHED, "number": number}
    return {"state": FlowState.ENDED}
