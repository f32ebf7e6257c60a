"""Who was ever given a tag by hand: the nodes, so that a merge or its undoing moves nothing."""

from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa

from services.tagging.read_models import sql

_NOTE = (
    "INSERT INTO tag_holders (tenant, tag, node) SELECT %s, * FROM unnest(%s::text[], %s::uuid[])"
    " ON CONFLICT DO NOTHING"
)
_EVER = (
    "SELECT count(DISTINCT n.customer) FROM tag_holders h JOIN nodes n ON n.tenant = h.tenant AND n.node = h.node"
    " WHERE h.tenant = %s AND h.tag = %s"
)


def note(rows: sa.Connection, tenant: str, given: Iterable[tuple[str, UUID]]) -> None:
    """Note tags with the nodes that were given them."""
    sql.run_all(rows, _NOTE, tenant, sorted(set(given)))


def ever(rows: sa.Connection, tenant: str, tag: str) -> int:
    """How many customers were ever given the tag."""
    (count,) = sql.fetch(rows, _EVER, tenant, tag)[0]
    return int(count)
