"""TagHistory: every assignment from its beginning to its end, how many came and went on each day, and what staff did (TG-2)."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.tagging.domain.tags import Assignment, Cause, CustomerTags
from services.tagging.domain.tenant_settings import DEFAULT_ZONE, TenantSettings
from services.tagging.read_models import sql

tables: Final = sa.MetaData()
_INSTANT: Final = sa.DateTime(timezone=True)

periods: Final = sa.Table(
    "tag_periods",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("opened", sa.BigInteger, primary_key=True),
    sa.Column("slot", sa.Text, nullable=False),
    sa.Column("tag_key", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("since", _INSTANT, nullable=False),
    sa.Column("until", _INSTANT),
    sa.Column("end_cause", sa.Text),
    sa.Index("tag_periods_open", "tenant", "customer", "slot", postgresql_where=sa.text("until IS NULL")),
)
days: Final = sa.Table(
    "tag_days",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("tag_key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("came", sa.BigInteger, nullable=False),
    sa.Column("went", sa.BigInteger, nullable=False),
)
staff: Final = sa.Table(
    "staff_tagging",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("actor", sa.Text, primary_key=True),
    sa.Column("assigned", sa.BigInteger, nullable=False),
    sa.Column("removed", sa.BigInteger, nullable=False),
)
zones: Final = sa.Table(
    "tag_zones",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("zone", sa.Text, nullable=False),
)

_OPEN: Final = (
    "SELECT p.tenant, p.customer, p.slot, p.opened, p.tag_key, p.value FROM tag_periods p"
    " JOIN unnest(%s::text[], %s::uuid[]) AS k(tenant, customer) USING (tenant, customer) WHERE p.until IS NULL"
)
_INSERT: Final = (
    "INSERT INTO tag_periods (tenant, customer, opened, slot, tag_key, value, source, cause, since, until, end_cause)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[],"
    " %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[])"
)
_CLOSE: Final = (
    "UPDATE tag_periods p SET until = k.until, end_cause = k.cause"
    " FROM unnest(%s::text[], %s::uuid[], %s::bigint[], %s::timestamptz[], %s::text[])"
    " AS k(tenant, customer, opened, until, cause)"
    " WHERE (p.tenant, p.customer, p.opened) = (k.tenant, k.customer, k.opened)"
)
_FORGET: Final = (
    "DELETE FROM tag_periods p USING unnest(%s::text[], %s::uuid[]) AS k(tenant, customer)"
    " WHERE (p.tenant, p.customer) = (k.tenant, k.customer)"
)
_COUNT: Final = (
    "INSERT INTO tag_days AS d (tenant, tag_key, value, day, came, went)"
    " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::date[], %s::bigint[], %s::bigint[])"
    " ON CONFLICT (tenant, tag_key, value, day)"
    " DO UPDATE SET came = d.came + excluded.came, went = d.went + excluded.went"
)
_STAFF: Final = (
    "INSERT INTO staff_tagging AS s (tenant, day, actor, assigned, removed)"
    " SELECT * FROM unnest(%s::text[], %s::date[], %s::text[], %s::bigint[], %s::bigint[])"
    " ON CONFLICT (tenant, day, actor)"
    " DO UPDATE SET assigned = s.assigned + excluded.assigned, removed = s.removed + excluded.removed"
)
_ZONES: Final = "SELECT tenant, zone FROM tag_zones WHERE tenant = ANY(%s)"
_ZONE: Final = (
    "INSERT INTO tag_zones (tenant, zone) SELECT * FROM unnest(%s::text[], %s::text[])"
    " ON CONFLICT (tenant) DO UPDATE SET zone = excluded.zone"
)

Slot = tuple[str, UUID, str]


class TagHistoryProjection:
    """Keeps the tables; of a batch, each with one statement."""

    name = "tag_history"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        wanted = [it for it in items if isinstance(it.event, _TOLD)]
        if wanted:
            batch = _Batch(rows, wanted)
            for it in wanted:
                batch.take(it)
            batch.write(rows)


class _Batch:
    """What a batch makes of the tables. `opened` are periods by their slots: row, or what is known of one stored before."""

    def __init__(self, rows: sa.Connection, items: Iterable[Recorded]) -> None:
        told = [it for it in items if not isinstance(it.event, TenantSettings.Updated)]
        customers = {(it.tenant, it.event.customer): None for it in told}  # type: ignore[attr-defined]
        known = sql.fetch(rows, _ZONES, sorted({it.tenant for it in told}))
        self._zones = {tenant: ZoneInfo(zone) for tenant, zone in known}
        self._open: dict[Slot, tuple[int, str, str]] = {}
        for tenant, customer, slot, *period in _fetch(rows, _OPEN, list(customers)):
            self._open[tenant, customer, slot] = (period[0], period[1], period[2])
        self._new: dict[tuple[str, UUID, int], list[Any]] = {}
        self._closed: dict[tuple[str, UUID, int], tuple[datetime, str]] = {}
        self._forgotten: set[tuple[str, UUID]] = set()
        self._days: dict[tuple[str, str, str, date], list[int]] = {}
        self._staff: dict[tuple[str, date, str], list[int]] = {}
        self._changed_zones: dict[str, str] = {}

    def take(self, it: Recorded) -> None:
        match it.event:
            case TenantSettings.Updated(time_zone=zone):
                self._zones[it.tenant], self._changed_zones[it.tenant] = ZoneInfo(zone), zone
            case CustomerTags.Assigned(assignment=assignment, cause=cause, since=since):
                self._assigned(it, it.event.customer, assignment, cause, since or assignment.at)
            case CustomerTags.Removed() as event:
                self._removed(it, event)
            case CustomerTags.Forgotten(customer=customer):
                self._forgotten.add((it.tenant, customer))
                self._new = {key: row for key, row in self._new.items() if key[:2] != (it.tenant, customer)}

    def write(self, rows: sa.Connection) -> None:
        _run(rows, _INSERT, [(*key, *row) for key, row in self._new.items()])
        _run(rows, _CLOSE, [(*key, *end) for key, end in self._closed.items()])
        _run(rows, _FORGET, sorted(self._forgotten))
        _run(rows, _COUNT, [(*key, *counts) for key, counts in sorted(self._days.items())])
        _run(rows, _STAFF, [(*key, *counts) for key, counts in sorted(self._staff.items())])
        _run(rows, _ZONE, list(self._changed_zones.items()))

    def _assigned(self, it: Recorded, customer: UUID, new: Assignment, cause: Cause, since: datetime) -> None:
        slot = (it.tenant, customer, new.key)
        before = self._open.get(slot)
        if before is not None:
            self._close(slot, before[0], since, Cause.SUPERSEDED)
        if before is None or before[1:] != (new.tag, new.value):
            self._count(it.tenant, new.tag, new.value, since)[0] += 1
            if before is not None:
                self._count(it.tenant, before[1], before[2], since)[1] += 1
        self._open[slot] = (it.position, new.tag, new.value)
        self._new[it.tenant, customer, it.position] = [
            new.key,
            new.tag,
            new.value,
            new.source,
            str(cause),
            since,
            None,
            None,
        ]
        if cause is Cause.MANUAL:
            self._activity(it, new.source.partition(":")[2])[0] += 1

    def _removed(self, it: Recorded, event: CustomerTags.Removed) -> None:
        slot = (it.tenant, event.customer, event.slot or event.tag)
        before = self._open.pop(slot, None)
        if before is not None:
            self._close(slot, before[0], event.at, event.cause)
            self._count(it.tenant, event.tag, event.value, event.at)[1] += 1
        if event.cause is Cause.MANUAL and event.by:
            self._activity(it, event.by)[1] += 1

    def _close(self, slot: Slot, opened: int, at: datetime, cause: Cause) -> None:
        tenant, customer, _ = slot
        row = self._new.get((tenant, customer, opened))
        if row is None:
            self._closed[tenant, customer, opened] = (at, str(cause))
        else:
            row[-2:] = [at, str(cause)]

    def _count(self, tenant: str, tag: str, value: str, at: datetime) -> list[int]:
        return self._days.setdefault((tenant, tag, value, self._day(tenant, at)), [0, 0])

    def _activity(self, it: Recorded, actor: str) -> list[int]:
        return self._staff.setdefault((it.tenant, self._day(it.tenant, it.recorded_at), actor), [0, 0])

    def _day(self, tenant: str, at: datetime) -> date:
        return at.astimezone(self._zones.get(tenant) or ZoneInfo(DEFAULT_ZONE)).date()


_TOLD: Final = (TenantSettings.Updated, CustomerTags.Assigned, CustomerTags.Removed, CustomerTags.Forgotten)


def _fetch(rows: sa.Connection, statement: str, items: Sequence[sql.Row]) -> list[sql.Row]:
    return sql.fetch(rows, statement, *map(list, zip(*items, strict=True))) if items else []


def _run(rows: sa.Connection, statement: str, items: Sequence[sql.Row]) -> None:
    if items:
        sql.run(rows, statement, *map(list, zip(*items, strict=True)))


_HISTORY: Final = (
    "SELECT p.tag_key, p.value, p.source, p.cause, p.since, p.until, p.end_cause, p.opened FROM tag_periods p"
    " WHERE p.tenant = %(tenant)s AND p.customer = %(customer)s AND (%(tag)s = '' OR p.tag_key = %(tag)s)"
    " AND p.opened < %(before)s ORDER BY p.opened DESC LIMIT %(limit)s"
)
_BEFORE: Final = (
    "SELECT coalesce(sum(came - went), 0) FROM tag_days WHERE tenant = %(tenant)s AND tag_key = %(tag)s"
    " AND (%(value)s::text IS NULL OR value = %(value)s) AND day < %(first)s"
)
_DAYS: Final = (
    "SELECT day, sum(came), sum(went) FROM tag_days WHERE tenant = %(tenant)s AND tag_key = %(tag)s"
    " AND (%(value)s::text IS NULL OR value = %(value)s) AND day BETWEEN %(first)s AND %(last)s GROUP BY day"
)
_ACTIVITY: Final = (
    "SELECT actor, sum(assigned), sum(removed) FROM staff_tagging WHERE tenant = %(tenant)s"
    " AND day BETWEEN %(first)s AND %(last)s AND actor > %(after)s GROUP BY actor ORDER BY actor LIMIT %(limit)s"
)


def history(rows: sa.Connection, tenant: str, customer: UUID, tag: str, before: int, limit: int) -> list[sql.Row]:
    """Up to `limit` periods opened before log position `before`, latest first."""
    named = {"tenant": tenant, "customer": customer, "tag": tag, "before": before, "limit": limit}
    return sql.fetch_named(rows, _HISTORY, named)


def trend(
    rows: sa.Connection, tenant: str, tag: str, value: str | None, first: date, last: date
) -> list[tuple[date, int, int, int]]:
    """For each day: assignments that came, that went, and how many there were when it ended."""
    named = {"tenant": tenant, "tag": tag, "value": value, "first": first, "last": last}
    total = int(sql.fetch_named(rows, _BEFORE, named)[0][0])
    counted = {day: (int(came), int(went)) for day, came, went in sql.fetch_named(rows, _DAYS, named)}
    found = []
    for number in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(number)
        came, went = counted.get(day, (0, 0))
        total += came - went
        found.append((day, came, went, total))
    return found


def activity(rows: sa.Connection, tenant: str, first: date, last: date, after: str, limit: int) -> list[sql.Row]:
    """Actor, tags assigned and removed by hand, of those behind `after`."""
    named = {"tenant": tenant, "first": first, "last": last, "after": after, "limit": limit}
    return sql.fetch_named(rows, _ACTIVITY, named)


_STANDING: Final = (
    "SELECT value, source, cause, since FROM tag_periods WHERE tenant = %(tenant)s AND customer = %(customer)s"
    " AND tag_key = %(tag)s AND since <= %(at)s AND (until IS NULL OR until > %(at)s) ORDER BY since, value"
)


def standing(rows: sa.Connection, tenant: str, customer: UUID, tag: str, at: datetime) -> list[sql.Row]:
    """Value, source, cause and beginning of the assignments of a tag that held at an instant."""
    named = {"tenant": tenant, "customer": customer, "tag": tag, "at": at}
    return sql.fetch_named(rows, _STANDING, named)


_ENDED: Final = (
    "SELECT until, end_cause FROM tag_periods WHERE tenant = %(tenant)s AND customer = %(customer)s"
    " AND tag_key = %(tag)s AND until <= %(at)s ORDER BY until DESC, opened DESC LIMIT 1"
)


def ended(rows: sa.Connection, tenant: str, customer: UUID, tag: str, at: datetime) -> tuple[datetime, str] | None:
    """When a tag last went by an instant, and why."""
    found = sql.fetch_named(rows, _ENDED, {"tenant": tenant, "customer": customer, "tag": tag, "at": at})
    return (found[0][0], found[0][1]) if found else None
