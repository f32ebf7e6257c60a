"""How content is read (TR-6), counted out of behaviours and orders for the customers as they are known now.

Nothing is stored for it, so late facts, merges and their undoing count at once. PostgreSQL sums up page views; what makes an open of
them is said in one place, the domain.
"""

# ruff: noqa: S608
# The SQL is made of constants of this module.

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from services.tracking.domain.content import Reading, View, reading_of
from services.tracking.domain.trail import dwell_seconds

_VIEWS: Final = """
WITH views AS MATERIALIZED (
  SELECT b.content_id, b.page_view_id, b.share_id, coalesce(n.customer, b.node) AS customer, min(b.occurred_at) AS at
  FROM behaviours b LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
  WHERE b.tenant = current_setting('scrm.tenant') AND b.content_id = ANY(:ids) AND b.content_id <> ''
    AND b.event_type = 'content_viewed' AND b.occurred_at >= :start AND b.occurred_at < :end
  GROUP BY 1, 2, 3, 4
)
"""

# Buckets are a number, which means so many from the start, or a list of those that were active; never summed, always united.
_PAGE_VIEWS: Final = sa.text(
    _VIEWS
    + """, loads AS MATERIALIZED (
  SELECT content_id, page_view_id, customer, min(at) AS at FROM views GROUP BY 1, 2, 3
), said AS MATERIALIZED (
  SELECT v.content_id, v.page_view_id, v.customer, e.event_type, e.properties::jsonb AS p
  FROM loads v JOIN behaviours e ON e.tenant = current_setting('scrm.tenant') AND e.page_view_id = v.page_view_id
    AND e.page_view_id <> '' AND e.event_type IN ('content_engaged', 'content_left')
  LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (e.tenant, e.node)
  WHERE coalesce(n.customer, e.node) = v.customer
), sums AS (
  SELECT content_id, page_view_id, customer,
    max((p ->> 'active_buckets')::bigint) FILTER (WHERE jsonb_typeof(p -> 'active_buckets') = 'number') AS from_start,
    max((coalesce(p ->> 'wall_ms', p ->> 'duration_ms'))::numeric) AS wall_ms,
    max((p ->> 'scroll_pct')::numeric) AS percent
  FROM said GROUP BY 1, 2, 3
), buckets AS (
  SELECT s.content_id, s.page_view_id, s.customer, count(DISTINCT bucket::bigint) AS others
  FROM said s JOIN sums USING (content_id, page_view_id, customer)
  CROSS JOIN LATERAL jsonb_array_elements_text(
    CASE WHEN jsonb_typeof(s.p -> 'active_buckets') = 'array' THEN s.p -> 'active_buckets' ELSE '[]' END) AS bucket
  WHERE bucket::bigint >= coalesce(sums.from_start, 0) GROUP BY 1, 2, 3
)
SELECT v.content_id, v.customer, v.at, coalesce(s.from_start, 0) + coalesce(b.others, 0) AS buckets,
  s.wall_ms::bigint AS wall_ms, coalesce(s.percent, 0)::float AS percent
FROM loads v LEFT JOIN sums s USING (content_id, page_view_id, customer)
LEFT JOIN buckets b USING (content_id, page_view_id, customer)
"""
)
_CLICKS: Final = """
SELECT b.content_id, {day} AS day, b.subject, count(*), count(DISTINCT coalesce(n.customer, b.node))
FROM behaviours b LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
WHERE b.tenant = current_setting('scrm.tenant') AND b.content_id = ANY(:ids) AND b.content_id <> ''
  AND b.event_type = 'button_clicked' AND b.occurred_at >= :start AND b.occurred_at < :end
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_SHARES: Final = """
SELECT b.content_id, {day} AS day, count(*) FROM behaviours b
WHERE b.tenant = current_setting('scrm.tenant') AND b.content_id = ANY(:ids) AND b.content_id <> ''
  AND b.event_type IN ('content_shared', 'content_forwarded') AND b.occurred_at >= :start AND b.occurred_at < :end
GROUP BY 1, 2
"""
_SHARE_BACKS: Final = (
    _VIEWS
    + """
SELECT b.content_id, {day} AS day, count(DISTINCT (b.share_id, b.customer)) FROM (
  SELECT content_id, share_id, customer, at AS occurred_at FROM views WHERE share_id <> ''
) b WHERE NOT EXISTS (
  SELECT FROM behaviours s LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (s.tenant, s.node)
  WHERE s.tenant = current_setting('scrm.tenant') AND s.share_id = b.share_id AND s.share_id <> ''
    AND s.event_type IN ('content_shared', 'content_forwarded') AND coalesce(n.customer, s.node) = b.customer
) GROUP BY 1, 2
"""
)
_CONVERSIONS: Final = (
    _VIEWS
    + """
SELECT b.content_id, {day} AS day, count(*) FROM (
  SELECT content_id, customer, min(at) AS occurred_at FROM views GROUP BY 1, 2
) b WHERE EXISTS (
  SELECT FROM (
    SELECT b.customer AS node UNION SELECT n.node FROM customer_nodes n
    WHERE n.tenant = current_setting('scrm.tenant') AND n.customer = b.customer
  ) mine JOIN orders o ON o.tenant = current_setting('scrm.tenant') AND o.node = mine.node
  WHERE o.net > 0 AND o.paid_at >= b.occurred_at AND o.paid_at < b.occurred_at + interval '7 days'
) GROUP BY 1, 2
"""
)

Key = tuple[str, str]
"""A content, and a day or nothing."""


@dataclass(frozen=True, slots=True)
class ContentsWanted:
    """What happened from `start` to before `end` on these contents; with a `zone` for each of its days."""

    ids: Sequence[str]
    start: datetime
    end: datetime
    zone: str = ""


@dataclass(frozen=True, slots=True)
class ButtonClicks:
    """Clicks on a button, and how many people they are of."""

    button_id: str
    clicks: int
    people: int


@dataclass(slots=True)
class ContentCounts:
    """What there is to tell of a content, in all or on one `day`."""

    content_id: str
    day: str
    reading: Reading
    buttons: list[ButtonClicks] = field(default_factory=list)
    shares: int = 0
    share_backs: int = 0
    conversions: int = 0


def content_stats(rows: sa.Connection, wanted: ContentsWanted) -> list[ContentCounts]:
    """By content and day."""
    given = {"ids": list(wanted.ids), "start": wanted.start, "end": wanted.end}
    day = "(b.occurred_at AT TIME ZONE :zone)::date::text" if wanted.zone else "''"

    def ask(query: str) -> Sequence[Any]:
        return rows.execute(
            sa.text(query.format(day=day)), given | ({"zone": wanted.zone} if wanted.zone else {})
        ).all()

    counts: dict[Key, ContentCounts] = {}

    def of(content_id: str, day: str) -> ContentCounts:
        return counts.setdefault((content_id, day), ContentCounts(content_id, day, reading_of(())))

    for key, views in _views(rows.execute(_PAGE_VIEWS, given), _day_of(wanted.zone)).items():
        of(*key).reading = reading_of(views)
    for content_id, on, button_id, clicks, people in ask(_CLICKS):
        of(content_id, on).buttons.append(ButtonClicks(button_id, clicks, people))
    for content_id, on, count in ask(_SHARES):
        of(content_id, on).shares = count
    for content_id, on, count in ask(_SHARE_BACKS):
        of(content_id, on).share_backs = count
    for content_id, on, count in ask(_CONVERSIONS):
        of(content_id, on).conversions = count
    return [counts[key] for key in sorted(counts)]


def _views(found: Any, day_of: Callable[[datetime], str]) -> dict[Key, list[View]]:
    views: dict[Key, list[View]] = {}
    for content_id, customer, at, buckets, wall_ms, percent in found:
        view = View(customer, at, dwell_seconds(buckets, wall_ms), percent)
        views.setdefault((content_id, day_of(at)), []).append(view)
    return views


def _day_of(zone: str) -> Callable[[datetime], str]:
    if not zone:
        return lambda at: ""
    there = ZoneInfo(zone)
    return lambda at: at.astimezone(UTC).astimezone(there).date().isoformat()
