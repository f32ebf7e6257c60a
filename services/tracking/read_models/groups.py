"""Groups: who joined and left when, and how much of each group takes part, for customers as they are known now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.log import Recorded
from chassis.projection import Source
from services.tracking.domain.group import GroupMembership

tables: Final = sa.MetaData()

moves: Final = sa.Table(
    "group_moves",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("group_id", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("joined", sa.Boolean, primary_key=True),
    sa.Column("inferred", sa.Boolean, nullable=False),
)

# Only what changes something counts: who joins again without having left is still in it. A person is in a group with any of
# their nodes.
_STATS: Final = sa.text("""
WITH known AS MATERIALIZED (
  SELECT m.group_id, coalesce(n.customer, m.node) AS customer, m.node, m.at, m.joined,
    lag(m.joined) OVER (PARTITION BY m.group_id, m.node ORDER BY m.at, m.joined) AS was_in,
    lead(m.at) OVER (PARTITION BY m.group_id, m.node ORDER BY m.at, m.joined) IS NULL AS is_last
  FROM group_moves m LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (m.tenant, m.node)
  WHERE m.tenant = current_setting('scrm.tenant') AND m.group_id = ANY(:ids) AND m.at < :end
), members AS MATERIALIZED (
  SELECT DISTINCT group_id, customer FROM known WHERE is_last AND joined
), active AS MATERIALIZED (
  SELECT DISTINCT b.group_id, coalesce(n.customer, b.node) AS customer
  FROM behaviours b LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
  WHERE b.tenant = current_setting('scrm.tenant') AND b.group_id = ANY(:ids) AND b.group_id <> ''
    AND b.event_type IN ('group_message_sent', 'activity_joined', 'checkin', 'link_clicked')
    AND b.occurred_at >= :start AND b.occurred_at < :end
)
SELECT k.group_id,
  (SELECT count(*) FROM members m WHERE m.group_id = k.group_id),
  count(*) FILTER (WHERE k.at >= :start AND k.joined AND k.was_in IS NOT TRUE),
  count(*) FILTER (WHERE k.at >= :start AND NOT k.joined AND k.was_in),
  (SELECT count(*) FROM members m JOIN active a USING (group_id, customer) WHERE m.group_id = k.group_id)
FROM known k GROUP BY k.group_id ORDER BY k.group_id
""")


class GroupsProjection:
    """Keeps the table: a row for each fact."""

    name = "groups"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        found = [
            {
                "tenant": it.tenant,
                "group_id": it.event.group_id,
                "node": it.event.node,
                "at": it.event.moved_at,
                "joined": it.event.change == "JOINED",
                "inferred": it.event.inferred,
            }
            for it in items
            if isinstance(it.event, GroupMembership.Moved)
        ]
        if found:
            rows.execute(insert(moves), found)


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """The members of a group at the end of some time; during it who joined, who left, and how many of the members took part."""

    group_id: str
    size: int
    joins: int
    leaves: int
    active: int


def group_stats(rows: sa.Connection, ids: Sequence[str], start: datetime, end: datetime) -> list[GroupCounts]:
    """Of those groups of which somebody was ever a member, by id."""
    return [GroupCounts(*it) for it in rows.execute(_STATS, {"ids": list(ids), "start": start, "end": end})]
