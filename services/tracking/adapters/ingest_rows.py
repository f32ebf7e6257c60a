"""What is stored of events beside those accepted: rows put aside, and counts of what became of how many."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import psycopg

from services.tracking.adapters import binary_copy as pg
from services.tracking.adapters.submission import Label, Submission
from services.tracking.domain.intake import Verdict

QUARANTINE_COLUMNS: Final = (
    "tenant", "received_at", "source_key", "message_id", "event_type", "reason", "field", "payload",
)  # fmt: skip
CONFLICT_COLUMNS: Final = ("tenant", "received_at", "source_key", "message_id", "event_type", "payload")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TALLY: Final = """
INSERT INTO tallies SELECT * FROM unnest(%s::text[], %s::date[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::bigint[], %s::bigint[])
ON CONFLICT (tenant, received_on, source_key, event_type, outcome, reason)
DO UPDATE SET count = tallies.count + excluded.count, late = tallies.late + excluded.late
"""

TallyKey = tuple[str, date, str, str, str, str]


class Tallies:
    """Counts of events by source, type and outcome, to be added to those in the database."""

    def __init__(self) -> None:
        self._counts: dict[TallyKey, list[int]] = {}

    def count(self, submission: Submission, labels: Sequence[Label], verdict: Verdict) -> None:
        for (source_key, event_type, is_late), number in Counter(labels).items():
            names = (source_key, event_type, verdict.outcome.value, verdict.reason.value)
            self.add(submission.tenant, submission.received, names, number, number if is_late else 0)

    def add(self, tenant: str, received: int, names: tuple[str, str, str, str], number: int, late: int) -> None:
        """`names` are source, type, outcome and reason; a number below zero takes back what was counted."""
        counts = self._counts.setdefault((tenant, instant(received).date(), *names), [0, 0])
        counts[0] += number
        counts[1] += late

    def write(self, cursor: psycopg.Cursor[Any]) -> None:
        """To be called by who has the turn to write."""
        if self._counts:
            rows = [(*key, *counts) for key, counts in sorted(self._counts.items())]
            cursor.execute(_TALLY, [list(column) for column in zip(*rows, strict=True)])


def aside_row(
    tenant: str, received: int, names: tuple[str, str, str], verdict: Verdict | None, payload: bytes
) -> bytes:
    """A row of `quarantine`, or without a verdict of `conflicts`; names are source, message and type."""
    columns = [pg.text(tenant), pg.instant(received), *map(pg.text, names)]
    if verdict:
        columns += [pg.text(verdict.reason.value), pg.text(verdict.field)]
    columns.append(pg.binary(payload))
    return pg.columns_in_row(len(columns)) + b"".join(columns)


def instant(since: int) -> datetime:
    """An instant from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=since)


def microseconds(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)
