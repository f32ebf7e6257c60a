"""The loop that follows behaviours and records the orders that trusted sources report in them.

`OrderReporter(bus, engine)` is a `Loop`. Facts of orders, what was refused of them, and the cursor commit in one transaction, so
that each report takes effect once. A refused one is put aside with the reason; the behaviour stays in the trail.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa

from chassis.commands import CommandBus, Unit
from chassis.context import Context
from chassis.errors import TRANSIENT, DomainError
from chassis.group_commit import Outcome
from chassis.leadership import leading, persevere
from chassis.loops import Progress
from chassis.postgres import driver_cursor, reading
from chassis.pulse import News, Pulse
from chassis.quick_look import QuickLook
from chassis.threads import in_thread
from chassis.unit_of_work import replay
from services.tracking.application.order_reports import OrderReport, commands_of, refused
from services.tracking.domain.source import IngestSource, source_id

MOST_REPORTS: Final = 500

_CURSOR: Final = "SELECT position FROM resolver_cursor WHERE name = 'orders'"
_READ: Final = sa.text(
    "SELECT position, tenant, source_key AS source, message_id, event_type, node, occurred_at, properties FROM behaviours"
    " WHERE event_type IN ('order_completed', 'order_refunded', 'order_cancelled') AND position > :after"
    " ORDER BY position LIMIT :limit"
)
_HEAD: Final = (
    "SELECT coalesce(max(position), 0) FROM behaviours"
    " WHERE event_type IN ('order_completed', 'order_refunded', 'order_cancelled')"
)
_WAITING: Final = f"SELECT ({_HEAD}) > ({_CURSOR})"
_MOVE: Final = "UPDATE resolver_cursor SET position = %s WHERE name = 'orders' AND position = %s"
_PUT_ASIDE: Final = """
INSERT INTO quarantine (tenant, received_at, source_key, message_id, event_type, reason, field, payload)
SELECT a.tenant, a.received_at, a.source_key, a.message_id, a.event_type, 'ORDER_REFUSED', why.field, a.payload
FROM unnest(%s::bigint[], %s::text[]) AS why (position, field) JOIN accepted a USING (position)
"""


class ReportsTaken(Exception):
    """Somebody else recorded these reports meanwhile."""


class OrderReporter:
    """`reported` counts behaviours that spoke of an order."""

    name = "orders"

    def __init__(self, bus: CommandBus, engine: sa.Engine, *, poll: float = 0.05, pulse: Pulse | None = None) -> None:
        self.reported = 0
        self._bus = bus
        self._engine = engine
        self._poll = poll
        self._news = (pulse or Pulse()).listener(News.BESIDE)

    async def run(self) -> None:
        """Record whenever this one leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """`position` is the last report recorded, `head` the last one there is."""
        look = QuickLook.of(self._engine)
        asked = look.ask_scalar(_CURSOR), look.ask_scalar(_HEAD)
        position, head = await asked[0] or 0, await asked[1]
        return [Progress("loop", self.name, position, max(0, head - position), head)]

    async def step(self) -> int:
        """Record the next reports; how many there were. Raises DomainError for what passes, such as a lost race."""
        if not await QuickLook.of(self._engine).ask_scalar(_WAITING):
            return 0
        was, reports = await in_thread(self._read)
        if reports:
            trusted = await in_thread(self._trusted, reports)
            await self._record(was, reports, trusted)
            self.reported += len(reports)
        return len(reports)

    async def _lead(self) -> None:
        async with leading(self._engine, "tracking/orders") as leadership:
            await leadership.work(self.step, lambda: self._news.wait(self._poll))

    async def _record(self, was: int, reports: Sequence[OrderReport], trusted: Mapping[tuple[str, str], bool]) -> None:
        unreadable: dict[int, str] = {}
        commands: list[tuple[OrderReport, Any]] = []
        for report in reports:
            if not trusted.get((report.tenant, report.source)):
                continue
            try:
                commands += [(report, it) for it in commands_of(report)]
            except DomainError as fault:
                unreadable[report.position] = refused(fault)

        def settle(rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
            faults = dict(unreadable)
            for (report, _), outcome in zip(commands, outcomes, strict=True):
                if isinstance(outcome.error, DomainError) and not isinstance(outcome.error, TRANSIENT):
                    faults.setdefault(report.position, refused(outcome.error))
                elif outcome.error:
                    raise outcome.error
            with driver_cursor(rows) as cursor:
                if faults:
                    cursor.execute(_PUT_ASIDE, [list(faults), list(faults.values())])
                if cursor.execute(_MOVE, [reports[-1].position, was]).rowcount != 1:
                    raise ReportsTaken

        items = [(Context.system(report.tenant, self.name), command) for report, command in commands]
        await self._bus.run(Unit(items, settle))

    def _read(self) -> tuple[int, list[OrderReport]]:
        with reading(self._engine) as rows:
            after = rows.exec_driver_sql(_CURSOR).scalar_one()
            found = rows.execute(_READ, {"after": after, "limit": MOST_REPORTS}).mappings().all()
        return after, [OrderReport(**{**it, "properties": orjson.loads(it["properties"])}) for it in found]

    def _trusted(self, reports: Sequence[OrderReport]) -> Mapping[tuple[str, str], bool]:
        """Which sources, by tenant and key, are registered as ones that are believed."""
        keys = {source_id(it.tenant, it.source): (it.tenant, it.source) for it in reports}
        streams = self._bus.store.load(list[UUID](keys))
        found = {keys[id]: replay(stream) for id, stream in streams.items()}
        return {key: isinstance(it, IngestSource) and it.kind.is_trusted for key, it in found.items()}
