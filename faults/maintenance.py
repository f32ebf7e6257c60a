"""Maintenance: VACUUM, ANALYZE and CREATE INDEX CONCURRENTLY on a large event table may not stop those who append to it.

The stock recorder takes a table lock that waits for all three of them, and everybody else waits behind it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from time import perf_counter, sleep
from typing import Final, LiteralString

import psycopg

from chassis.clock import SystemClock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.event_store import PostgresEventStore
from deploy.local.postgres import Postgres
from faults import stock
from faults.meters import HANDLERS, TENANT, Advance, meter_id, numbers
from faults.verdict import Control, Scale, Verdict
from faults.workplace import postgres, with_chassis

ROWS: Final = {Scale.FULL: 500_000, Scale.SMALL: 40_000}
DELAY_MS: Final = {Scale.FULL: 4, Scale.SMALL: 20}
BAR_MS: Final = 250.0
PAUSE_SECONDS: Final = 0.002

_FILL: Final = (
    "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
    " SELECT gen_random_uuid(), 1, 'faults.Filling', convert_to(repeat(md5(n::text), 6), 'UTF8')"
    " FROM generate_series(1, %s) n"
)
VACUUM: Final = "VACUUM (FREEZE) stored_events"
WORK: Final[Sequence[LiteralString]] = (
    VACUUM,
    "ANALYZE stored_events",
    "CREATE INDEX CONCURRENTLY tried ON stored_events (topic, originator_id)",
    "DROP INDEX CONCURRENTLY tried",
)


@dataclass(slots=True)
class Appender:
    """Appends one event after the other in a thread of its own; `stalls` are the seconds each took, in order."""

    append: Callable[[int], None]
    stalls: list[float] = field(default_factory=list)
    failure: Exception | None = None
    _ending: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        self._thread = Thread(target=self._loop, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._ending.set()
        if self._thread:
            self._thread.join()
        if self.failure:
            raise self.failure

    def longest_since(self, number: int) -> float:
        """The longest append after the first `number`, in milliseconds; 0 when there was none."""
        return max(self.stalls[number:], default=0.0) * 1000

    def _loop(self) -> None:
        try:
            while not self._ending.is_set():
                started = perf_counter()
                self.append(len(self.stalls) + 1)
                self.stalls.append(perf_counter() - started)
                sleep(PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - raised where the thread is waited for
            self.failure = error


@dataclass(frozen=True, slots=True)
class Stall:
    """What one piece of maintenance did to the appender."""

    work: str
    seconds: float
    longest_ms: float
    appends: int


def maintain(dsn: str, work: Sequence[LiteralString], delay_ms: int, appender: Appender) -> list[Stall]:
    """Do `work`, throttled as autovacuum would be, while `appender` goes on."""
    found: list[Stall] = []
    with psycopg.connect(dsn, autocommit=True) as rows:
        rows.execute("SELECT set_config('vacuum_cost_delay', %s, false)", [f"{delay_ms}ms"])
        rows.execute("SET vacuum_cost_limit = 200")
        for statement in work:
            before, started = len(appender.stalls), perf_counter()
            rows.execute(statement)
            seconds = perf_counter() - started
            _wait_for(lambda before=before: len(appender.stalls) > before + 1, appender)  # type: ignore[misc]
            longest = appender.longest_since(before)
            found.append(Stall(statement.split(" ")[0].lower(), seconds, longest, len(appender.stalls) - before))
    return found


def run(scale: Scale) -> Verdict:
    with postgres("maintenance") as server:
        stalls, appender, stored = _ours(server, scale)
        theirs = _stock(server, scale)
    worst = max(it.longest_ms for it in stalls)
    vacuum = stalls[0]
    problems = [] if vacuum.seconds > 1 else [f"VACUUM took {vacuum.seconds:.2f} s, too short to tell anything"]
    return Verdict(
        fault="maintenance",
        done=f"{ROWS[scale]:,} rows; VACUUM (FREEZE) of {vacuum.seconds:.1f} s, ANALYZE and CREATE INDEX CONCURRENTLY while appending",
        acknowledged=len(appender.stalls),
        lost=len(set(range(1, len(appender.stalls) + 1)) - set(stored)),
        doubled=len(stored) - len(set(stored)),
        worst=worst,
        bar=BAR_MS,
        unit="ms",
        control=Control(
            "LOCK TABLE",
            f"an append stalls {theirs.longest_ms:,.0f} ms in a VACUUM of {theirs.seconds:.1f} s",
            theirs.longest_ms > max(BAR_MS, 2 * worst, 500 * theirs.seconds),
        ),
        problems=problems,
        figures={f"longest append during {it.work}, ms": it.longest_ms for it in stalls}
        | {"appends during VACUUM": vacuum.appends},
    )


def _ours(server: Postgres, scale: Scale) -> tuple[list[Stall], Appender, Sequence[int]]:
    database = with_chassis(server, "maintenance")
    _fill(server, database.name, ROWS[scale])
    store = PostgresEventStore(database.writer_dsn)
    bus = CommandBus(store, SystemClock(), HANDLERS)
    context = Context.system(TENANT, "appender")
    appender = Appender(lambda number: bus.execute_now(Advance(meter_id(number), number), context))
    try:
        stalls = _observed(database.owner_dsn, WORK, scale, appender)
        with psycopg.connect(database.owner_dsn) as rows:
            rows.execute("DELETE FROM stored_events WHERE topic = 'faults.Filling'")
        return stalls, appender, numbers(store)
    finally:
        store.close()


def _stock(server: Postgres, scale: Scale) -> Stall:
    dsn = server.create_database("maintenance_stock").owner_dsn
    with stock.recorder(dsn) as recorder:
        _fill(server, "maintenance_stock", ROWS[scale])
        appender = Appender(lambda number: stock.append(recorder, [stock.event(number, 1, number)]))
        return _observed(dsn, [VACUUM], scale, appender)[0]


def _observed(dsn: str, work: Sequence[LiteralString], scale: Scale, appender: Appender) -> list[Stall]:
    appender.start()
    try:
        _wait_for(lambda: len(appender.stalls) > 50, appender)
        return maintain(dsn, work, DELAY_MS[scale], appender)
    finally:
        appender.finish()


def _fill(server: Postgres, name: str, count: int) -> None:
    """Rows that nobody has frozen, on pages that are clean, so that to freeze them is work; and statistics, as a live table has."""
    with psycopg.connect(server.dsn(name, "postgres"), autocommit=True) as rows:
        rows.execute("ALTER TABLE stored_events SET (autovacuum_enabled = false)")
        rows.execute(_FILL, [count])
        rows.execute("ANALYZE stored_events")
        rows.execute("CHECKPOINT")


def _wait_for(holds: Callable[[], bool], appender: Appender, seconds: float = 120) -> None:
    deadline = perf_counter() + seconds
    while not holds():
        if appender.failure:
            raise appender.failure
        if perf_counter() > deadline:
            raise TimeoutError("the appender does not get on")
        sleep(0.01)
