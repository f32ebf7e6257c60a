"""Names: under which hashed words each node is found."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from services.identity.domain.name_index import NameIndex

tables: Final = sa.MetaData()

words: Final = sa.Table(
    "name_words",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Index("name_words_by_node", "tenant", "node"),
)

_DROP: Final = (
    "DELETE FROM name_words w USING unnest(%s::text[], %s::uuid[]) AS gone(tenant, node)"
    " WHERE (w.tenant, w.node) = (gone.tenant, gone.node)"
)
_ADD: Final = "INSERT INTO name_words (tenant, node, hash) SELECT * FROM unnest(%s::text[], %s::uuid[], %s::bytea[])"


class NamesProjection:
    """Replaces the words of the nodes that were indexed anew."""

    name = "names"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        found = {(it.tenant, it.event.node): it.event.hashes for it in items if isinstance(it.event, NameIndex.Indexed)}
        added = [(*node, it) for node, hashes in found.items() for it in hashes]
        if not found:
            return
        with driver_cursor(rows) as cursor:
            cursor.execute(_DROP, columns(list(found)))
            if added:
                cursor.execute(_ADD, columns(added))


def nodes_named(rows: sa.Connection, hashes: Sequence[bytes], after: UUID | None, limit: int) -> list[UUID]:
    """Up to `limit` nodes behind `after` that are found under every one of these words; none without a word."""
    return list(rows.scalars(named_query(hashes, after, limit))) if hashes else []


def named_query(hashes: Sequence[bytes], after: UUID | None, limit: int) -> sa.Select[Any]:
    """The statement of `nodes_named`: the nodes of the first word, and of each whether it has the others."""
    first, *others = hashes
    tenant = sa.func.current_setting("scrm.tenant")
    query = sa.select(words.c.node).where(words.c.tenant == tenant, words.c.hash == first)
    for number, it in enumerate(others):
        other = words.alias(f"w{number}")
        has = sa.select(sa.literal(1)).where(other.c.tenant == tenant, other.c.hash == it, other.c.node == words.c.node)
        query = query.where(has.exists())
    if after is not None:
        query = query.where(words.c.node > after)
    return query.order_by(words.c.node).limit(limit)
