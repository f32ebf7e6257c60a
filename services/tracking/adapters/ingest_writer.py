"""Where events become durable: batches of many callers in one transaction, each message once for ever.

`IngestWriter(engine)`: `start()`, `await submit(submission)`, `stop()`. One thread takes all batches that
wait. What is new is decided by the table `message_keys`; everything about a batch commits together: its rows, its
keys, its counts and, where the caller gave a request id, its receipt.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg.errors import DuplicateTable

from chassis.errors import DomainError, Unavailable, VersionConflict
from chassis.group_commit import CONFLICTS, OUTAGES
from chassis.postgres import driver_cursor, pipeline, row_xmin
from chassis.receipts import PostgresReceipts, Receipt, ReceiptKey
from chassis.writer import Writer
from services.tracking.adapters.binary_copy import copy_rows
from services.tracking.adapters.ingest_rows import CONFLICT_COLUMNS, QUARANTINE_COLUMNS, Tallies, aside_row, instant
from services.tracking.adapters.message_keys import Keys, KeysTaken, MessageKeys, answered, has_taken
from services.tracking.adapters.submission import ACCEPTED_COLUMNS, Submission, result_frame
from services.tracking.domain.intake import ACCEPTED, CONFLICTING, DUPLICATE, Outcome, Verdict

LOCK_CLASS: Final = 7245
ANSWER_TYPE: Final = "scrm.tracking.v1.TrackBatchResponse"

_GROUP: Final = 16  # batches
_ATTEMPTS: Final = 5
_OUTAGE_SECONDS: Final = 20.0

_TURN: Final = "SELECT pg_advisory_xact_lock(%s, hashtext('accepted')), pg_current_xact_id()::text"


@dataclass(slots=True)
class _Job:
    """A batch on its way; `verdicts` is what becomes of each event, as far as it is decided."""

    submission: Submission
    done: Future[bytes] = field(default_factory=Future)
    verdicts: list[Verdict | None] = field(default_factory=list)
    answer: bytes | DomainError = b""
    is_repeated: bool = False


class IngestWriter:
    """Makes batches durable; `told` is called after each commit, for those who wait for what is accepted."""

    def __init__(self, engine: sa.Engine, told: Callable[[], None] = lambda: None) -> None:
        self._engine = engine
        self._told = told
        self._months: set[tuple[int, int]] = set()
        self._keys = MessageKeys()
        self._writer: Writer[_Job] = Writer(self._take, _GROUP)

    def start(self) -> None:
        self._writer.start()

    def stop(self) -> None:
        """Finish what waits, then end."""
        self._writer.stop()

    async def submit(self, submission: Submission) -> bytes:
        """Make a batch durable; the serialised TrackBatchResponse. Raises RequestIdReused, Unavailable."""
        job = _Job(submission)
        self._writer.put(job)
        return await asyncio.wrap_future(job.done)

    def submit_now(self, submission: Submission) -> bytes:
        """`submit` in the calling thread."""
        job = _Job(submission)
        self._commit([job])
        return job.done.result()

    def _take(self, jobs: Sequence[_Job]) -> None:
        """Commit those of `jobs` that are still waited for; from here on nobody can call them back."""
        wanted = [job for job in jobs if job.done.set_running_or_notify_cancel()]
        if wanted:
            self._commit(wanted)

    def _commit(self, jobs: Sequence[_Job]) -> None:
        try:
            self._persist(jobs)
        except Exception as error:  # noqa: BLE001 (whatever it is, it belongs to those who wait)
            if len(jobs) > 1 and not isinstance(error, DomainError):
                for job in jobs:
                    self._commit([job])
                return
            for job in jobs:
                _answer(job, error)
            return
        self._told()
        for job in jobs:
            _answer(job, job.answer)

    def _persist(self, jobs: Sequence[_Job]) -> None:
        """Commit, again after a lost race, and after an outage only if it had not taken effect."""
        give_up = monotonic() + _OUTAGE_SECONDS
        attempts = 0
        while True:
            attempt = _Attempt(jobs, self._keys)
            try:
                for job in jobs:
                    self._ensure_month(job.submission.received)
                with self._engine.begin() as rows:
                    attempt.run(rows)
                return
            except KeysTaken:
                continue
            except CONFLICTS as race:
                attempts += 1
                if len(jobs) > 1:
                    raise
                if attempts == _ATTEMPTS:
                    raise VersionConflict from race
            except OUTAGES as outage:
                if self._took_effect(attempt, give_up):
                    return
                if monotonic() > give_up:
                    raise Unavailable("the database does not answer") from outage
                sleep(0.05)

    def _took_effect(self, attempt: "_Attempt", give_up: float) -> bool:
        """Whether a commit whose answer got lost is in the database, as soon as that answers."""
        while attempt.claimed and monotonic() < give_up:
            try:
                with self._engine.begin() as rows:
                    return attempt.took_effect(rows)
            except OUTAGES:
                sleep(0.05)
        return False

    def _ensure_month(self, received: int) -> None:
        """Make the partition for this month and the next, in time and in transactions of their own."""
        at = instant(received)
        if (at.year, at.month) in self._months:
            return
        for month in (at, at + timedelta(days=31)):
            try:
                with self._engine.begin() as rows:
                    rows.execute(sa.text("SELECT ensure_accepted_month(:month)"), {"month": month})
            except sa.exc.ProgrammingError as error:
                # Another writer made it while this one waited for its turn to look again: it remembers that there was none.
                if not isinstance(error.orig, DuplicateTable):
                    raise
        self._months.add((at.year, at.month))


class _Attempt:
    """One try at committing some batches."""

    def __init__(self, jobs: Sequence[_Job], keys: MessageKeys) -> None:
        self._jobs = jobs
        self._keys = keys
        self._transaction_id = ""
        self.claimed: tuple[str, bytes] | None = None

    def run(self, rows: sa.Connection) -> None:
        receipts = PostgresReceipts(rows)
        wanted = self._keys_by_tenant()
        with pipeline(rows):  # everything there is to ask before anything is written, in one round trip
            turn = driver_cursor(rows).execute(_TURN, [LOCK_CLASS])
            asked = receipts.ask({key for job in self._jobs if (key := _receipt_key(job))})
            asked_keys = self._keys.ask(rows, wanted)
        self._transaction_id = str(turn.fetchall()[0][1])
        self._recall(receipts.answered(asked))
        jobs = [job for job in self._jobs if not job.is_repeated]
        with driver_cursor(rows) as cursor:
            for tenant in wanted:
                known = answered(asked_keys[tenant]) if asked_keys else None
                self._claim(cursor, tenant, [job for job in jobs if job.submission.tenant == tenant], known)
            _write(cursor, jobs)
        receipts.write([receipt for job in jobs if (receipt := _concluded(job))])

    def took_effect(self, rows: sa.Connection) -> bool:
        """Whether it was this attempt that took the key it claimed; waits for its turn, and so until the attempt has ended.

        Its transaction id alone would not do: after a crash the server gives ids it has no trace of to others.
        """
        tenant, key = self.claimed or ("", b"")
        with driver_cursor(rows) as cursor:
            cursor.execute(_TURN, [LOCK_CLASS])
            return has_taken(cursor, tenant, key, row_xmin(self._transaction_id))

    def _keys_by_tenant(self) -> dict[str, set[bytes]]:
        """In the order of tenants, in which all writers take keys."""
        wanted: dict[str, set[bytes]] = {it: set() for it in sorted({job.submission.tenant for job in self._jobs})}
        for job in self._jobs:
            wanted[job.submission.tenant].update(job.submission.keys)
        for keys in wanted.values():
            keys.discard(b"")
        return wanted

    def _claim(self, cursor: psycopg.Cursor[Any], tenant: str, jobs: Sequence[_Job], known: Keys | None) -> None:
        """Take the keys of all batches of one tenant; whoever comes second is a duplicate.

        `known` is what was taken before, if anybody asked.
        """
        keys = [key for job in jobs for key in job.submission.keys]
        prints = [it for job in jobs for it in job.submission.prints]
        first = dict(zip(reversed(keys), reversed(prints), strict=True))  # the first of each key is the last one put
        first.pop(b"", None)
        self._keys.take(cursor, tenant, first, known)
        fresh = next((it for it in first if not known or it not in known), None)
        if fresh:
            self.claimed = (tenant, fresh)
        if known or len(first) < len(keys):
            _mark_duplicates(jobs, known or {})

    def _recall(self, known: Mapping[ReceiptKey, Receipt]) -> None:
        """Answer batches that were answered before as they were then."""
        for job in self._jobs:
            key, call = _receipt_key(job), job.submission.call
            job.verdicts = list(job.submission.verdicts)
            job.is_repeated = key in known
            if call and key and key in known:
                try:
                    known[key].replay(call)
                    job.answer = known[key].answer
                except DomainError as refusal:
                    job.answer = refusal


def _mark_duplicates(jobs: Sequence[_Job], known: Keys) -> None:
    """`known` is what was taken before, with the fingerprint of its content; what comes first becomes known."""
    for job in jobs:
        for index, (key, fingerprint) in enumerate(zip(job.submission.keys, job.submission.prints, strict=True)):
            if key in known:
                job.verdicts[index] = DUPLICATE if known[key] == fingerprint else CONFLICTING
            elif key:
                known[key] = fingerprint


def _write(cursor: psycopg.Cursor[Any], jobs: Sequence[_Job]) -> None:
    """Copy what is accepted, put aside what is not, and count."""
    accepted: list[bytes] = []
    quarantine: list[bytes] = []
    conflicts: list[bytes] = []
    tallies = Tallies()
    for job in jobs:
        submission, verdicts = job.submission, job.verdicts
        others = {index: it for index, it in enumerate(verdicts) if it and it.outcome is not Outcome.ACCEPTED}
        rows, labels = submission.rows, submission.labels
        for index, verdict in others.items():
            tallies.count(submission, [labels[index]], verdict)
            if verdict.outcome is Outcome.QUARANTINED:
                quarantine.append(_aside(submission, index, verdict))
            elif verdict is CONFLICTING:
                conflicts.append(_aside(submission, index, None))
        if others:
            rows = [it for index, it in enumerate(rows) if index not in others]
            labels = [it for index, it in enumerate(labels) if index not in others]
        accepted += rows
        tallies.count(submission, labels, ACCEPTED)
    for table, columns, found in (
        ("accepted", ACCEPTED_COLUMNS, accepted),
        ("quarantine", QUARANTINE_COLUMNS, quarantine),
        ("conflicts", CONFLICT_COLUMNS, conflicts),
    ):
        if found:
            copy_rows(cursor, table, columns, found)
    tallies.write(cursor)


def _aside(submission: Submission, index: int, verdict: Verdict | None) -> bytes:
    """A row of `quarantine`, or without a verdict of `conflicts`."""
    event = submission.events[index]
    names = (event.source_key, event.message_id, event.event_type)
    return aside_row(submission.tenant, submission.received, names, verdict, event.SerializeToString())


def _concluded(job: _Job) -> Receipt | None:
    """Make up the answer, and the receipt for it if the request has a number."""
    submission = job.submission
    frame = result_frame(ACCEPTED)
    job.answer = b"".join([frame if it is None else result_frame(it) for it in job.verdicts])
    call = submission.call
    if call is None:
        return None
    return Receipt(submission.tenant, call.rpc, call.request_id, call.fingerprint, ANSWER_TYPE, job.answer)


def _receipt_key(job: _Job) -> ReceiptKey | None:
    call = job.submission.call
    return (job.submission.tenant, call.rpc, call.request_id) if call else None


def _answer(job: _Job, answer: bytes | Exception) -> None:
    if isinstance(answer, Exception):
        job.done.set_exception(answer)
    else:
        job.done.set_result(answer)
