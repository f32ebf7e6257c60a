"""AssignmentKeys: the key of each node, for finding customers by how theirs begins."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.postgres import columns, driver_cursor
from chassis.projection import Source
from services.identity.domain.customer import Customer
from services.identity.read_models.erased import erased_in

tables: Final = sa.MetaData()

keys: Final = sa.Table(
    "assignment_keys",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Text(collation="C"), nullable=False),
    sa.Index("assignment_keys_by_key", "tenant", "key", "node"),
)

_PUT: Final = (
    "INSERT INTO assignment_keys AS k (tenant, node, key) SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[])"
    " ON CONFLICT (tenant, node) DO UPDATE SET key = excluded.key WHERE k.key <> excluded.key"
)
_DROP: Final = (
    "DELETE FROM assignment_keys k USING unnest(%s::text[], %s::uuid[]) AS gone(tenant, node)"
    " WHERE (k.tenant, k.node) = (gone.tenant, gone.node)"
)
_END: Final = "\U0010ffff"
"""Sorts behind everything that may follow a prefix."""


class AssignmentKeysProjection:
    """One row per node that is not erased; of two keys in a batch the later."""

    name = "assignment_keys"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        found = {
            (it.tenant, it.event.originator_id): it.event.assignment_key
            for it in items
            if isinstance(it.event, Customer.Registered | Customer.BecameKnown)
        }
        if found:
            with driver_cursor(rows) as cursor:
                cursor.execute(_PUT, columns([(*node, key) for node, key in found.items()]))
        if erased := erased_in(items):
            with driver_cursor(rows) as cursor:
                cursor.execute(_DROP, columns(erased))


def keys_with_prefix(rows: sa.Connection, prefix: str, after: tuple[str, UUID] | None, limit: int) -> Sequence[Any]:
    """Up to `limit` keys with their nodes that begin with `prefix`, behind `after`, by key and node."""
    return rows.execute(prefix_query(prefix, after, limit)).all()


def prefix_query(prefix: str, after: tuple[str, UUID] | None, limit: int) -> sa.Select[Any]:
    """The statement of `keys_with_prefix`."""
    place = sa.tuple_(keys.c.key, keys.c.node)
    query = (
        sa.select(keys.c.key, keys.c.node)
        .where(
            keys.c.tenant == sa.func.current_setting("scrm.tenant"), keys.c.key >= prefix, keys.c.key < prefix + _END
        )
        .order_by(keys.c.key, keys.c.node)
        .limit(limit)
    )
    return query.where(place > sa.tuple_(*map(sa.literal, after))) if after else query
