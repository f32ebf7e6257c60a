"""How fast audiences are at 100,000 customers and at a million: asked for, published, kept up to date by events and by the clock.

The facts of the past are written into tagging's tables (population.py); everything else goes the way of callers and other services:
tags and segments are defined over gRPC, new behaviours come over JetStream, and who enters is heard of by what tagging publishes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter, time
from typing import Final, NamedTuple
from uuid import UUID

import psutil
import psycopg

from bench.calls import channel, percentile, processor_seconds, rested, timed
from bench.definitions import (
    ALL_PUBLISHED,
    ENTRY,
    HEAVY,
    LEAVES,
    PUBLISHED,
    WAITED,
    Definitions,
    further,
    of_tags,
    published,
)
from bench.figures import Figure, at_most
from bench.population import FACTS, TAGS, TYPES, fill, holders, node, type_of
from bench.stream import Behaved, Entries, Stream
from chassis.clock import SystemClock
from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack

SIZES: Final = (100_000, 1_000_000)
ASKED: Final = 300
BACKLOG: Final = 20_000
PROBES: Final = 200
EVENTS_PER_SECOND: Final = 500
_TICKS_PER_SECOND: Final = 20
_TICKS_PER_PROBE: Final = 2
_EVENTS_PER_TICK: Final = EVENTS_PER_SECOND // _TICKS_PER_SECOND
_HEAVY_BARE: Final = (
    "SELECT count(*) FROM (SELECT node FROM behaviours WHERE tenant = %s AND occurred_at > now() - interval '365 days'"
    " GROUP BY node HAVING count(*) >= 12) x"
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured with: customers, audiences asked for, definitions published in all, events of the backlog, probes."""

    customers: int
    asked: int = ASKED
    definitions: int = ALL_PUBLISHED
    backlog: int = BACKLOG
    probes: int = PROBES

    @property
    def label(self) -> str:
        thousands = self.customers // 1000
        return f"{thousands // 1000}m" if thousands % 1000 == 0 else f"{thousands}k"

    @property
    def tenant(self) -> str:
        return f"audiences{self.label}"


def measure(state: Path, scales: Sequence[Scale], say: Callable[[str], None] = print) -> list[Figure]:
    """On a stack of its own: PostgreSQL, NATS and tagging, which has the streams of the others to itself."""
    with LocalStack(state, ("tagging",), environment={"SCRM_POLL_SECONDS": "0.05"}) as stack:
        dsn = stack.postgres.dsn("tagging", "postgres")
        with psycopg.connect(dsn, autocommit=True) as rows:
            return [figure for it in scales for figure in asyncio.run(_Audiences(stack, it, rows, say).figures())]


class _Audiences:
    """All figures at one scale; their names end in its label."""

    def __init__(self, stack: LocalStack, scale: Scale, rows: psycopg.Connection, say: Callable[[str], None]) -> None:
        self._stack, self._scale, self._rows = stack, scale, rows
        self._tell = say
        self._metadata = (("authorization", f"Bearer {stack.credentials.mint(scale.tenant, scopes())}"),)
        self._draw = Random(scale.customers)  # noqa: S311 - nothing secret

    async def figures(self) -> list[Figure]:
        self._say("filling")
        fill(self._rows, self._scale.tenant, self._scale.customers, _now())
        async with channel(self._stack.address("tagging")) as opened, Stream.opened(self._stack) as stream:
            calls = Definitions(opened, self._metadata)
            await calls.define_tags()
            self._say("asking")
            found = await self._asked(calls)
            idle = await self._evaluated(stream)
            self._say("publishing")
            found += await self._published(calls)
            self._say("taking events in")
            busy = await self._evaluated(stream)
            found += self._of_events(idle, busy)
            self._say("following events and the clock")
            found += await self._followed(calls, stream)
        return [*found, self._memory()]

    async def _asked(self, calls: Definitions) -> list[Figure]:
        """Audiences of eight tags, counted over gRPC with a sample, and by bare operations on the same bitmaps in this process."""
        requests = await calls.previews([of_tags(self._draw) for _ in range(20)])

        async def call(number: int) -> None:
            await calls.preview(requests[number % len(requests)])

        await timed(1, len(requests), call)
        waited = await timed(1, self._scale.asked, call)
        bare = self._bare()
        said = f"count and sample of an audience of {LEAVES} tags among {self._scale.customers:,}"
        return [
            self._at_most("audience_8_leaves_ms_p99", percentile(waited, 99), 20, f"{said}, over gRPC"),
            self._figure("audience_8_leaves_ms_p50", percentile(waited, 50), "ms", "the same, median"),
            self._figure(
                "bare_bitmaps_ms_p99", percentile(bare, 99), "ms", "the operations alone, on bitmaps in memory"
            ),
        ]

    def _bare(self) -> list[float]:
        sets = [holders(it, self._scale.customers) for it in range(TAGS)]
        waited = []
        for _ in range(self._scale.asked):
            one, two, three, four, five, six, seven, eight = self._draw.sample(sets, LEAVES)
            started = perf_counter()
            len((one | two | three) & (four | five | six) - (seven | eight))
            waited.append(perf_counter() - started)
        return waited

    async def _published(self, calls: Definitions) -> list[Figure]:
        """The published segments one after the other, the dearest first and by itself; then those that come to them."""
        dearest, *others = published()
        started = perf_counter()
        waited = [await self._publish(calls, "dearest", dearest)]
        await rested(self._stack)
        followed = perf_counter() - started
        waited += [await self._publish(calls, f"other {number}", it) for number, it in enumerate(others)]
        for number, text in enumerate(further(self._scale.definitions - PUBLISHED)):
            await calls.publish(f"further {number}", text)
        await rested(self._stack)
        facts = f"{self._scale.customers:,} customers and {self._scale.customers * FACTS:,} facts"
        told = "the same until everybody who entered is told of"
        return [
            self._figure("publish_segment_s", waited[0], "s", f"publishing `{HEAVY}` over {facts}"),
            self._figure("publish_segment_told_s", followed, "s", told),
            self._figure("bare_count_s", self._bare_count(), "s", "the same count by a bare statement over behaviours"),
            self._figure("publish_segment_median_s", median(waited), "s", f"the median of all {PUBLISHED} segments"),
        ]

    async def _publish(self, calls: Definitions, name: str, text: str) -> float:
        started = perf_counter()
        await calls.publish(name, text)
        return perf_counter() - started

    def _bare_count(self) -> float:
        started = perf_counter()
        self._rows.execute(_HEAVY_BARE.encode(), [self._scale.tenant]).fetchone()
        return perf_counter() - started

    async def _evaluated(self, stream: Stream) -> "_Cost":
        """A backlog of behaviours of customers at random, to the last one taken in."""
        events = [self._noise() for _ in range(self._scale.backlog)]
        await rested(self._stack)
        before, started = self._spent(), perf_counter()
        already = self._taken_in()
        await stream.publish(self._scale.tenant, events)
        while self._taken_in() < already + len(events):  # noqa: ASYNC110 - the table has no event to wait for
            await asyncio.sleep(0.02)
        seconds = perf_counter() - started
        service, postgres = (now - was for was, now in zip(before, self._spent(), strict=True))
        await rested(self._stack)
        return _Cost(len(events) / seconds, service / len(events) * 1e6, postgres / len(events) * 1e6)

    def _of_events(self, idle: "_Cost", busy: "_Cost") -> list[Figure]:
        said = f"with {self._scale.definitions} definitions published"
        return [
            self._figure("evaluate_events_per_s", busy.events_per_s, "events/s", f"behaviours taken in {said}"),
            self._figure("evaluate_service_us", busy.service, "µs", "processor time of tagging for one of them"),
            self._figure("evaluate_postgres_us", busy.postgres, "µs", "processor time of PostgreSQL for one of them"),
            self._figure("take_in_events_per_s", idle.events_per_s, "events/s", "the same with nothing defined"),
            self._figure("take_in_service_us", idle.service, "µs", "processor time of tagging for one of those"),
        ]

    async def _followed(self, calls: Definitions, stream: Stream) -> list[Figure]:
        """Who enters by an event, and who by the clock, while others' events come in: when it is heard of."""
        entry = (await calls.publish("entry", ENTRY)).segment_id
        waited_for = (await calls.publish("waited", WAITED)).segment_id
        await rested(self._stack)
        who = self._draw.sample(range(self._scale.customers), 2 * self._scale.probes)
        async with Entries.heard(stream, self._scale.tenant) as entries:
            before, started = self._spent(), perf_counter()
            since = await self._under_load(stream, who[: self._scale.probes], "bench_entry")
            seconds = perf_counter() - started
            spent = [(now - was) / seconds for was, now in zip(before, self._spent(), strict=True)]
            fresh = await entries.after(entry, since)
            waiting = await self._under_load(stream, who[self._scale.probes :], "bench_cart", ahead=True)
            late = await entries.late(waited_for, waiting)
        rate = len(since) * _TICKS_PER_PROBE * _EVENTS_PER_TICK / seconds
        return self._of_probes(fresh, late, _Cost(rate, *spent))

    def _of_probes(self, fresh: Sequence[float], late: Sequence[float], load: "_Cost") -> list[Figure]:
        said = f"at {load.events_per_s:.0f} events/s, {self._scale.definitions} definitions, {len(fresh)} probes"
        effect = f"from a behaviour in the stream to its published effect, {said}"
        due = f"from the due instant to the published effect, {said}"
        return [
            self._at_most("freshness_p99_ms", percentile(fresh, 99), 500, effect),
            self._figure("freshness_p50_ms", percentile(fresh, 50), "ms", "the same, median"),
            self._figure("freshness_service_share", load.service, "s/s", "processor time of tagging meanwhile"),
            self._figure("freshness_postgres_share", load.postgres, "s/s", "processor time of PostgreSQL meanwhile"),
            self._figure("timer_lateness_ms_p99", percentile(late, 99), "ms", due),
            self._figure("timer_lateness_ms_p50", percentile(late, 50), "ms", "the same, median"),
        ]

    async def _under_load(
        self, stream: Stream, who: Sequence[int], kind: str, *, ahead: bool = False
    ) -> dict[UUID, float]:
        """Publish a behaviour of each of `who` among those of others, evenly over time; by customer, when it was stored.

        `ahead`: what it begins to wait for is over two or three seconds later, not at once.
        """
        since: dict[UUID, float] = {}
        loop = asyncio.get_running_loop()
        tick, ticks = 1 / _TICKS_PER_SECOND, len(who) * _TICKS_PER_PROBE
        began = loop.time()
        for number in range(ticks):
            events = [self._noise() for _ in range(_EVENTS_PER_TICK)]
            if number % _TICKS_PER_PROBE == 0:
                at = _now() - timedelta(hours=1) + timedelta(seconds=2 + self._draw.random()) if ahead else _now()
                events[0] = Behaved(node(who[number // _TICKS_PER_PROBE]), kind, at)
            await stream.publish(self._scale.tenant, events)
            if number % _TICKS_PER_PROBE == 0:
                since[events[0].node] = time()
            await asyncio.sleep(max(0.0, began + (number + 1) * tick - loop.time()))
        return since

    def _noise(self) -> Behaved:
        """Something that one of the customers does now."""
        customer = node(self._draw.randrange(self._scale.customers))
        return Behaved(customer, type_of(self._draw.randrange(TYPES)), _now())

    def _say(self, what: str) -> None:
        self._tell(f"tagging at {self._scale.label}: {what} …")

    def _memory(self) -> Figure:
        resident = psutil.Process(self._stack.pid("tagging")).memory_info().rss / 1e6
        return self._figure("rss_mb_tagging", resident, "MB", "resident memory of tagging after all that")

    def _taken_in(self) -> int:
        found = self._rows.execute("SELECT messages FROM intake WHERE tenant = %s", [self._scale.tenant]).fetchone()
        return int(found[0]) if found else 0

    def _spent(self) -> tuple[float, float]:
        """Seconds of processor time of tagging, and of PostgreSQL with all its processes."""
        postgres = psutil.Process(self._stack.pid("postgres")).children()
        return processor_seconds(psutil.Process(self._stack.pid("tagging"))), sum(map(processor_seconds, postgres))

    def _figure(self, name: str, value: float, unit: str, meaning: str) -> Figure:
        self._tell(f"{name}_at_{self._scale.label} = {value:.4g} {unit}")
        return Figure(f"{name}_at_{self._scale.label}", value, unit, meaning)

    def _at_most(self, name: str, value: float, bar: float, meaning: str) -> Figure:
        self._tell(f"{name}_at_{self._scale.label} = {value:.4g} ms")
        return at_most(f"{name}_at_{self._scale.label}", value, bar, meaning, "ms")


class _Cost(NamedTuple):
    """Events a second, and the processor time of tagging and of PostgreSQL: microseconds for one of them, or seconds in a second."""

    events_per_s: float
    service: float
    postgres: float


def _now() -> datetime:
    return SystemClock().now()
