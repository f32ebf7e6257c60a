"""Timeline: everything that happened to a node, over all services, by when it happened."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.postgres import driver_cursor
from services.identity.read_models.profile.entries import BEHAVIOUR, Entry
from services.identity.read_models.profile.told import tables

timeline: Final = sa.Table(
    "timeline",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("occurred_at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("event_id", sa.Text(collation="C"), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("service", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    # Behaviours are most of a timeline: what is looked for among the rest is not to be looked for among them.
    sa.Index(
        "timeline_without_behaviours",
        "tenant",
        "node",
        "occurred_at",
        "event_id",
        postgresql_where=sa.text(f"kind <> '{BEHAVIOUR}'"),
    ),
)

Place = tuple[datetime, str]
"""When an entry occurred and its event id: what a timeline is sorted by, the instant descending."""

_COPY: Final = (
    "COPY timeline (tenant, node, occurred_at, event_id, kind, type, service, ref, facts) FROM STDIN (FORMAT BINARY)"
)
_TYPES: Final = ("text", "uuid", "timestamptz", "text", "text", "text", "text", "text", "text")
_MINE: Final = "t.tenant = current_setting('scrm.tenant') AND t.node = n.node"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: of the kinds and types named, or of all; from `start` on and before `end`."""

    kinds: Sequence[str] = ()
    types: Sequence[str] = ()
    start: datetime | None = None
    end: datetime | None = None


def write(rows: sa.Connection, entries: Collection[Entry]) -> None:
    """Add entries; each message is told once, so that none is there already."""
    if not entries:
        return
    with driver_cursor(rows) as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_TYPES)
        for it in entries:
            copy.write_row(it)


def page_of(
    rows: sa.Connection, nodes: Sequence[UUID], wanted: Wanted, after: Place | None, limit: int
) -> Sequence[Any]:
    """Up to `limit` entries of the nodes behind `after`, newest first; each node's own are read by their index."""
    return rows.execute(*page_query(nodes, wanted, after, limit)).all()


def page_query(
    nodes: Sequence[UUID], wanted: Wanted, after: Place | None, limit: int
) -> tuple[sa.TextClause, dict[str, Any]]:
    """The statement of `page_of`, and its parameters."""
    conditions, parameters = [_MINE], {"nodes": list(nodes), "limit": limit}
    if wanted.kinds:
        conditions.append("t.kind = ANY(:kinds)")
        parameters["kinds"] = list(wanted.kinds)
        if BEHAVIOUR not in wanted.kinds:
            conditions.append(f"t.kind <> '{BEHAVIOUR}'")
    if wanted.types:
        conditions.append("t.type = ANY(:types)")
        parameters["types"] = list(wanted.types)
    if wanted.start:
        conditions.append("t.occurred_at >= :start")
        parameters["start"] = wanted.start
    if wanted.end:
        conditions.append("t.occurred_at < :end")
        parameters["end"] = wanted.end
    if after:
        conditions.append("t.occurred_at <= :at AND (t.occurred_at < :at OR t.event_id > :id)")
        parameters["at"], parameters["id"] = after
    order = "ORDER BY occurred_at DESC, event_id LIMIT :limit"
    mine = f"SELECT t.* FROM timeline t WHERE {' AND '.join(conditions)} {order}"  # noqa: S608
    every = (
        f"SELECT found.* FROM unnest(CAST(:nodes AS uuid[])) AS n(node) CROSS JOIN LATERAL ({mine}) AS found {order}"  # noqa: S608
    )
    return sa.text(every), parameters


def last_of(rows: sa.Connection, nodes: Sequence[UUID], kinds: Sequence[str]) -> datetime | None:
    """When the last entry of these kinds occurred."""
    found = page_of(rows, nodes, Wanted(kinds=kinds), None, 1)
    return found[0].occurred_at if found else None


def behaviours_since(rows: sa.Connection, nodes: Sequence[UUID], start: datetime) -> Sequence[Any]:
    """Type, instant, page view and facts of the behaviours from `start` on, in the order in which they occurred."""
    with driver_cursor(rows) as cursor:  # thousands of rows, of which the driver makes plain tuples
        return cursor.execute(_BEHAVIOURS, (list(nodes), start)).fetchall()


_BEHAVIOURS: Final = (
    "SELECT type, occurred_at, ref, facts FROM timeline t WHERE tenant = current_setting('scrm.tenant')"  # noqa: S608
    f" AND node = ANY(%s::uuid[]) AND occurred_at >= %s AND kind = '{BEHAVIOUR}' ORDER BY occurred_at, event_id"
)
