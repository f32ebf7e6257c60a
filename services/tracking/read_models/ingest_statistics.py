"""The accounts of ingestion, from the counts that were committed with the events themselves."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from services.tracking.domain.intake import Outcome, Reason

_SUM: Final = sa.text(
    "SELECT source_key, event_type, outcome, reason, sum(count)::bigint AS number, sum(late)::bigint AS late FROM tallies"
    " WHERE tenant = current_setting('scrm.tenant')"
    " AND (:source = '' OR source_key = :source) AND (:type = '' OR event_type = :type)"
    " GROUP BY source_key, event_type, outcome, reason HAVING sum(count) <> 0"
    " ORDER BY source_key, event_type, outcome, reason"
)


@dataclass(frozen=True, slots=True)
class IngestCount:
    """How many events of one source and type had one outcome, and how many of them were late."""

    source_key: str
    event_type: str
    outcome: Outcome
    reason: Reason
    count: int
    late: int


def ingest_counts(rows: sa.Connection, source_key: str = "", event_type: str = "") -> list[IngestCount]:
    """By source, type, outcome and reason; of one source or type if named."""
    found = rows.execute(_SUM, {"source": source_key, "type": event_type})
    return [
        IngestCount(it.source_key, it.event_type, Outcome(it.outcome), Reason(it.reason), it.number, it.late)
        for it in found
    ]
