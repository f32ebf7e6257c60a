"""Shares: the trees they form, who came through them, and the relations that come of it, for customers as they are now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.log import Recorded
from chassis.projection import Source
from services.tracking.domain.erasure import Erasure
from services.tracking.domain.shares import Share

CREDIT: Final = timedelta(days=30)
"""For how long after a visit a purchase is its doing."""

tables: Final = sa.MetaData()

shares: Final = sa.Table(
    "shares",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("share_id", sa.Text, primary_key=True),
    sa.Column("parent", sa.Text, nullable=False),
    sa.Column("root", sa.Text, nullable=False),
    sa.Column("depth", sa.Integer, nullable=False),
    sa.Column("content_id", sa.Text, nullable=False),
    sa.Column("activity_id", sa.Text, nullable=False),
    sa.Column("shared_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("shares_by_root", "tenant", "root"),
    sa.Index("shares_by_id", "tenant", "share_id"),
)

_TENANT: Final = "current_setting('scrm.tenant')"
_VISIT: Final = "b.share_id <> '' AND b.event_type NOT IN ('content_shared', 'content_forwarded')"
_PERSON: Final = "LEFT JOIN customer_nodes {0} ON {0}.tenant = {1} AND {0}.node = {2}.node"
_SHARED: Final = f"""
  SELECT s.share_id, s.parent, s.depth, s.shared_at, s.content_id, s.activity_id, coalesce(p.customer, s.node) AS sharer
  FROM shares s {_PERSON.format("p", _TENANT, "s")} WHERE s.tenant = {_TENANT}
"""  # noqa: S608
_TREE: Final = sa.text(
    f"""
WITH tree AS ({_SHARED} AND s.root = :root),
visits AS (
  SELECT t.share_id, coalesce(v.customer, b.node) AS visitor FROM tree t
  JOIN behaviours b ON b.tenant = {_TENANT} AND b.share_id = t.share_id AND {_VISIT}
  {_PERSON.format("v", _TENANT, "b")}
  WHERE coalesce(v.customer, b.node) <> t.sharer GROUP BY 1, 2
), visitors AS (
  SELECT DISTINCT v.visitor, coalesce(n.node, v.visitor) AS node FROM visits v
  LEFT JOIN customer_nodes n ON n.tenant = {_TENANT} AND n.customer = v.visitor
), paid AS (
  SELECT v.visitor, o.order_id, o.paid_at FROM visitors v
  JOIN order_paths o ON o.tenant = {_TENANT} AND o.node = v.node AND o.net > 0 AND o.paid_at IS NOT NULL
), credited AS (
  SELECT last.share_id, count(*) AS conversions FROM paid CROSS JOIN LATERAL (
    SELECT b.share_id FROM visitors w
    JOIN behaviours b ON b.tenant = {_TENANT} AND b.node = w.node AND {_VISIT}
      AND b.occurred_at <= paid.paid_at AND b.occurred_at >= paid.paid_at - CAST(:credit AS interval)
    JOIN shares s ON s.tenant = {_TENANT} AND s.share_id = b.share_id
    {_PERSON.format("p", _TENANT, "s")}
    WHERE w.visitor = paid.visitor AND coalesce(p.customer, s.node) <> paid.visitor
    ORDER BY b.occurred_at DESC, b.received_at DESC, b.message_id DESC LIMIT 1
  ) last GROUP BY 1
)
SELECT t.*, (SELECT count(*) FROM visits v WHERE v.share_id = t.share_id) AS share_backs, coalesce(c.conversions, 0) AS conversions
FROM tree t LEFT JOIN credited c USING (share_id) ORDER BY t.depth, t.shared_at, t.share_id
"""  # noqa: S608
)
_ROOT: Final = sa.text(f"SELECT root FROM shares WHERE tenant = {_TENANT} AND share_id = :share")  # noqa: S608
_RELATIONS: Final = sa.text(
    f"""
SELECT coalesce(v.customer, b.node) AS visitor, count(DISTINCT b.share_id) AS weight, max(b.occurred_at) AS last_at
FROM shares s JOIN behaviours b ON b.tenant = {_TENANT} AND b.share_id = s.share_id AND {_VISIT}
{_PERSON.format("v", _TENANT, "b")}
WHERE s.tenant = {_TENANT} AND s.node = ANY(:nodes) AND b.node <> ALL(:nodes)
GROUP BY 1 HAVING (CAST(:weight AS bigint) IS NULL OR (-count(DISTINCT b.share_id), coalesce(v.customer, b.node)) > (:weight, :visitor))
ORDER BY 2 DESC, 1 LIMIT :limit
"""  # noqa: S608
)


class SharesProjection:
    """Keeps the shares; those of somebody who is erased stay in their trees, under a reference that leads to nobody."""

    name = "shares"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        made = [
            {
                "tenant": it.tenant,
                "node": it.event.node,
                "share_id": it.event.share_id,
                "parent": it.event.parent,
                "root": it.event.root,
                "depth": it.event.depth,
                "content_id": it.event.content_id,
                "activity_id": it.event.activity_id,
                "shared_at": it.event.shared_at,
            }
            for it in items
            if isinstance(it.event, Share.Created)
        ]
        if made:
            rows.execute(insert(shares), made)
        for it in items:
            if isinstance(it.event, Erasure.Begun):
                mine = shares.c.tenant == it.tenant, shares.c.node.in_(it.event.node_ids)
                rows.execute(sa.update(shares).where(*mine).values(node=it.event.erased_ref))


@dataclass(frozen=True, slots=True)
class TreeShare:
    """A share of a tree: who else came through it, and their purchases that are its doing."""

    share_id: str
    parent: str
    depth: int
    shared_at: datetime
    content_id: str
    activity_id: str
    sharer: UUID
    share_backs: int
    conversions: int


@dataclass(frozen=True, slots=True)
class Relation:
    """That `visitor` came through `weight` shares of somebody, the last time at `last_at`."""

    visitor: UUID
    weight: int
    last_at: datetime


def tree_of(rows: sa.Connection, share_id: str) -> list[TreeShare]:
    """The whole tree that a share is part of, from its root down; empty if there is no such share."""
    root = rows.scalar(_ROOT, {"share": share_id})
    if root is None:
        return []
    return [TreeShare(*it) for it in rows.execute(_TREE, {"root": root, "credit": CREDIT})]


def relations_of(
    rows: sa.Connection, nodes: Sequence[UUID], after: tuple[int, UUID] | None, limit: int
) -> list[Relation]:
    """Those who came through shares of the customer that `nodes` make, the heaviest first; behind `after`: (-weight, visitor)."""
    weight, visitor = after or (None, None)
    found = rows.execute(_RELATIONS, {"nodes": list(nodes), "weight": weight, "visitor": visitor, "limit": limit})
    return [Relation(*it) for it in found]
