"""The newest rows of a customer: each node read from its end, and what was read put together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

Place: TypeAlias = tuple[datetime, UUID]
"""The instant and id of a row: its place in the list."""


def newest(
    place: tuple[sa.Column[datetime], sa.Column[UUID]],
    nodes: Sequence[UUID],
    before: Place | None,
    limit: int,
    only: sa.ColumnElement[bool] | None = None,
) -> sa.Select[Any]:
    """Up to `limit` rows of these nodes before `before`, newest first by `place`, of a table with a column `node`.

    With an index on tenant, node and `place` this reads at the most the number of nodes times `limit`, however much there is.
    """
    at, id = place
    table = at.table
    wanted = sa.func.unnest(sa.cast(list(nodes), ARRAY(sa.Uuid))).table_valued("node", name="wanted").render_derived()
    query = sa.select(table).where(table.c.node == wanted.c.node)
    if only is not None:
        query = query.where(only)
    if before is not None:
        query = query.where(sa.tuple_(at, id) < sa.tuple_(*before))
    part = query.order_by(at.desc(), id.desc()).limit(limit).lateral("part")
    ordered = part.c[at.name].desc(), part.c[id.name].desc()
    return sa.select(part).select_from(wanted.join(part, sa.true())).order_by(*ordered).limit(limit)
