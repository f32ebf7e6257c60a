"""Contents: which ids are registered, which are only reported, and who viewed them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from chassis.log import Recorded
from chassis.projection import Source
from services.tracking.domain.content import Content

tables: Final = sa.MetaData()

contents: Final = sa.Table(
    "contents",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("content_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("button_ids", ARRAY(sa.Text), nullable=False),
    sa.Column("labels", ARRAY(sa.Text), nullable=False),
)

_put = insert(contents)
_PUT: Final = _put.on_conflict_do_update(
    index_elements=["tenant", "content_id"],
    set_={it.name: _put.excluded[it.name] for it in contents.c if not it.primary_key},
)

# From id to id by the index, so that what is registered and what is viewed a million times costs one step each.
_UNREGISTERED: Final = sa.text("""
WITH RECURSIVE ids (content_id) AS (
  (SELECT b.content_id FROM behaviours b WHERE b.tenant = current_setting('scrm.tenant') AND b.content_id <> ''
    AND b.content_id > :after ORDER BY b.content_id LIMIT 1)
  UNION ALL
  SELECT (SELECT b.content_id FROM behaviours b WHERE b.tenant = current_setting('scrm.tenant') AND b.content_id <> ''
    AND b.content_id > ids.content_id ORDER BY b.content_id LIMIT 1) FROM ids WHERE ids.content_id IS NOT NULL
)
SELECT i.content_id, (SELECT max(b.occurred_at) FROM behaviours b WHERE b.tenant = current_setting('scrm.tenant')
  AND b.content_id <> '' AND b.content_id = i.content_id) AS last_at
FROM ids i WHERE i.content_id IS NOT NULL AND NOT EXISTS (
  SELECT FROM contents c WHERE (c.tenant, c.content_id) = (current_setting('scrm.tenant'), i.content_id)
) LIMIT :limit
""")
_VIEWERS: Final = sa.text("""
SELECT DISTINCT coalesce(n.customer, b.node) AS customer FROM behaviours b
LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
WHERE b.tenant = current_setting('scrm.tenant') AND b.content_id = :content AND b.content_id <> ''
  AND b.event_type = 'content_viewed' AND b.occurred_at >= :start AND b.occurred_at < :end
  AND coalesce(n.customer, b.node) > :after
ORDER BY customer LIMIT :limit
""")


class ContentsProjection:
    """Keeps the table: the last that was said of each content."""

    name = "contents"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        said: dict[tuple[str, str], dict[str, Any]] = {}
        for it in items:
            match it.event:
                case Content.Registered(content_id=id, design=design) | Content.Changed(content_id=id, design=design):
                    said[it.tenant, id] = {
                        "tenant": it.tenant,
                        "content_id": id,
                        "kind": design.kind,
                        "title": design.title,
                        "button_ids": [button.button_id for button in design.buttons],
                        "labels": [button.label for button in design.buttons],
                    }
        if said:
            rows.execute(_PUT, list(said.values()))


@dataclass(frozen=True, slots=True)
class Unregistered:
    """A content that is only reported."""

    content_id: str
    last_at: datetime


def buttons_of(rows: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """By the id of each registered content the labels of its buttons by their ids."""
    found = rows.execute(sa.select(contents).where(contents.c.content_id.in_(ids)))
    return {it.content_id: dict(zip(it.button_ids, it.labels, strict=True)) for it in found}


def unregistered(rows: sa.Connection, after: str, limit: int) -> list[Unregistered]:
    """Up to `limit` contents behind the id `after`, by their ids."""
    return [Unregistered(*it) for it in rows.execute(_UNREGISTERED, {"after": after, "limit": limit})]


def viewers(
    rows: sa.Connection, content_id: str, start: datetime, end: datetime, after: UUID, limit: int
) -> list[UUID]:
    """Up to `limit` customers behind `after` who viewed the content, by their ids."""
    given = {"content": content_id, "start": start, "end": end, "after": after, "limit": limit}
    return list(rows.scalars(_VIEWERS, given))
