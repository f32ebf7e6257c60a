"""Who was ever given a tag by hand: the nodes, so that a merge or its undoing moves nothing."""

from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa

from services.tagging.read_models import sql

_NOTE = (
    "INSERT INTO tag_holders (tenant, tag, node) SELECT %s, * FROM unnest(%s::text[], %s::uuid[])"
    " ON CONFLICT DO NOTHING"
)
_AFTER = (
    "SELECT node FROM tag_holders WHERE tenant = %s AND tag = %s AND (%s::uuid IS NULL OR node > %s)"
    " ORDER BY node LIMIT %s"
)
_EVER = (
    "SELECT count(DISTINCT n.customer) FROM tag_holders h JOIN nodes n ON n.tenant = h.tenant AND n.node = h.node"
    " WHERE h.tenant = %s AND h.tag = %s"
)


def note(rows: sa.Connection, tenant: str, given: Iterable[tuple[str, UUID]]) -> None:
    """Note tags with the nodes that were given them."""
    sql.run_all(rows, _NOTE, tenant, sorted(set(given)))


def after(rows: sa.Connection, tenant: str, tag: str, node: UUID | None, limit: int) -> list[UUID]:
    """Up to `limit` nodes behind `node` that were ever given the tag."""
    return [found for (found,) in sql.fetch(rows, _AFTER, tenant, tag, node, node, limit)]


def ever(rows: sa.Connection, tenant: str, tag: str) -> int:
    """How many customers were ever given the tag."""
    (count,) = sql.fetch(rows, _EVER, tenant, tag)[0]
    return int(count)
