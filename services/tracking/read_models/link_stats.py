"""Hits on links and submissions of forms (TR-7), counted out of behaviours for the customers as they are known now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

_LINKS: Final = sa.text("""
SELECT key, count(*) FILTER (WHERE NOT prefetch), count(DISTINCT customer) FILTER (WHERE NOT prefetch),
  count(*) FILTER (WHERE prefetch)
FROM (
  SELECT b.subject AS key, coalesce(n.customer, b.node) AS customer,
    coalesce(b.properties::jsonb -> 'prefetch' = 'true'::jsonb, false) AS prefetch
  FROM behaviours b LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
  WHERE b.tenant = current_setting('scrm.tenant') AND b.event_type = 'link_clicked' AND b.subject = ANY(:keys)
    AND b.subject <> '' AND b.occurred_at >= :start AND b.occurred_at < :end
) hits GROUP BY key ORDER BY key
""")
_FORMS: Final = sa.text("""
SELECT b.subject, count(*), count(DISTINCT coalesce(n.customer, b.node))
FROM behaviours b LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
WHERE b.tenant = current_setting('scrm.tenant') AND b.event_type = 'form_submitted' AND b.subject = ANY(:keys)
  AND b.subject <> '' AND b.occurred_at >= :start AND b.occurred_at < :end
GROUP BY 1 ORDER BY 1
""")


@dataclass(frozen=True, slots=True)
class LinkHits:
    """Clicks by people on one link, how many people they are of, and hits of what is nobody."""

    short_code: str
    clicks: int
    people: int
    prefetches: int


@dataclass(frozen=True, slots=True)
class FormSubmissions:
    """Submissions of one form, and how many people they are of."""

    form_id: str
    submissions: int
    people: int


def link_hits(rows: sa.Connection, keys: Sequence[str], start: datetime, end: datetime) -> list[LinkHits]:
    """Of those that were hit, by code."""
    return [LinkHits(*it) for it in rows.execute(_LINKS, {"keys": list(keys), "start": start, "end": end})]


def form_submissions(rows: sa.Connection, keys: Sequence[str], start: datetime, end: datetime) -> list[FormSubmissions]:
    """Of those that were submitted, by id."""
    return [FormSubmissions(*it) for it in rows.execute(_FORMS, {"keys": list(keys), "start": start, "end": end})]
