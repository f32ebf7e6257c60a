"""Tags as a profile shows them: what each customer has, with the day since when; of a tag with several values each one.

Tagging follows merges itself: who is part of another loses every tag, and the other gets them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.tagging.v1 import events_pb2 as pb
from services.identity.read_models.profile.told import execute, instant, tables, uuid

tags: Final = sa.Table(
    "told_tags",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("tag_key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("several", sa.Boolean, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
)

_PUT: Final = (
    "INSERT INTO told_tags (tenant, customer, tag_key, value, several, source, since)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::bool[], %s::text[], %s::timestamptz[])"
    " ON CONFLICT (tenant, customer, tag_key, value)"
    " DO UPDATE SET several = excluded.several, source = excluded.source, since = excluded.since"
)
_DROP: Final = (
    "DELETE FROM told_tags t USING unnest(%s::text[], %s::uuid[], %s::text[], %s::text[]) AS gone(tenant, customer, tag_key, value)"
    " WHERE (t.tenant, t.customer, t.tag_key, t.value) = (gone.tenant, gone.customer, gone.tag_key, gone.value)"
)
_DROP_OTHERS: Final = (
    "DELETE FROM told_tags t USING unnest(%s::text[], %s::uuid[], %s::text[]) AS gone(tenant, customer, tag_key)"
    " WHERE (t.tenant, t.customer, t.tag_key) = (gone.tenant, gone.customer, gone.tag_key)"
)

Tag = tuple[str, UUID, str]


class Tags:
    """What a batch leaves of the tags it speaks of: by value, and whether no value from before is left."""

    def __init__(self) -> None:
        self._found: dict[Tag, dict[str, tuple[bool, str, datetime] | None]] = {}
        self._replaced: set[Tag] = set()

    def take(self, tenant: str, message: Any) -> None:
        match message:
            case pb.TagAssigned():
                tag = self._tag(tenant, message)
                if not message.several:
                    self._replaced.add(tag)
                    self._found.pop(tag, None)
                self._found.setdefault(tag, {})[message.value] = (
                    message.several,
                    message.source,
                    instant(message.time),
                )
            case pb.TagRemoved():
                self._found.setdefault(self._tag(tenant, message), {})[message.value] = None

    def write(self, rows: sa.Connection) -> None:
        values = [(*tag, value, it) for tag, found in self._found.items() for value, it in found.items()]
        execute(rows, _DROP_OTHERS, list(self._replaced))
        execute(rows, _DROP, [(*key, value) for *key, value, it in values if it is None])
        execute(rows, _PUT, [(*key, value, *it) for *key, value, it in values if it is not None])

    @staticmethod
    def _tag(tenant: str, message: Any) -> Tag:
        return tenant, uuid(message.customer_id), message.tag_key


def tags_of(rows: sa.Connection, nodes: Sequence[UUID]) -> Sequence[Any]:
    """The tags of the customer of these nodes by their keys and values; what two nodes have for the moment stands once, as the
    newer."""
    return rows.execute(_TAGS, {"nodes": list(nodes)}).all()


_TAGS: Final = sa.text(
    "SELECT DISTINCT ON (tag_key, CASE WHEN several THEN value END) * FROM told_tags WHERE tenant = current_setting('scrm.tenant')"
    " AND customer = ANY(CAST(:nodes AS uuid[])) ORDER BY tag_key, CASE WHEN several THEN value END, since DESC, customer"
)
