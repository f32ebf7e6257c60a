"""The loop that removes what is kept no longer: what came in and was resolved, what was put aside, and behaviours of long ago.

`Retention(engine, terms, clock)` is a `Loop`. It looks once an hour, and removes in pieces, each a short transaction of its own. What
tells duplicates and what counts outcomes is kept for ever: a message is known again when everything else of it is gone.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
import structlog

from chassis.clock import Clock
from chassis.errors import described
from chassis.group_commit import OUTAGES
from chassis.leadership import leading, persevere
from chassis.loops import CHECK_SECONDS, Progress

PIECE: Final = 5_000
LOOK_SECONDS: Final = 3600.0

_DROP: Final = sa.text(
    "SELECT drop_accepted_months(:before, (SELECT min(position) FROM resolver_cursor WHERE name IN ('resolve', 'orders')))"
)
# Positions grow with the time of receipt, so the oldest behaviours are the first; those that a loop has not looked at yet stay.
_BEHAVIOURS: Final = sa.text("""
DELETE FROM behaviours b USING (
  SELECT tenant, node, occurred_at, position, received_at FROM behaviours
  WHERE position <= (SELECT position FROM resolver_cursor WHERE name = 'resolve') ORDER BY position LIMIT :piece
) old
WHERE old.received_at < :before
  AND (b.tenant, b.node, b.occurred_at, b.position) = (old.tenant, old.node, old.occurred_at, old.position)
""")
_ASIDE: Final = """
WITH gone AS (
  DELETE FROM {table} t USING (SELECT tenant, number, received_at FROM {table} ORDER BY number LIMIT :piece) old
  WHERE old.received_at < :before AND (t.tenant, t.number) = (old.tenant, old.number) RETURNING t.number
) SELECT count(*) FROM gone
"""
_STATEMENTS: Final = {table: sa.text(_ASIDE.format(table=table)) for table in ("quarantine", "conflicts")}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """For how long things are kept, in days since they were received."""

    accepted: int
    aside: int
    behaviours: int


class Retention:
    """`removed` counts rows, and months of what was accepted as one each."""

    name = "retention"

    def __init__(self, engine: sa.Engine, terms: Terms, clock: Clock) -> None:
        self.removed = 0
        self._engine = engine
        self._terms = terms
        self._clock = clock

    async def run(self) -> None:
        """Remove whenever this one leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """Nobody waits for this loop: it is never behind."""
        return [Progress("loop", self.name, self.removed, 0)]

    def sweep(self) -> dict[str, int]:
        """Remove all that is due; how much of what."""
        found = {"accepted_months": self._months(), "behaviours": self._pieces(_BEHAVIOURS, self._terms.behaviours)}
        found |= {table: self._pieces(it, self._terms.aside) for table, it in _STATEMENTS.items()}
        self.removed += sum(found.values())
        return found

    async def _lead(self) -> None:
        async with leading(self._engine, "tracking/retention") as leadership:
            loop = asyncio.get_running_loop()
            due = loop.time()
            while True:
                if loop.time() >= due:
                    found = await asyncio.to_thread(self.sweep)
                    if any(found.values()):
                        _log.info("retention.removed", **found)
                    due = loop.time() + LOOK_SECONDS
                await asyncio.sleep(CHECK_SECONDS)
                await leadership.check()

    def _months(self) -> int:
        try:
            with self._engine.begin() as rows:
                return int(rows.scalar(_DROP, {"before": self._before(self._terms.accepted)}) or 0)
        except OUTAGES as busy:  # a lock that was not given in time is one of them
            _log.info("retention.months_another_time", reason=described(busy))
            return 0

    def _pieces(self, statement: sa.TextClause, days: int) -> int:
        count, before = 0, self._before(days)
        while True:
            with self._engine.begin() as rows:
                found = rows.execute(statement, {"before": before, "piece": PIECE})
                removed = int(found.scalar_one()) if found.returns_rows else found.rowcount
            count += removed
            if removed < PIECE:
                return count

    def _before(self, days: int) -> datetime:
        return self._clock.now() - timedelta(days=days)
