"""MergeHistory: every merge with what it brought, and whether it was taken back.

The ids of merges are UUIDv7: their order is that of the merges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.customer import Customer
from services.identity.read_models.upserting import upsert

tables: Final = sa.MetaData()

merges: Final = sa.Table(
    "merges",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("merge_id", sa.Uuid, primary_key=True),
    sa.Column("survivor", sa.Uuid, nullable=False),
    sa.Column("loser", sa.Uuid, nullable=False),
    sa.Column("nodes", ARRAY(sa.Uuid), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("merged_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("undone_at", sa.DateTime(timezone=True)),
    sa.Column("undo_reason", sa.Text),
    sa.Index("merges_by_survivor", "tenant", "survivor", "merge_id"),
    sa.Index("merges_by_loser", "tenant", "loser", "merge_id"),
)


class MergeHistoryProjection:
    """One row per merge."""

    name = "merge_history"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        made = [it for it in items if isinstance(it.event, Customer.Merged)]
        if made:
            upsert(rows, merges, [_row(it) for it in made])
        undone = [it for it in items if isinstance(it.event, Customer.Restored)]
        if undone:
            rows.execute(_UNDO, [_undoing(it) for it in undone])


@dataclass(frozen=True, slots=True)
class MergeRow:
    """One merge; `undone_at` is None while it stands."""

    merge_id: UUID
    survivor: UUID
    loser: UUID
    nodes: tuple[UUID, ...]
    reason: str
    merged_at: datetime
    undone_at: datetime | None
    undo_reason: str | None


def merge_history(rows: sa.Connection, nodes: Sequence[UUID], before: UUID | None, limit: int) -> list[MergeRow]:
    """Up to `limit` merges in which one of `nodes` was survivor or loser, newest first, made before the merge `before`."""
    query = (
        sa.select(*(merges.c[it] for it in MergeRow.__slots__))
        .where(merges.c.survivor.in_(nodes) | merges.c.loser.in_(nodes))
        .order_by(merges.c.merge_id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(merges.c.merge_id < before)
    return [MergeRow(**{**it, "nodes": tuple(it["nodes"])}) for it in rows.execute(query).mappings()]


_UNDO: Final = (
    sa.update(merges)
    .where(merges.c.tenant == sa.bindparam("of_tenant"), merges.c.merge_id == sa.bindparam("of_merge"))
    .values(undone_at=sa.bindparam("at"), undo_reason=sa.bindparam("why"))
)


def _row(recorded: Recorded) -> dict[str, object]:
    event = recorded.event
    assert isinstance(event, Customer.Merged)  # noqa: S101 - chosen by the caller
    return {
        "tenant": recorded.tenant,
        "merge_id": event.merge_id,
        "survivor": event.originator_id,
        "loser": event.loser_id,
        "nodes": list(event.node_ids),
        "reason": event.reason,
        "merged_at": event.merged_at,
        "undone_at": None,
        "undo_reason": None,
    }


def _undoing(recorded: Recorded) -> dict[str, object]:
    event = recorded.event
    assert isinstance(event, Customer.Restored)  # noqa: S101 - chosen by the caller
    return {
        "of_tenant": recorded.tenant,
        "of_merge": event.merge_id,
        "at": event.restored_at,
        "why": event.reason,
    }
