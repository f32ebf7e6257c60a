"""Organisation: every store, every member of staff, and in which store they worked from when on, for lists and boards."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.staff import Role, Staff
from services.identity.domain.stores import Store, StoreStatus
from services.identity.read_models.concerned import concerning

tables: Final = sa.MetaData()

stores: Final = sa.Table(
    "stores",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("store", sa.Uuid, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("region_path", JSONB, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Index("stores_by_id", "tenant", "store", unique=True),
)

staff: Final = sa.Table(
    "staff",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("staff", sa.Uuid, nullable=False),
    sa.Column("name", sa.LargeBinary, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("capacity", sa.Integer, nullable=False),
    sa.Column("on_shift", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("left_at", sa.DateTime(timezone=True)),
    sa.Index("staff_by_id", "tenant", "staff", unique=True),
)

placements: Final = sa.Table(
    "staff_placements",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("staff", sa.Uuid, primary_key=True),
    sa.Column("effective_at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("store", sa.Uuid, nullable=False),
    sa.Index("staff_placements_by_store", "tenant", "store", "staff"),
)


_EVENTS: Final = frozenset(
    {Store.Opened, Store.Changed, Staff.Registered, Staff.Changed, Staff.Left, Staff.ShiftChanged}
)


class OrganisationProjection:
    """Keeps the three tables."""

    name = "organisation"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        changes = _Changes()
        for it in items:
            changes.take(it)
        changes.write(rows)


@dataclass(frozen=True, slots=True)
class StoreRow:
    """A store."""

    store: UUID
    code: str
    title: str
    region_path: tuple[str, ...]
    status: StoreStatus


@dataclass(frozen=True, slots=True)
class StaffRow:
    """A member of staff with the sealed name, in `store` at the time asked for."""

    staff: UUID
    code: str
    name: bytes
    role: Role
    capacity: int
    on_shift: bool
    left_at: datetime | None
    store: UUID | None


@dataclass(frozen=True, slots=True)
class StaffFilter:
    """Which staff a list has, as of `at`: in one of `stores` (None: anywhere); active or left (None: both)."""

    at: datetime
    stores: Collection[UUID] | None
    active: bool | None


def list_stores(
    rows: sa.Connection, status: StoreStatus | None, within: Collection[UUID] | None, after: str | None, limit: int
) -> list[StoreRow]:
    """Up to `limit` stores behind `after` by their codes; only those `within`, where it is given."""
    query = sa.select(*(stores.c[it] for it in StoreRow.__slots__)).order_by(stores.c.code).limit(limit)
    if status is not None:
        query = query.where(stores.c.status == status)
    if within is not None:
        query = query.where(stores.c.store.in_(within))
    if after is not None:
        query = query.where(stores.c.code > after)
    return [
        StoreRow(**{**it, "region_path": tuple(it["region_path"]), "status": StoreStatus(it["status"])})
        for it in rows.execute(query).mappings()
    ]


def list_staff(rows: sa.Connection, wanted: StaffFilter, after: str | None, limit: int) -> list[StaffRow]:
    """Up to `limit` members of staff behind `after` by their codes."""
    store = current_store(staff.c.staff, wanted.at)
    columns = [staff.c[it] for it in StaffRow.__slots__ if it != "store"]
    query = sa.select(*columns, store.label("store")).order_by(staff.c.code).limit(limit)
    if wanted.stores is not None:
        ever = sa.select(placements.c.staff).where(placements.c.store.in_(wanted.stores))
        query = query.where(staff.c.staff.in_(ever), store.in_(wanted.stores))
    if wanted.active is not None:
        query = query.where(staff.c.left_at.is_(None) if wanted.active else staff.c.left_at.is_not(None))
    if after is not None:
        query = query.where(staff.c.code > after)
    return [StaffRow(**{**it, "role": Role(it["role"])}) for it in rows.execute(query).mappings()]


def current_store(of: sa.ColumnElement[UUID], at: datetime) -> sa.ScalarSelect[UUID]:
    """Where the member of staff in column `of` works at `at`."""
    return (
        sa.select(placements.c.store)
        .where(placements.c.staff == of, placements.c.effective_at <= at)
        .order_by(placements.c.effective_at.desc())
        .limit(1)
        .scalar_subquery()
    )


Key = tuple[str, Any]


@dataclass(slots=True)
class _Changes:
    """What a stretch of the log changes: the last word on everything, to be written in one statement per table and kind."""

    stores: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    staff: dict[Key, tuple[Any, ...]] = field(default_factory=dict)
    left: dict[Key, datetime | None] = field(default_factory=dict)
    shifts: dict[Key, bool] = field(default_factory=dict)
    placements: dict[tuple[str, UUID, datetime], UUID] = field(default_factory=dict)

    def take(self, recorded: Recorded) -> None:
        tenant = recorded.tenant
        match recorded.event:
            case (
                Store.Opened(originator_id=id, code=code, facts=it)
                | Store.Changed(originator_id=id, code=code, facts=it)
            ):
                self.stores[tenant, code] = id, it.title, json.dumps(it.region_path), it.status
            case Staff.Registered() | Staff.Changed() as event:
                self._staff(tenant, event)
            case Staff.Left(originator_id=id, left_at=at):
                self.left[tenant, id] = at
            case Staff.ShiftChanged(originator_id=id, on_shift=on_shift):
                self.shifts[tenant, id] = on_shift

    def _staff(self, tenant: str, event: Staff.Registered | Staff.Changed) -> None:
        id, duties = event.originator_id, event.duties
        self.staff[tenant, event.code] = id, event.name, duties.role, duties.capacity
        self.left[tenant, id] = None
        if event.placement is not None:
            self.placements[tenant, id, event.placement.effective_at] = event.placement.store

    def write(self, rows: sa.Connection) -> None:
        _write(rows, _STORES, [(*key, *values) for key, values in self.stores.items()])
        _write(rows, _STAFF, [(*key, *values) for key, values in self.staff.items()])
        _write(rows, _LEFT, [(*key, at) for key, at in self.left.items()])
        _write(rows, _SHIFTS, [(*key, it) for key, it in self.shifts.items()])
        _write(rows, _PLACEMENTS, [(*key, store) for key, store in self.placements.items()])


def _write(rows: sa.Connection, statement: sa.TextClause, values: Sequence[tuple[Any, ...]]) -> None:
    """Rows as the arrays `a`, `b`, `c`… of their columns."""
    if values:
        columns = zip(*values, strict=True)
        rows.execute(statement, {chr(ord("a") + number): list(column) for number, column in enumerate(columns)})


_STORES: Final = sa.text(
    "INSERT INTO stores (tenant, code, store, title, region_path, status)"
    " SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS text[]), CAST(:c AS uuid[]), CAST(:d AS text[]),"
    " CAST(:e AS jsonb[]), CAST(:f AS text[]))"
    " ON CONFLICT (tenant, code) DO UPDATE SET title = excluded.title, region_path = excluded.region_path,"
    " status = excluded.status"
)
_STAFF: Final = sa.text(
    "INSERT INTO staff (tenant, code, staff, name, role, capacity)"
    " SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS text[]), CAST(:c AS uuid[]), CAST(:d AS bytea[]),"
    " CAST(:e AS text[]), CAST(:f AS int[]))"
    " ON CONFLICT (tenant, code) DO UPDATE SET name = excluded.name, role = excluded.role, capacity = excluded.capacity"
)
_LEFT: Final = sa.text(
    "UPDATE staff s SET left_at = v.at FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS timestamptz[]))"
    " AS v(tenant, staff, at) WHERE (s.tenant, s.staff) = (v.tenant, v.staff)"
)
_SHIFTS: Final = sa.text(
    "UPDATE staff s SET on_shift = v.on_shift FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS bool[]))"
    " AS v(tenant, staff, on_shift) WHERE (s.tenant, s.staff) = (v.tenant, v.staff)"
)
_PLACEMENTS: Final = sa.text(
    "INSERT INTO staff_placements (tenant, staff, effective_at, store)"
    " SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS timestamptz[]), CAST(:d AS uuid[]))"
    " ON CONFLICT (tenant, staff, effective_at) DO UPDATE SET store = excluded.store"
)
