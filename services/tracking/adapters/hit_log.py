"""Where hits on links and the beacons of their pages become durable, those of many callers in one transaction.

`HitLog(engine)`: `start()`, `note(row)`, `stop()`. While the database is away they wait in memory, the process tries again, and nobody is
kept waiting for them; only a process that is killed meanwhile loses them.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

import sqlalchemy as sa
import structlog

from chassis.errors import described
from chassis.group_commit import OUTAGES
from chassis.postgres import columns, driver_cursor
from chassis.writer import Writer
from services.tracking.domain.link_context import LinkContext

MOST_WAITING: Final = 50_000
"""How many may wait for the database; those that come after them are lost, and said to be in the logs."""

_GROUP: Final = 500
_RETRY_SECONDS: Final = 0.2

_HITS: Final = """
INSERT INTO link_hits (tenant, hit_id, at, short_code, kind, robot, staff, delivery_id, share_id, code_key, group_id)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[], %s::text[], %s::text[], %s::boolean[], %s::text[], %s::text[],
    %s::text[], %s::text[], %s::text[])
ON CONFLICT DO NOTHING
"""
_BEACONS: Final = """
INSERT INTO link_beacons (tenant, hit_id, at, visitor) SELECT * FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[], %s::text[])
ON CONFLICT DO NOTHING
"""

_log = structlog.get_logger(__name__)


class HitRow(NamedTuple):
    """Somebody, or something, followed a link of `kind`; `context` says through what, with the staff of the link itself filled in."""

    tenant: str
    hit_id: UUID
    at: datetime
    short_code: str
    kind: str
    is_robot: bool
    context: LinkContext

    @property
    def row(self) -> tuple[object, ...]:
        it = self.context
        return (*self[:6], it.staff_code, it.delivery_id, it.share_id, it.code_key, it.group_id)


class BeaconRow(NamedTuple):
    """The page behind a hit is seen by `visitor`, an anonymous id."""

    tenant: str
    hit_id: UUID
    at: datetime
    visitor: str


Row: TypeAlias = HitRow | BeaconRow


@dataclass(slots=True)
class _Job:
    row: Row
    done: Future[None] = field(default_factory=Future)


class HitLog:
    """Writes rows; `told` is called after each commit."""

    def __init__(self, engine: sa.Engine, told: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._told = told
        self._stopping = Event()
        self._put = 0
        self._done = 0
        self._writer: Writer[_Job] = Writer(self._write, _GROUP, gather=0)  # who follows a link has no time for others

    def start(self) -> None:
        self._writer.start()

    def stop(self) -> None:
        """Write what waits, if the database answers, then end."""
        self._stopping.set()
        self._writer.stop()

    def note(self, row: Row) -> "asyncio.Future[None]":
        """Done as soon as the row is durable; who does not wait for it may go on. To be called by one thread."""
        job = _Job(row)
        if self._put - self._done >= MOST_WAITING:
            _log.error("links.hit_lost", tenant=row.tenant)
            job.done.set_result(None)
        else:
            self._put += 1
            self._writer.put(job)
        return asyncio.wrap_future(job.done)

    def _write(self, jobs: Sequence[_Job]) -> None:
        hits = [job.row.row for job in jobs if isinstance(job.row, HitRow)]
        beacons = [tuple(job.row) for job in jobs if isinstance(job.row, BeaconRow)]
        try:
            while not self._is_written(hits, beacons):
                if self._stopping.wait(_RETRY_SECONDS):
                    raise TimeoutError
        except Exception as error:  # noqa: BLE001 (whatever it is, it must not end the thread)
            _log.error("links.hits_lost", hits=len(hits), beacons=len(beacons), error=described(error))
        self._done += len(jobs)
        self._told()
        for job in jobs:
            if job.done.set_running_or_notify_cancel():
                job.done.set_result(None)

    def _is_written(self, hits: Sequence[tuple[object, ...]], beacons: Sequence[tuple[object, ...]]) -> bool:
        try:
            with self._engine.begin() as rows, driver_cursor(rows) as cursor:
                if hits:
                    cursor.execute(_HITS, columns(hits), prepare=True)
                if beacons:
                    cursor.execute(_BEACONS, columns(beacons), prepare=True)
        except OUTAGES as outage:
            _log.warning("links.database_away", waiting=self._put - self._done, error=described(outage))
            return False
        return True
