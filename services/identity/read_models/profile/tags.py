"""Tags as a profile shows them: what each customer has, with the day since when.

Tagging follows merges itself: who is part of another loses every tag, and the other gets them.
"""

from collections.abc import Sequence
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
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
)

_PUT: Final = (
    "INSERT INTO told_tags (tenant, customer, tag_key, value, source, since)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])"
    " ON CONFLICT (tenant, customer, tag_key)"
    " DO UPDATE SET value = excluded.value, source = excluded.source, since = excluded.since"
)
_DROP: Final = (
    "DELETE FROM told_tags t USING unnest(%s::text[], %s::uuid[], %s::text[]) AS gone(tenant, customer, tag_key)"
    " WHERE (t.tenant, t.customer, t.tag_key) = (gone.tenant, gone.customer, gone.tag_key)"
)

Key = tuple[str, UUID, str]


class Tags:
    """What a batch leaves of the tags it speaks of."""

    def __init__(self) -> None:
        self._found: dict[Key, tuple[Any, ...] | None] = {}

    def take(self, tenant: str, message: Any) -> None:
        match message:
            case pb.TagAssigned():
                self._found[self._key(tenant, message)] = (message.value, message.source, instant(message.time))
            case pb.TagRemoved():
                self._found[self._key(tenant, message)] = None

    def write(self, rows: sa.Connection) -> None:
        execute(rows, _PUT, [(*key, *it) for key, it in self._found.items() if it is not None])
        execute(rows, _DROP, [key for key, it in self._found.items() if it is None])

    @staticmethod
    def _key(tenant: str, message: Any) -> Key:
        return tenant, uuid(message.customer_id), message.tag_key


def tags_of(rows: sa.Connection, nodes: Sequence[UUID]) -> Sequence[Any]:
    """The tags of the customer of these nodes by their keys; where two nodes have one for the moment, the newer."""
    return rows.execute(_TAGS, {"nodes": list(nodes)}).all()


_TAGS: Final = sa.text(
    "SELECT DISTINCT ON (tag_key) * FROM told_tags WHERE tenant = current_setting('scrm.tenant')"
    " AND customer = ANY(CAST(:nodes AS uuid[])) ORDER BY tag_key, since DESC, customer"
)
