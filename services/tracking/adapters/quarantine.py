"""The table of events put aside, and their way back into the intake.

A row stays as it came. That its event was accepted after all is a row of `released`, written in the same transaction as the
event itself; so it happens once.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from chassis.context import Context
from chassis.postgres import driver_cursor
from scrm.tracking.v1 import behaviour_pb2, tracking_service_pb2
from services.tracking.adapters import binary_copy as pg
from services.tracking.adapters.ingest_rows import Tallies, microseconds
from services.tracking.adapters.ingest_writer import LOCK_CLASS
from services.tracking.adapters.submission import ACCEPTED_COLUMNS, Label, Reader, Submission
from services.tracking.application.quarantine_commands import Replayed, ReplayQuarantined
from services.tracking.domain.intake import (
    FUTURE_TOLERANCE,
    SECOND,
    Outcome,
    Reason,
    Verdict,
    occurred_at,
)
from services.tracking.domain.plan import Plan

_TURN: Final = "SELECT pg_advisory_xact_lock(%s, hashtext('accepted'))"
_READ: Final = """
SELECT q.number, q.received_at, q.reason, q.payload FROM quarantine q
WHERE q.tenant = %(tenant)s AND q.number > %(after)s AND q.reason = ANY(%(reasons)s)
  AND (%(source)s = '' OR q.source_key = %(source)s) AND (%(type)s = '' OR q.event_type = %(type)s)
  AND (%(message)s = '' OR q.message_id = %(message)s)
  AND (%(start)s::timestamptz IS NULL OR q.received_at >= %(start)s)
  AND (%(end)s::timestamptz IS NULL OR q.received_at < %(end)s)
  AND NOT EXISTS (SELECT FROM released r WHERE (r.tenant, r.number) = (q.tenant, q.number))
ORDER BY q.number LIMIT %(limit)s
"""
_RELEASE: Final = "INSERT INTO released (tenant, number, released_at) SELECT %s, unnest(%s::bigint[]), %s"
_MONTH: Final = "SELECT ensure_accepted_month(%s)"

_Row = tuple[int, datetime, str, bytes]


class SqlQuarantine:
    """The rows of `tenant` in the transaction of `rows`."""

    def __init__(self, rows: sa.Connection, tenant: str) -> None:
        self._rows = rows
        self._context = Context.system(tenant, "replay")

    def replay(self, wanted: ReplayQuarantined, plan: Plan, now: datetime) -> Replayed:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_TURN, [LOCK_CLASS])  # as everybody who appends to `accepted`
            found = self._read(cursor, wanted)
            shown = found[: wanted.limit]
            refused: Counter[Reason] = Counter()
            good: list[tuple[int, bytes]] = []
            tallies = Tallies()
            for received, group in groupby(shown, key=lambda it: it[1]):
                judged = self._judge(received, list(group), plan)
                cursor.execute(_MONTH, [received])
                for (number, _, reason, _), row, label, event, verdict in judged:
                    fault = _fault(verdict, event, microseconds(received), now, late=wanted.accept_late)
                    if fault:
                        refused[fault] += 1
                        continue
                    good.append((number, row))
                    self._recount(tallies, received, label, reason)
            self._accept(cursor, good, tallies, now)
        return Replayed(len(good), dict(refused), shown[-1][0] if shown else 0, len(found) > len(shown))

    def _read(self, cursor: psycopg.Cursor[Any], wanted: ReplayQuarantined) -> Sequence[_Row]:
        return cursor.execute(
            _READ,
            {
                "tenant": self._context.tenant,
                "after": wanted.after,
                "reasons": [it.value for it in wanted.reasons],
                "source": wanted.source_key,
                "type": wanted.event_type,
                "message": wanted.message_id,
                "start": wanted.start,
                "end": wanted.end,
                "limit": wanted.limit + 1,
            },
        ).fetchall()

    def _judge(
        self, received: datetime, rows: Sequence[_Row], plan: Plan
    ) -> list[tuple[_Row, bytes, Label, behaviour_pb2.TrackedEvent, Verdict | None]]:
        """With each row what it becomes among the accepted, how it is counted, the event and what is said of it."""
        events = [behaviour_pb2.TrackedEvent.FromString(payload) for _, _, _, payload in rows]
        request = tracking_service_pb2.TrackBatchRequest(events=events)
        read: Submission = Reader(self._context, microseconds(received), plan=plan).read(request)
        return list(zip(rows, read.rows, read.labels, events, read.verdicts, strict=True))

    def _recount(self, tallies: Tallies, received: datetime, label: Label, reason: str) -> None:
        """It was put aside, and is accepted after all."""
        source_key, event_type, is_late = label
        late, since = int(is_late), microseconds(received)
        tenant = self._context.tenant
        tallies.add(tenant, since, (source_key, event_type, Outcome.QUARANTINED.value, reason), -1, -late)
        tallies.add(tenant, since, (source_key, event_type, Outcome.ACCEPTED.value, ""), 1, late)

    def _accept(
        self, cursor: psycopg.Cursor[Any], good: Sequence[tuple[int, bytes]], tallies: Tallies, now: datetime
    ) -> None:
        if good:
            pg.copy_rows(cursor, "accepted", ACCEPTED_COLUMNS, [row for _, row in good])
            cursor.execute(_RELEASE, [self._context.tenant, [number for number, _ in good], now])
            tallies.write(cursor)


def _fault(
    verdict: Verdict | None, event: behaviour_pb2.TrackedEvent, received: int, now: datetime, *, late: bool
) -> Reason | None:
    """Why the event stays aside, if it does; what was in the future when it came may have passed since."""
    if verdict is None or verdict.outcome is Outcome.ACCEPTED:
        return None
    if verdict.reason is Reason.TOO_LATE and late:
        return None
    if verdict.reason is Reason.FUTURE_TIMESTAMP and _occurred(event, received) <= microseconds(now) + FUTURE_TOLERANCE:
        return None
    return verdict.reason


def _occurred(event: behaviour_pb2.TrackedEvent, received: int) -> int:
    """When it happened, in microseconds."""
    original = event.original_time.seconds * SECOND + event.original_time.nanos // 1000
    if not event.HasField("sent_time"):
        return original
    sent = event.sent_time.seconds * SECOND + event.sent_time.nanos // 1000
    return occurred_at(original, sent, received)
