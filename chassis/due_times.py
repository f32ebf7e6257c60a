"""Timers as rows: what is due when, written in the transaction that made it due."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor

DDL = (
    (
        "CREATE TABLE IF NOT EXISTS timers ("
        " tenant text NOT NULL, kind text NOT NULL, key text NOT NULL,"
        " due_at timestamptz NOT NULL, payload jsonb NOT NULL,"
        " PRIMARY KEY (tenant, kind, key))"
    ),
    "CREATE INDEX IF NOT EXISTS timers_due_at ON timers (due_at)",
)

_UPSERT = (
    "INSERT INTO timers (tenant, kind, key, due_at, payload) SELECT * FROM"
    " unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[]::jsonb[])"
    " ON CONFLICT (tenant, kind, key)"
    " DO UPDATE SET due_at = excluded.due_at, payload = excluded.payload"
)
_DELETE = (
    "DELETE FROM timers t USING unnest(%s::text[], %s::text[], %s::text[]) AS k(tenant, kind, key)"
    " WHERE (t.tenant, t.kind, t.key) = (k.tenant, k.kind, k.key)"
)


@dataclass(frozen=True, slots=True)
class Timer:
    """Something to do at `due_at`; scheduling the same `kind` and `key` again moves it."""

    kind: str
    key: str
    due_at: datetime
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Together:
    """Makes one command of several timers of one kind and tenant; where it is refused, they are tried in smaller parts."""

    command: Callable[[Sequence[Timer]], Any]


class TimerChange(NamedTuple):
    """A timer set, or with `timer` None taken away."""

    tenant: str
    kind: str
    key: str
    timer: Timer | None

    def apply(self, timers: MutableMapping[tuple[str, str, str], Timer]) -> None:
        key = (self.tenant, self.kind, self.key)
        if self.timer is None:
            timers.pop(key, None)
        else:
            timers[key] = self.timer


def write_timers(rows: sa.Connection, changes: Sequence[TimerChange]) -> None:
    """Apply `changes` to the table; the last change of a timer wins."""
    latest = {(it.tenant, it.kind, it.key): it.timer for it in changes}
    kept = [(*key, it.due_at, orjson.dumps(dict(it.payload)).decode()) for key, it in latest.items() if it]
    gone = [key for key, it in latest.items() if it is None]
    if kept:
        driver_cursor(rows).execute(_UPSERT, columns(kept), prepare=True)
    if gone:
        driver_cursor(rows).execute(_DELETE, columns(gone), prepare=True)
