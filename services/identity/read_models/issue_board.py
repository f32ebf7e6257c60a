"""IssueBoard: what customers spoke of in which month, counted by topic for whoever makes and sells the product.

A work order or follow-up mentions each of its topics once, in the month in which it was made in the tenant's zone of that time. A
follow-up that was corrected mentions nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.follow_up import FollowUp
from services.identity.domain.service_hours import DEFAULT_HOURS, ServiceHours, month_of
from services.identity.domain.work_order import Matter, WorkOrder
from services.identity.read_models.upserting import Key

tables: Final = sa.MetaData()

mentions: Final = sa.Table(
    "issue_mentions",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("source", sa.Uuid, primary_key=True),
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("month", sa.Date, nullable=False),
    sa.Column("product", sa.Text),
    sa.Column("rating", sa.SmallInteger),
    sa.Index("issue_mentions_by_month", "tenant", "month", "topic"),
)

zones: Final = sa.Table(
    "issue_zones",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("zone", sa.Text, nullable=False),
)


_TOLD: Final = (
    ServiceHours.Changed,
    WorkOrder.Created,
    WorkOrder.Mirrored,
    WorkOrder.Rated,
    FollowUp.Recorded,
    FollowUp.Superseded,
)
"""The events that say anything about it."""


class IssueBoardProjection:
    """One row per work order or follow-up and topic."""

    name = "issue_board"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        told = [it for it in items if isinstance(it.event, _TOLD)]
        if not told:
            return
        changes = _Changes({it.tenant: it.zone for it in rows.execute(sa.select(zones))})
        for it in told:
            changes.take(it)
        changes.write(rows)


@dataclass(frozen=True, slots=True)
class IssueRow:
    """One topic of a month; `total` counts the mentions of all topics, `previous` those of this one in the month before."""

    topic: str
    mentions: int
    average_rating: float | None
    product: str | None
    total: int
    previous: int

    @property
    def share(self) -> float:
        return self.mentions / self.total

    @property
    def trend(self) -> float | None:
        """By what part it grew; None for a topic that is new."""
        return (self.mentions - self.previous) / self.previous if self.previous else None


def issue_board(rows: sa.Connection, month: date, limit: int) -> list[IssueRow]:
    """Up to `limit` topics of the month that begins with that day, the one mentioned most at the top."""
    before = (month - timedelta(days=1)).replace(day=1)
    found = rows.execute(_BOARD, {"month": month, "before": before, "limit": limit}).mappings()
    return [IssueRow(**it) for it in found]


_BOARD: Final = sa.text("""
WITH told AS (
  SELECT topic, count(*) AS mentions, avg(rating)::float8 AS average_rating,
    mode() WITHIN GROUP (ORDER BY product) AS product
  FROM issue_mentions WHERE month = :month GROUP BY topic
), before AS (
  SELECT topic, count(*) AS mentions FROM issue_mentions WHERE month = :before GROUP BY topic
)
SELECT told.*, CAST(sum(told.mentions) OVER () AS bigint) AS total, coalesce(before.mentions, 0) AS previous
FROM told LEFT JOIN before USING (topic) ORDER BY told.mentions DESC, topic LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class _Mention:
    """What one work order or follow-up says."""

    month: date
    topics: tuple[str, ...]
    product: str
    rating: int | None = None


@dataclass(slots=True)
class _Changes:
    """What a stretch of the log changes, gathered to be written in one statement per table and kind of change."""

    zones: dict[str, str]
    moved: set[str] = field(default_factory=set)
    told: dict[Key, _Mention] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)
    rated: dict[Key, int] = field(default_factory=dict)

    def take(self, recorded: Recorded) -> None:
        tenant, key = recorded.tenant, (recorded.tenant, recorded.event.originator_id)
        match recorded.event:
            case ServiceHours.Changed(hours=hours):
                self.zones[tenant] = hours.zone
                self.moved.add(tenant)
            case WorkOrder.Created(matter=matter, created_at=at, progress=progress):
                self.told[key] = self._of(tenant, matter, at, progress.rating)
            case WorkOrder.Mirrored(row=row):
                self.gone.add(key)
                self.rated.pop(key, None)
                self.told[key] = self._of(tenant, row.matter, row.created_at, row.progress.rating)
            case WorkOrder.Rated(rating=rating):
                if key in self.told:
                    self.told[key] = replace(self.told[key], rating=rating)
                else:
                    self.rated[key] = rating
            case FollowUp.Recorded(notes=notes, occurred_at=at):
                self.told[key] = _Mention(self._month(tenant, at), notes.topics, notes.product)
            case FollowUp.Superseded():
                self.gone.add(key)
                self.told.pop(key, None)

    def write(self, rows: sa.Connection) -> None:
        if self.moved:
            values = {"tenants": sorted(self.moved), "zones": [self.zones[it] for it in sorted(self.moved)]}
            rows.execute(_MOVE, values)
        if self.gone:
            rows.execute(_REMOVE, _keys(self.gone))
        if self.rated:
            rows.execute(_RATE, _keys(self.rated) | {"ratings": list(self.rated.values())})
        found = [(key, it, topic) for key, it in self.told.items() for topic in it.topics]
        if found:
            rows.execute(
                _ADD,
                _keys(key for key, _, _ in found)
                | {
                    "topics": [topic for _, _, topic in found],
                    "months": [it.month for _, it, _ in found],
                    "products": [it.product or None for _, it, _ in found],
                    "ratings": [it.rating for _, it, _ in found],
                },
            )

    def _of(self, tenant: str, matter: Matter, at: datetime, rating: int | None) -> _Mention:
        return _Mention(self._month(tenant, at), matter.topics, matter.product, rating)

    def _month(self, tenant: str, at: datetime) -> date:
        return month_of(at, self.zones.get(tenant, DEFAULT_HOURS.zone))


def _keys(keys: Iterable[Key]) -> dict[str, list[str] | list[UUID]]:
    found = list(keys)
    return {"tenants": [it for it, _ in found], "sources": [it for _, it in found]}


_MOVE: Final = sa.text(
    "INSERT INTO issue_zones (tenant, zone) SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:zones AS text[]))"
    " ON CONFLICT (tenant) DO UPDATE SET zone = excluded.zone"
)
_REMOVE: Final = sa.text(
    "DELETE FROM issue_mentions m USING unnest(CAST(:tenants AS text[]), CAST(:sources AS uuid[])) AS v(tenant, source)"
    " WHERE (m.tenant, m.source) = (v.tenant, v.source)"
)
_RATE: Final = sa.text(
    "UPDATE issue_mentions m SET rating = v.rating"
    " FROM unnest(CAST(:tenants AS text[]), CAST(:sources AS uuid[]), CAST(:ratings AS smallint[]))"
    " AS v(tenant, source, rating) WHERE (m.tenant, m.source) = (v.tenant, v.source)"
)
_ADD: Final = sa.text(
    "INSERT INTO issue_mentions (tenant, source, topic, month, product, rating)"
    " SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:sources AS uuid[]), CAST(:topics AS text[]),"
    " CAST(:months AS date[]), CAST(:products AS text[]), CAST(:ratings AS smallint[]))"
)
