"""Relations as a profile shows them: shares with those who came through them, and community groups, all by node."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.tracking.v1 import events_pb2 as pb
from scrm.tracking.v1 import group_pb2
from services.identity.read_models.profile.told import execute, instant, tables, uuid

shares: Final = sa.Table(
    "told_shares",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("share_id", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, nullable=False),
    sa.Column("content_id", sa.Text, nullable=False),
    sa.Column("activity_id", sa.Text, nullable=False),
    sa.Column("depth", sa.Integer, nullable=False),
    sa.Column("shared_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("told_shares_node", "tenant", "node"),
)
visits: Final = sa.Table(
    "told_visits",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("share_id", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("visited_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("told_visits_node", "tenant", "node"),
)
groups: Final = sa.Table(
    "told_groups",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("group_id", sa.Text, primary_key=True),
    sa.Column("is_in", sa.Boolean, nullable=False),
    sa.Column("inferred", sa.Boolean, nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
)

_SHARE: Final = (
    "INSERT INTO told_shares (tenant, share_id, node, content_id, activity_id, depth, shared_at) SELECT * FROM"
    " unnest(%s::text[], %s::text[], %s::uuid[], %s::text[], %s::text[], %s::int[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
)
_VISIT: Final = (
    "INSERT INTO told_visits (tenant, share_id, node, visited_at)"
    " SELECT * FROM unnest(%s::text[], %s::text[], %s::uuid[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
)
_GROUP: Final = (
    "INSERT INTO told_groups AS g (tenant, node, group_id, is_in, inferred, changed_at)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::bool[], %s::bool[], %s::timestamptz[])"
    " ON CONFLICT (tenant, node, group_id) DO UPDATE SET is_in = excluded.is_in, inferred = excluded.inferred,"
    " changed_at = excluded.changed_at WHERE g.changed_at <= excluded.changed_at"
)


class Relations:
    """What a batch says of shares and groups; of a group the last change by when it happened counts."""

    def __init__(self) -> None:
        self._shares: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._visits: dict[tuple[str, str, UUID], Any] = {}
        self._groups: dict[tuple[str, UUID, str], tuple[Any, ...]] = {}

    def take(self, tenant: str, message: Any) -> None:
        match message:
            case pb.ShareCreated() as it:
                about = uuid(it.node_id), it.content_id, it.activity_id, it.depth, instant(it.share_time)
                self._shares[tenant, it.share_id] = about
            case pb.ShareVisited() as it:
                self._visits[tenant, it.share_id, uuid(it.node_id)] = instant(it.visit_time)
            case pb.GroupMembershipChanged() as it:
                key, at = (tenant, uuid(it.node_id), it.group_id), instant(it.change_time)
                known = self._groups.get(key)
                if known is None or known[-1] <= at:
                    self._groups[key] = it.change == group_pb2.GROUP_CHANGE_JOINED, it.inferred, at

    def write(self, rows: sa.Connection) -> None:
        execute(rows, _SHARE, [(*key, *it) for key, it in self._shares.items()])
        execute(rows, _VISIT, [(*key, it) for key, it in self._visits.items()])
        execute(rows, _GROUP, [(*key, *it) for key, it in self._groups.items()])


def shares_of(rows: sa.Connection, nodes: Sequence[UUID]) -> Sequence[Any]:
    """The shares made by the nodes, newest first, each with how many nodes of others came through it."""
    return rows.execute(_SHARES, {"nodes": list(nodes)}).all()


def visitors_of(rows: sa.Connection, nodes: Sequence[UUID]) -> int:
    """How many nodes of others came through any share of the nodes."""
    return int(rows.scalar(_VISITORS, {"nodes": list(nodes)}) or 0)


def brought_by(rows: sa.Connection, nodes: Sequence[UUID]) -> Any:
    """The share of somebody else through which one of the nodes came first, with who made it and when that was; None without."""
    return rows.execute(_BROUGHT_BY, {"nodes": list(nodes)}).first()


def groups_of(rows: sa.Connection, nodes: Sequence[UUID], limit: int) -> Sequence[Any]:
    """Up to `limit` groups that one of the nodes is in, the one joined last first."""
    return rows.execute(_GROUPS, {"nodes": list(nodes), "limit": limit}).all()


_MINE: Final = "tenant = current_setting('scrm.tenant') AND node = ANY(CAST(:nodes AS uuid[]))"
_OTHERS: Final = (
    "told_visits v WHERE v.tenant = s.tenant AND v.share_id = s.share_id AND v.node <> ALL(CAST(:nodes AS uuid[]))"
)
_SHARES: Final = sa.text(
    f"SELECT s.*, (SELECT count(*) FROM {_OTHERS}) AS visitors FROM told_shares s WHERE {_MINE}"  # noqa: S608
    " ORDER BY s.shared_at DESC, s.share_id"
)
_VISITORS: Final = sa.text(
    "SELECT count(DISTINCT v.node) FROM told_shares s JOIN told_visits v ON (v.tenant, v.share_id) = (s.tenant, s.share_id)"
    " WHERE s.tenant = current_setting('scrm.tenant') AND s.node = ANY(CAST(:nodes AS uuid[]))"
    " AND v.node <> ALL(CAST(:nodes AS uuid[]))"
)
_BROUGHT_BY: Final = sa.text(
    "SELECT v.share_id, s.node, v.visited_at FROM told_visits v"
    " JOIN told_shares s ON (s.tenant, s.share_id) = (v.tenant, v.share_id)"
    " WHERE v.tenant = current_setting('scrm.tenant') AND v.node = ANY(CAST(:nodes AS uuid[]))"
    " AND s.node <> ALL(CAST(:nodes AS uuid[])) ORDER BY v.visited_at, v.share_id LIMIT 1"
)
_GROUPS: Final = sa.text(
    "SELECT group_id, min(changed_at) AS joined_at, bool_and(inferred) AS inferred FROM told_groups"  # noqa: S608
    f" WHERE {_MINE} AND is_in GROUP BY group_id ORDER BY joined_at DESC, group_id LIMIT :limit"
)
