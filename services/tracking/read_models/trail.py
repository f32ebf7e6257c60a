"""What a customer did, read from the behaviours of the nodes the customer consists of now."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from services.tracking.domain.trail import ENGAGED, LEFT, OUTSIDE_SESSIONS, VIEWED, Behaviour, Trail, TrailEntry
from services.tracking.domain.trail_page import Before, FamilySessions, FirstView, contents_needed, page_entries

Place = tuple[datetime, datetime, str, str]

_COLUMNS: Final = (
    "message_id, source_key, event_type, category, node, occurred_at, received_at, channel, app, page,"
    " content_id, page_view_id, properties"
)
_MINE: Final = "tenant = current_setting('scrm.tenant') AND node = ANY(:nodes)"

# As `Behaviour.place` compares: texts by their code points.
_PLACE: Final = 'occurred_at, received_at, message_id COLLATE "C", source_key COLLATE "C"'
_GIVEN: Final = (
    "CAST(:at AS timestamptz), CAST(:received_at AS timestamptz), CAST(:message AS text), CAST(:source AS text)"
)
_EARLIER: Final = f"{_MINE} AND occurred_at <= :at AND ({_PLACE}) < ({_GIVEN})"

_OF_NODES: Final = sa.text(f"SELECT {_COLUMNS} FROM behaviours WHERE {_MINE}")  # noqa: S608
_ANY: Final = sa.text(f"SELECT EXISTS (SELECT FROM behaviours WHERE {_MINE})")  # noqa: S608

# Node by node, because so each is read in the order of the index and no further than the page.
_PAGE: Final = """
SELECT found.* FROM unnest(CAST(:nodes AS uuid[])) AS one(id) CROSS JOIN LATERAL (
    SELECT {columns} FROM behaviours
    WHERE tenant = current_setting('scrm.tenant') AND node = one.id {bounds} ORDER BY {place} LIMIT :limit
) found ORDER BY {place} LIMIT :limit
"""

_OF_VIEWS: Final = sa.text(
    f"SELECT {_COLUMNS} FROM behaviours WHERE {_MINE} AND page_view_id = ANY(:views) AND page_view_id <> ''"  # noqa: S608
    " AND event_type = ANY(:types)"
)

_SESSIONS: Final = sa.text(
    f"""
SELECT family, count(*), count(*) FILTER (WHERE inside AND coalesce(occurred_at - before > interval '30 minutes', true)),
    max(occurred_at) FILTER (WHERE inside)
FROM (
    SELECT family, inside, occurred_at, lag(occurred_at) OVER (PARTITION BY family, inside ORDER BY occurred_at) AS before
    FROM (
        SELECT coalesce(nullif(app, ''), channel) AS family, event_type <> ALL(:outside) AS inside, occurred_at
        FROM behaviours WHERE {_EARLIER}
    ) earlier
) rows
GROUP BY family
"""  # noqa: S608
)

_VIEWS: Final = sa.text(
    f"""
SELECT page_view_id, content_id, occurred_at FROM (
    SELECT DISTINCT ON (page_view_id) page_view_id, content_id, occurred_at
    FROM behaviours WHERE {_EARLIER} AND event_type = '{VIEWED}' ORDER BY page_view_id, {_PLACE}
) firsts WHERE content_id = ANY(:contents) ORDER BY occurred_at
"""  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of a trail that is asked for: from `start` on, before `end`, after the row at `after`; None for no such bound."""

    start: datetime | None = None
    end: datetime | None = None
    after: Place | None = None

    @property
    def is_from_the_beginning(self) -> bool:
        return self.start is None and self.after is None


def trail_of(rows: sa.Connection, nodes: Sequence[UUID]) -> Trail:
    """The whole trail: opens and sessions are counted from its beginning."""
    return Trail(Behaviour(*it) for it in rows.execute(_OF_NODES, {"nodes": list(nodes)}))


def is_there_any(rows: sa.Connection, nodes: Sequence[UUID]) -> bool:
    """Whether there is a behaviour at all."""
    return bool(rows.scalar(_ANY, {"nodes": list(nodes)}))


def trail_page(rows: sa.Connection, nodes: Sequence[UUID], stretch: Stretch, limit: int) -> list[TrailEntry]:
    """The first `limit` rows of a stretch, as they are in the whole trail.

    Of what comes before them only sums are taken, by the database; of what comes after only what belongs to their page views.
    """
    page = _page(rows, nodes, stretch, limit)
    if not page:
        return []
    views = {it.page_view_id for it in page if it.event_type in (VIEWED, ENGAGED)}
    given = {"nodes": list(nodes), "views": sorted(views), "types": [VIEWED, ENGAGED, LEFT]}
    of_views = [Behaviour(*it) for it in rows.execute(_OF_VIEWS, given)] if views else []
    is_first = stretch.is_from_the_beginning
    before = Before() if is_first else _before(rows, nodes, page[0].place, contents_needed(of_views))
    return page_entries(page, of_views, before)


def _page(rows: sa.Connection, nodes: Sequence[UUID], stretch: Stretch, limit: int) -> list[Behaviour]:
    bounds, given = "", dict[str, Any](nodes=list(nodes), limit=limit)
    if stretch.start is not None:
        bounds, given["start"] = f"{bounds} AND occurred_at >= :start", stretch.start
    if stretch.end is not None:
        bounds, given["end"] = f"{bounds} AND occurred_at < :end", stretch.end
    if stretch.after is not None:
        bounds, given = (
            f"{bounds} AND occurred_at >= :at AND ({_PLACE}) > ({_GIVEN})",
            {**given, **_place(stretch.after)},
        )
    statement = _PAGE.format(columns=_COLUMNS, bounds=bounds, place=_PLACE)
    return [Behaviour(*it) for it in rows.execute(sa.text(statement), given)]


def _before(rows: sa.Connection, nodes: Sequence[UUID], place: Place, contents: Collection[str]) -> Before:
    given = {"nodes": list(nodes), **_place(place)}
    families = rows.execute(_SESSIONS, {**given, "outside": sorted(OUTSIDE_SESSIONS)}).all()
    views = rows.execute(_VIEWS, {**given, "contents": sorted(contents)}) if contents else ()
    return Before(
        rows=sum(count for _, count, _, _ in families),
        sessions={family: FamilySessions(number, last_at) for family, _, number, last_at in families},
        views=[FirstView(*it) for it in views],
    )


def _place(place: Place) -> dict[str, Any]:
    at, received_at, message, source = place
    return {"at": at, "received_at": received_at, "message": message, "source": source}
