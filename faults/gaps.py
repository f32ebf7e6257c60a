"""Gaps in the log: writers that commit late, out of turn or not at all, while a reader follows; it may not pass over anything.

Positions are given before they are committed. Were they given to several transactions at once, one could become visible behind a
reader who has gone on. That the log's turn prevents it is shown by writers who do not take it.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from time import sleep
from typing import Final
from uuid import UUID

import psycopg

from chassis.event_store import EventMapper, PostgresEventStore
from chassis.group_commit import CONFLICTS
from chassis.log import Appending, Draft
from chassis.postgres import driver_cursor
from faults.meters import Meter, draft, meter_id
from faults.verdict import Control, Scale, Verdict
from faults.workplace import postgres, with_chassis

WRITERS: Final = 8
METERS: Final = 40
ROLLED_BACK: Final = 0.05
LONGEST_DELAY: Final = {Scale.FULL: 0.02, Scale.SMALL: 0.01}
TRANSACTIONS: Final = {Scale.FULL: 2_500, Scale.SMALL: 200}
_POLL_SECONDS: Final = 0.001
_INSERT: Final = "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (%s, %s, %s, %s)"

Append = Callable[[PostgresEventStore, Sequence[Draft], Callable[[], None]], None]
"""Appends in a transaction of its own and calls what it is given just before the commit."""


class _RolledBackError(Exception):
    """A writer changes its mind."""


def in_turn(store: PostgresEventStore, drafts: Sequence[Draft], before_commit: Callable[[], None]) -> None:
    with store.transaction() as transaction:
        transaction.append(Appending(drafts, [], [], 0, []))
        before_commit()


def out_of_turn(store: PostgresEventStore, drafts: Sequence[Draft], before_commit: Callable[[], None]) -> None:
    """The negative control: the same rows in the same table, but nobody waits for anybody."""
    stored = [EventMapper().draft(it) for it in drafts]
    with store.transaction() as transaction, driver_cursor(transaction.rows) as cursor:
        cursor.executemany(_INSERT, [(it.originator_id, it.originator_version, it.topic, it.state) for it in stored])
        before_commit()


@dataclass(slots=True)
class Writers:
    """Append at once to meters they share; `committed` is what each was told is there: meter and version."""

    store: PostgresEventStore
    append: Append
    transactions: int
    longest_delay: float
    committed: list[tuple[UUID, int]] = field(default_factory=list)
    rolled_back: int = 0
    conflicts: int = 0
    _turn: Lock = field(default_factory=Lock)

    def run(self) -> None:
        threads = [Thread(target=self._write, args=[number], daemon=True) for number in range(WRITERS)]
        for it in threads:
            it.start()
        for it in threads:
            it.join()

    def _write(self, writer: int) -> None:
        dice = random.Random(writer)  # noqa: S311 - repeatable
        for _ in range(self.transactions // WRITERS):
            meter = meter_id(dice.randrange(METERS))
            drafts = self._next(meter, dice.randint(1, 10))
            try:
                self.append(self.store, drafts, lambda: self._hesitate(dice))
            except (_RolledBackError, *CONFLICTS) as error:
                self._note(rolled_back=isinstance(error, _RolledBackError))
            else:
                self._note([(meter, it.event.originator_version) for it in drafts])

    def _next(self, meter: UUID, count: int) -> list[Draft]:
        version = len(self.store.load([meter]).get(meter, []))
        return [draft(meter, version + number, number) for number in range(1, count + 1)]

    def _hesitate(self, dice: random.Random) -> None:
        sleep(dice.uniform(0, self.longest_delay))
        if dice.random() < ROLLED_BACK:
            raise _RolledBackError

    def _note(self, committed: Sequence[tuple[UUID, int]] = (), *, rolled_back: bool = False) -> None:
        with self._turn:
            self.committed += committed
            self.rolled_back += rolled_back
            self.conflicts += not committed and not rolled_back


class Reader:
    """Follows the log as relays and projectors do: what is after the last position it has seen."""

    def __init__(self, store: PostgresEventStore) -> None:
        self.seen: list[tuple[UUID, int]] = []
        self._store = store
        self._ending = Event()
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Read up to the end once nobody writes any more."""
        self._ending.set()
        self._thread.join()

    def _follow(self) -> None:
        position, is_last = 0, False
        while not is_last:
            is_last = self._ending.is_set()
            while found := self._store.read_log(position, 500):
                position = found[-1].position
                self.seen += [
                    (it.event.originator_id, it.event.originator_version) for it in found if isinstance(it.event, Meter.Advanced)
                ]  # fmt: skip
            sleep(_POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of writers and reader; `invented` was read but never committed, `disordered` counts steps back in a meter."""

    committed: int
    missed: int
    repeated: int
    invented: int
    disordered: int
    rolled_back: int
    conflicts: int


def follow(dsn: str, append: Append, scale: Scale) -> Run:
    """Let writers write with `append` while a reader follows."""
    store = PostgresEventStore(dsn, pool_size=WRITERS + 2)
    try:
        reader = Reader(store)
        writers = Writers(store, append, TRANSACTIONS[scale], LONGEST_DELAY[scale])
        writers.run()
        reader.finish()
        _require_stored(dsn, writers)
    finally:
        store.close()
    seen, committed = Counter(reader.seen), set(writers.committed)
    return Run(
        committed=len(committed),
        missed=len(committed - seen.keys()),
        repeated=sum(it - 1 for it in seen.values()),
        invented=len(seen.keys() - committed),
        disordered=_disordered(reader.seen),
        rolled_back=writers.rolled_back,
        conflicts=writers.conflicts,
    )


def run(scale: Scale) -> Verdict:
    with postgres("gaps") as server:
        ours = follow(with_chassis(server, "gaps").writer_dsn, in_turn, scale)
        naive = follow(with_chassis(server, "gaps_naive").writer_dsn, out_of_turn, scale)
    problems = [f"{ours.disordered} events of a meter were read before earlier ones"] if ours.disordered else []
    return Verdict(
        fault="gaps",
        done=f"{WRITERS} writers, {TRANSACTIONS[scale]:,} transactions, up to {LONGEST_DELAY[scale] * 1000:g} ms before commit,"
        f" {ours.rolled_back} rolled back, {ours.conflicts} lost races",
        acknowledged=ours.committed,
        lost=ours.missed,
        doubled=ours.repeated + ours.invented,
        control=Control(
            "plain inserts", f"the reader misses {naive.missed:,} of {naive.committed:,} events", naive.missed > 0
        ),
        problems=problems,
    )


def _disordered(seen: Sequence[tuple[UUID, int]]) -> int:
    last: dict[UUID, int] = defaultdict(int)
    steps_back = 0
    for meter, version in seen:
        steps_back += version <= last[meter]
        last[meter] = version
    return steps_back


def _require_stored(dsn: str, writers: Writers) -> None:
    """What writers were told is there must be there: otherwise a miss says nothing of the reader."""
    with psycopg.connect(dsn) as rows:
        stored = set(rows.execute("SELECT originator_id, originator_version FROM stored_events").fetchall())
    if stored != set(writers.committed):
        raise AssertionError("what is stored is not what was acknowledged")
