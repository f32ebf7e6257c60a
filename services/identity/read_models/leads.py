"""Leads: every lead as it is now. Their ids are UUIDv7: their order is that in which they were opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.lead import Lead, LeadState
from services.identity.read_models.upserting import Key, load, upsert

tables: Final = sa.MetaData()

leads: Final = sa.Table(
    "leads",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("lead", sa.Uuid, primary_key=True),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("score", sa.Integer, nullable=False),
    sa.Column("owner", sa.Uuid),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("order_id", sa.Uuid),
    sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("leads_by_state", "tenant", "state", "lead"),
    sa.Index("leads_by_owner", "tenant", "owner", "lead"),
    sa.Index("leads_by_node", "tenant", "node", "lead"),
)

_EVENTS: Final = (Lead.Opened, Lead.Changed, Lead.Won, Lead.Lost)


class LeadsProjection:
    """One row per lead."""

    name = "leads"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        told = [it for it in items if isinstance(it.event, _EVENTS)]
        opened = {_key(it) for it in told if isinstance(it.event, Lead.Opened)}
        found = load(rows, leads, {_key(it) for it in told} - opened)
        for it in told:
            key = _key(it)
            found[key] = _next(found.get(key, {"tenant": it.tenant}), it.event)
        upsert(rows, leads, found.values())


@dataclass(frozen=True, slots=True)
class LeadRow:
    """A lead; `order_id` is the one that won it."""

    lead: UUID
    node: UUID
    category: str
    score: int
    owner: UUID | None
    state: str
    reason: str
    order_id: UUID | None
    opened_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class LeadFilter:
    """Which leads; None: any."""

    state: LeadState | None = None
    owner: UUID | None = None
    nodes: Sequence[UUID] | None = None


def list_leads(rows: sa.Connection, wanted: LeadFilter, before: UUID | None, limit: int) -> list[LeadRow]:
    """Up to `limit` of them opened before the lead `before`, newest first."""
    query = sa.select(*(leads.c[it] for it in LeadRow.__slots__)).order_by(leads.c.lead.desc()).limit(limit)
    if wanted.state is not None:
        query = query.where(leads.c.state == wanted.state)
    if wanted.owner is not None:
        query = query.where(leads.c.owner == wanted.owner)
    if wanted.nodes is not None:
        query = query.where(leads.c.node.in_(wanted.nodes))
    if before is not None:
        query = query.where(leads.c.lead < before)
    return [LeadRow(**it) for it in rows.execute(query).mappings()]


def _key(recorded: Recorded) -> Key:
    return recorded.tenant, recorded.event.originator_id


def _next(row: dict[str, Any], event: object) -> dict[str, Any]:
    """The row after one more event."""
    match event:
        case Lead.Opened(originator_id=id, prospect=prospect, opened_at=at):
            fixed = {"lead": id, "node": prospect.node, "category": prospect.category, "opened_at": at}
            state = {"state": LeadState.NEW, "reason": "", "order_id": None, "changed_at": at}
            return row | fixed | state | {"score": prospect.score, "owner": prospect.owner}
        case Lead.Changed(prospect=prospect) as it:
            state = {"state": it.state, "changed_at": it.changed_at}
            return row | state | {"score": prospect.score, "owner": prospect.owner}
        case Lead.Won() as it:
            won = {"state": LeadState.WON, "reason": it.reason, "order_id": it.order}
            return row | won | {"changed_at": it.won_at}
        case Lead.Lost() as it:
            return row | {"state": LeadState.LOST, "reason": it.reason, "changed_at": it.lost_at}
    return row
