"""Timers that come due: each becomes a command, and goes away in the transaction of that command's events.

`TimerLoop(bus, {kind: to_command}, engine, clock)` is a `Loop`; `to_command(timer)` makes the command, which runs for the
tenant of the timer; where it is a `Together`, all timers of the kind that are due at once to one tenant become one command. Any
number of loops may run: a row is taken by one of them (SKIP LOCKED). A timer whose command is refused for good is parked
under the consumer "timers"; `chassis.parked.redrive` sets it again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import sqlalchemy as sa
import structlog

from chassis.clock import Clock
from chassis.commands import CommandBus, Effect, Outcome, Unit, UnitOfWork
from chassis.context import Context
from chassis.due_times import Timer, Together
from chassis.errors import TRANSIENT, DomainError
from chassis.group_commit import OUTAGES, CalledOff
from chassis.leadership import persevere
from chassis.loops import CHECK_SECONDS, Progress
from chassis.postgres import columns, driver_cursor
from chassis.pulse import Pulse
from chassis.quick_look import QuickLook
from chassis.threads import in_thread

log = structlog.get_logger()

ToCommand = Callable[[Timer], Any] | Together
PARKED_AS: Final = "timers"

_DUE: Final = sa.text(
    "SELECT tenant, kind, key, due_at, payload FROM timers WHERE due_at <= :now AND kind = ANY(:kinds)"
    " ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED"
)
_COUNT: Final = (
    "SELECT count(*) FROM (SELECT kind FROM timers WHERE due_at <= %(now)s OFFSET 0) AS due WHERE kind = ANY(%(kinds)s)"
)
"""By what is due: on its own the server may well look through all timers of these kinds, by the primary key."""
_THESE: Final = "unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) AS k(tenant, kind, key, due_at)"
_CLAIM: Final = f"SELECT 1 FROM timers t JOIN {_THESE} USING (tenant, kind, key, due_at) FOR UPDATE OF t SKIP LOCKED"  # noqa: S608
_REMOVE: Final = (
    f"DELETE FROM timers t USING {_THESE}"  # noqa: S608
    " WHERE (t.tenant, t.kind, t.key, t.due_at) = (k.tenant, k.kind, k.key, k.due_at)"
)
_PARK: Final = sa.text(
    "INSERT INTO parked (consumer, stream, message_id, tenant, key, partition, type, envelope, payload, reason, detail)"
    " VALUES (:consumer, '', :id, :tenant, :key, 0, :kind, CAST(:envelope AS jsonb), :payload, :reason, :detail)"
    " ON CONFLICT (consumer, message_id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail"
)
_REVIVE: Final = sa.text(
    "WITH gone AS (DELETE FROM parked WHERE consumer = :consumer AND redrive RETURNING tenant, type, key, envelope, payload)"
    " INSERT INTO timers (tenant, kind, key, due_at, payload)"
    " SELECT tenant, type, key, (envelope ->> 'due_at')::timestamptz, convert_from(payload, 'UTF8')::jsonb FROM gone"
    " ON CONFLICT (tenant, kind, key) DO NOTHING"
)


class _TakenByAnother(CalledOff):
    """Another loop is at work on some of these timers, or they were moved meanwhile."""


@dataclass(frozen=True, slots=True)
class _Due:
    tenant: str
    timer: Timer

    @property
    def row(self) -> tuple[Any, ...]:
        return self.tenant, self.timer.kind, self.timer.key, self.timer.due_at


class TimerLoop:
    """Fires what is due by `clock`. `fired` counts timers, `batches` the transactions they took."""

    def __init__(
        self,
        bus: CommandBus,
        commands: Mapping[str, ToCommand],
        engine: sa.Engine,
        clock: Clock,
        *,
        poll: float = 0.05,
        pulse: Pulse | None = None,
        batch_limit: int = 500,
    ) -> None:
        self.name = "timers"
        self.fired = 0
        self.batches = 0
        self._bus = bus
        self._commands = commands
        self._engine = engine
        self._clock = clock
        self._poll = poll
        self._news = (pulse or Pulse()).listener()
        self._batch_limit = batch_limit

    async def run(self) -> None:
        """Fire whatever comes due, until cancelled."""
        await persevere(self.name, self._fire_for_ever)

    async def progress(self) -> list[Progress]:
        """`position` counts what this loop fired, `backlog` what is due in the database."""
        position = self.fired
        backlog = await self._count()
        return [Progress("timers", self.name, position, backlog)]

    async def _fire_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        revive = loop.time()
        while True:
            due = await in_thread(self._look) if await self._count() else []
            if due:
                await self._fire(due)
            else:
                await self._news.wait(self._poll)
            if loop.time() > revive:
                await in_thread(self._revive)
                revive = loop.time() + CHECK_SECONDS

    def _look(self) -> list[_Due]:
        """What is due and not being worked on by another loop."""
        parameters = {"now": self._clock.now(), "kinds": list(self._commands), "limit": self._batch_limit}
        with self._engine.begin() as rows:
            return [
                _Due(it.tenant, Timer(it.kind, it.key, it.due_at, it.payload)) for it in rows.execute(_DUE, parameters)
            ]

    async def _fire(self, due: Sequence[_Due]) -> None:
        """Carry out these timers in one transaction; a batch that fails as a whole is tried by halves."""
        parts = self._parts(due)
        try:
            outcomes = await self._bus.run(Unit(self._items(due, parts), partial(self._settle, parts)))
        except _TakenByAnother:
            await asyncio.sleep(self._poll)
        except (*TRANSIENT, *OUTAGES):
            raise
        except Exception as error:  # noqa: BLE001 (whatever the command raises, the timer is not lost)
            if len(due) > 1:
                middle = len(due) // 2
                await self._fire(due[:middle])
                await self._fire(due[middle:])
            else:
                await self._bus.run(Unit([], partial(self._park, due[0], error)))
        else:
            self.fired += sum(len(part) for part, it in zip(parts, outcomes[1:], strict=True) if it.error is None)
            self.batches += 1

    def _parts(self, due: Sequence[_Due]) -> list[list[_Due]]:
        """What is one command each, in the order of the first instant."""
        parts: dict[object, list[_Due]] = {}
        for it in due:
            joint = isinstance(self._commands[it.timer.kind], Together)
            parts.setdefault((it.tenant, it.timer.kind) if joint else it.row, []).append(it)
        return list(parts.values())

    def _items(self, due: Sequence[_Due], parts: Sequence[Sequence[_Due]]) -> list[tuple[Context, Any]]:
        claim = Effect(partial(_claim, due))
        items: list[tuple[Context, Any]] = [(Context.system("", self.name), claim)]
        for part in parts:
            kind, make = part[0].timer.kind, self._commands[part[0].timer.kind]
            timers = [it.timer for it in part]
            command = make.command(timers) if isinstance(make, Together) else make(timers[0])
            items.append((Context.system(part[0].tenant, f"timer/{kind}"), command))
        return items

    def _settle(self, parts: Sequence[Sequence[_Due]], rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        if outcomes[0].error is not None:
            raise outcomes[0].error
        for part, outcome in zip(parts, outcomes[1:], strict=True):
            if outcome.error is None:
                continue
            if len(part) > 1 or isinstance(outcome.error, (*TRANSIENT, *OUTAGES)):
                raise outcome.error
            self._note(rows, part[0], outcome.error)
        with driver_cursor(rows) as cursor:
            cursor.execute(_REMOVE, columns(it.row for part in parts for it in part))

    def _park(self, due: _Due, error: Exception, rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        self._note(rows, due, error)
        with driver_cursor(rows) as cursor:
            cursor.execute(_REMOVE, columns([due.row]))

    def _note(self, rows: sa.Connection, due: _Due, error: Exception) -> None:
        """Park a timer that cannot be carried out."""
        timer, refused = due.timer, isinstance(error, DomainError)
        log.warning("timer.parked", kind=timer.kind, error=type(error).__name__)
        parameters = {
            "consumer": PARKED_AS,
            "id": f"{due.tenant}/{timer.kind}/{timer.key}/{timer.due_at.isoformat()}",
            "tenant": due.tenant,
            "key": timer.key,
            "kind": timer.kind,
            "envelope": json.dumps({"due_at": timer.due_at.isoformat()}),
            "payload": json.dumps(dict(timer.payload)).encode(),
            "reason": error.reason if isinstance(error, DomainError) else "FAILED",
            "detail": str(error) if refused else type(error).__name__,
        }
        rows.execute(_PARK, parameters)

    def _revive(self) -> None:
        with self._engine.begin() as rows:
            rows.execute(_REVIVE, {"consumer": PARKED_AS})

    def _count(self) -> Awaitable[int]:
        return QuickLook.of(self._engine).ask_scalar(_COUNT, self._due_now())

    def _due_now(self) -> Mapping[str, Any]:
        return {"now": self._clock.now(), "kinds": list(self._commands)}


def _claim(due: Sequence[_Due], work: UnitOfWork) -> None:
    """Lock these timers for this transaction, without waiting for anybody."""
    with driver_cursor(work.rows) as cursor:
        cursor.execute(_CLAIM, columns(it.row for it in due))
        if len(cursor.fetchall()) != len(due):
            raise _TakenByAnother
