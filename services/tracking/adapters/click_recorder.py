"""The loop that decides what hits on links were, and records them as behaviours once that is certain (TR-7).

`ClickRecorder(engine, plans, clock)` is a `Loop`. A hit whose page was seen in time is a click of the visitor the page knows; any other
is a prefetch, of nobody: all of one link are put down to one visitor that stands for them. Each goes the way of all behaviours, under a
message id made of the hit, and is taken out of the waiting ones afterwards: what is interrupted in between is known again.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
import sqlalchemy as sa

from chassis.clock import Clock
from chassis.context import Context
from chassis.leadership import leading, persevere
from chassis.loops import CHECK_SECONDS, Progress
from chassis.postgres import columns, driver_cursor
from chassis.quick_look import QuickLook
from chassis.threads import in_thread
from scrm.tracking.v1 import tracking_service_pb2
from scrm.tracking.v1.behaviour_pb2 import CampaignContext, EventContext, Identifier, TrackedEvent
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.submission import Reader
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.link import BEACON_WITHIN, LinkHit, is_prefetch

MOST_HITS: Final = 1000
PACE_SECONDS: Final = 0.5  # all hits of the last half minute are looked at each time
SOURCE: Final = "links"
CHANNEL: Final = "link"
NOBODY: Final = "prefetch:"
"""What the anonymous id begins with that stands for all prefetches of a link."""

_GRACE: Final = timedelta(seconds=5)  # for a beacon on its way through the log
_BEACONS_KEPT: Final = timedelta(minutes=5)

_READ: Final = """
SELECT h.tenant, h.hit_id, h.at, b.at, coalesce(b.visitor, ''), h.robot, h.short_code, h.kind, h.staff, h.delivery_id, h.share_id,
  h.code_key, h.group_id
FROM link_hits h LEFT JOIN link_beacons b USING (tenant, hit_id)
WHERE h.robot OR b.at IS NOT NULL OR h.at < %s ORDER BY h.at LIMIT %s
"""
_REMOVE: Final = (
    "DELETE FROM {table} t USING unnest(%s::text[], %s::uuid[]) AS k(tenant, hit_id)"
    " WHERE (t.tenant, t.hit_id) = (k.tenant, k.hit_id)"
)
_FORGET: Final = "DELETE FROM link_beacons WHERE at < %s"
_ANY: Final = "SELECT EXISTS (SELECT FROM link_hits)"
_DUE: Final = "SELECT count(*) FROM link_hits WHERE at < %(before)s"


class WaitingHit(NamedTuple):
    """A hit as it waits; `visitor` is empty without a beacon."""

    tenant: str
    hit_id: UUID
    at: datetime
    beacon_at: datetime | None
    visitor: str
    robot: bool
    short_code: str
    kind: str
    staff: str
    delivery_id: str
    share_id: str
    code_key: str
    group_id: str


class ClickRecorder:
    """`recorded` counts the hits it has decided on."""

    name = "clicks"

    def __init__(
        self, engine: sa.Engine, plans: PlanBook, clock: Clock, told: Callable[[], None] = lambda: None
    ) -> None:
        self.recorded = 0
        self._engine = engine
        self._plans = plans
        self._clock = clock
        self._writer = IngestWriter(engine, told)

    async def run(self) -> None:
        """Record whenever this one leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """`position` counts what this loop recorded, `backlog` what no beacon can come for any more."""
        before = self._clock.now() - BEACON_WITHIN - _GRACE
        backlog = await QuickLook.of(self._engine).ask_scalar(_DUE, {"before": before})
        return [Progress("loop", self.name, self.recorded, backlog)]

    def step_now(self) -> int:
        """Record the hits that are decided; how many there were."""
        hits = self._read()
        for tenant in sorted({it.tenant for it in hits}):
            self._submit(tenant, [it for it in hits if it.tenant == tenant])
        if hits:
            self._remove(hits)
        self.recorded += len(hits)
        return len(hits)

    async def _lead(self) -> None:
        async with leading(self._engine, "tracking/clicks") as leadership:
            loop = asyncio.get_running_loop()
            check = loop.time() + CHECK_SECONDS
            while True:
                waiting = await QuickLook.of(self._engine).ask_scalar(_ANY)
                if not (waiting and await in_thread(self.step_now)):
                    await asyncio.sleep(PACE_SECONDS)
                if loop.time() > check:
                    await leadership.check()
                    await in_thread(self._forget)
                    check = loop.time() + CHECK_SECONDS

    def _read(self) -> list[WaitingHit]:
        before = self._clock.now() - BEACON_WITHIN - _GRACE
        with self._engine.begin() as rows, driver_cursor(rows) as cursor:
            return [WaitingHit(*it) for it in cursor.execute(_READ, [before, MOST_HITS], prepare=True)]

    def _submit(self, tenant: str, hits: Iterable[WaitingHit]) -> None:
        events = [event for hit in hits for event in events_of(hit)]
        reader = Reader(
            Context.system(tenant, self.name), microseconds(self._clock.now()), plan=self._plans.look_up(tenant)
        )
        self._writer.submit_now(reader.read(tracking_service_pb2.TrackBatchRequest(events=events)))

    def _remove(self, hits: Sequence[WaitingHit]) -> None:
        names = columns(it[:2] for it in hits)
        with self._engine.begin() as rows, driver_cursor(rows) as cursor:
            for table in ("link_hits", "link_beacons"):
                cursor.execute(_REMOVE.format(table=table).encode(), names)

    def _forget(self) -> None:
        """Beacons for which there is no hit: what was already recorded, or made up."""
        with self._engine.begin() as rows, driver_cursor(rows) as cursor:
            cursor.execute(_FORGET, [self._clock.now() - _BEACONS_KEPT])


def events_of(hit: WaitingHit) -> list[TrackedEvent]:
    """A hit as behaviours: a click, and a scan where it was made by a channel code."""
    prefetch = is_prefetch(LinkHit(hit.at, hit.beacon_at, hit.robot))
    said: dict[str, Any] = {"link_id": hit.short_code, "kind": hit.kind, "hit_id": hit.hit_id.hex, "prefetch": prefetch}
    if prefetch:
        return [_event(hit, "link_clicked", said, NOBODY + hit.short_code, CampaignContext())]
    campaign = CampaignContext(
        code_key=hit.code_key, delivery_id=hit.delivery_id, share_id=hit.share_id, staff_code=hit.staff
    )
    if hit.group_id:
        said["group_id"] = hit.group_id
    found = [_event(hit, "link_clicked", said, hit.visitor, campaign)]
    if hit.code_key:
        scan = {"code_key": hit.code_key, "is_new_follow": False}
        found.append(_event(hit, "qr_scanned", scan, hit.visitor, CampaignContext(code_key=hit.code_key)))
    return found


def _event(
    hit: WaitingHit, event_type: str, properties: dict[str, Any], visitor: str, campaign: CampaignContext
) -> TrackedEvent:
    return TrackedEvent(
        message_id=f"{event_type}:{hit.hit_id.hex}",
        source_key=SOURCE,
        event_type=event_type,
        identifiers=[Identifier(namespace="anonymous_id", value=visitor)],
        original_time=timestamp(hit.at),
        context=EventContext(channel=CHANNEL, campaign=campaign),
        properties_json=orjson.dumps(properties),
    )
