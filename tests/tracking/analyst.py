"""Tracking with its analysis in tests: behaviours and orders go in, identity tells who is whom, and time is set by hand."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import orjson
import sqlalchemy as sa
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis import inbox
from chassis.clock import ReplayClock
from chassis.commands import CommandBus, Effect, Unit, UnitOfWork
from chassis.context import Context
from chassis.due_times import Timer, Together
from chassis.envelope import Incoming, Outgoing, event_name
from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.published_log import PublishedLog
from chassis.read_models import ReadModels
from deploy.local.postgres import Database
from scrm.tracking.v1.behaviour_pb2 import CampaignContext, EventContext, TrackedEvent
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.behaviour_source import BehaviourSource
from services.tracking.adapters.erasures import SqlErasures
from services.tracking.adapters.fact_book import SqlFactBook
from services.tracking.application.analysis import EVENTS, Analysis
from services.tracking.application.analysis_handlers import TIMERS, analysis_handlers
from services.tracking.application.handlers import handlers
from services.tracking.application.published_events import PRIVATE, partition_key, publish
from services.tracking.domain.missions import Mission
from services.tracking.read_models.boards import SOURCE, BoardsProjection
from services.tracking.read_models.customer_nodes import CustomerNodesProjection, customer_of, nodes_of
from services.tracking.read_models.histories import missions_of
from services.tracking.read_models.insights import InsightsProjection, KnownNodesProjection, list_insights
from services.tracking.read_models.order_paths import OrderPathsProjection
from services.tracking.read_models.orders import OrdersProjection
from services.tracking.read_models.shares import SharesProjection
from tests.tracking.shop import NOON, Shop
from tests.tracking.touches import Tracking, event

PROJECTIONS = (
    OrdersProjection(),
    CustomerNodesProjection(),
    OrderPathsProjection(),
    InsightsProjection(),
    KnownNodesProjection(),
    SharesProjection(),
    BoardsProjection(),
)

T = TypeVar("T")


def fact_book(work: UnitOfWork) -> SqlFactBook:
    return SqlFactBook(work.rows, work.context.tenant)


def erasures(work: UnitOfWork) -> SqlErasures:
    return SqlErasures(work.rows, work.context.tenant)


def did(
    kind: str,
    at: datetime,
    person: str = "a:1",
    *,
    message_id: str = "",
    content: str = "",
    page_view: str = "",
    share: str = "",
    **properties: Any,
) -> TrackedEvent:
    """An event with its properties."""
    campaign = CampaignContext(share_id=share) if share else None
    context = EventContext(channel="h5", content_id=content, page_view_id=page_view, campaign=campaign)
    id = message_id or f"{person}/{kind}/{at.isoformat()}/{page_view}/{properties}"
    return event(id, kind, at, person, orjson.dumps(properties), context=context)


class Analyst:
    """Everything of tracking but its network, on one database."""

    def __init__(self, tables: Database, store: PostgresEventStore, loop: asyncio.AbstractEventLoop) -> None:
        self.tracking = Tracking(store, tables.writer_dsn)
        self.shop = Shop(store)
        self.clock: ReplayClock = self.shop.clock
        self.shop.bus = CommandBus(store, self.clock, (*handlers(erasures), *analysis_handlers(fact_book)))
        self.projector = Projector(PROJECTIONS, store.engine, store, sources={SOURCE: BehaviourSource(store.engine)})
        self.read_models = ReadModels(tables.reader_dsn)
        self.store = store
        self.loop = loop
        self._logs: list[Any] = [
            BehaviourLog(store.engine),
            PublishedLog("tracking", store, publish=publish, partition_key=partition_key, private=tuple(PRIVATE)),
        ]
        self._positions = [0, 0]
        self._analysis = Analysis(fact_book)
        self.told: list[Message] = []
        self.follow()

    def at(self, now: datetime) -> None:
        """Let it be `now`, with every timer that is due until then at its time."""
        while (due := self._due(now)) is not None:
            self.clock.set(max(due[1][0].due_at, self.clock.now()))
            self._fire(*due)
        self.clock.set(now)
        self.tracking.now = now
        self.follow()

    def track(self, *events: TrackedEvent) -> None:
        for start in range(0, len(events), 1000):
            assert set(self.tracking.track(*events[start : start + 1000])) == {"ACCEPTED"}
        self.follow()

    def hear(self, *messages: Incoming) -> None:
        """Identity tells who is whom."""
        with self.store.engine.begin() as rows:
            inbox.keep(rows, messages)
        self.follow()
        self._take([it for it in messages if event_name(it.type.rpartition(".")[2]) in EVENTS])

    def follow(self, batch: int = 500) -> None:
        """Resolve, analyse what is published, and let the read models catch up."""
        self._project()
        self.tracking.resolve()
        for index in range(len(self._logs)):
            while found := self._logs[index].read(self._positions[index], batch):
                self._positions[index] = found[-1].position
                self._absorb(self._logs[index].name, found)
        self._project()

    def node(self, person: str) -> UUID:
        found = self.tracking.identity.node(person)
        assert isinstance(found, UUID)
        return found

    def ask(self, read: Callable[[sa.Connection], T]) -> T:
        return self.read_models.query_now(read, "acme")

    def missions(self, node: UUID) -> list[Mission]:
        now = self.clock.now()
        return self.ask(lambda rows: missions_of(rows, nodes_of(rows, customer_of(rows, node)), now))

    def insights(self, node: UUID | None = None) -> list[Any]:
        def read(rows: sa.Connection) -> list[Any]:
            nodes = None if node is None else nodes_of(rows, customer_of(rows, node))
            return list_insights(rows, nodes=nodes, kind="", after=None, limit=100)

        return self.ask(read)

    def told_of(self, kind: type[Any]) -> list[Any]:
        return [it for it in self.told if isinstance(it, kind)]

    def _absorb(self, stream: str, found: Sequence[Outgoing]) -> None:
        messages = [incoming(stream, it) for it in found if it.name in EVENTS]
        self.told += list(map(parsed, found)) if stream == "tracking" else []
        self._take(messages)

    def _take(self, messages: Sequence[Incoming]) -> None:
        if messages:
            absorb = Effect(partial(self._analysis.absorb, messages))
            [outcome] = self.shop.bus.run_now(Unit([(Context.system("acme", "test"), absorb)]))
            assert outcome.error is None

    def _due(self, now: datetime) -> tuple[str, list[Timer]] | None:
        """Those of a kind and tenant that are due at the first instant, which become one command where they are done together."""
        with self.store.engine.begin() as rows:
            query = (
                "SELECT tenant, kind, key, due_at, payload FROM timers WHERE due_at <= :now ORDER BY due_at, kind, key"
            )
            found = rows.execute(sa.text(query), {"now": now}).all()
        if not found:
            return None
        alike = [
            it for it in found if (it.tenant, it.kind, it.due_at) == (found[0].tenant, found[0].kind, found[0].due_at)
        ]
        return found[0].tenant, [Timer(it.kind, it.key, it.due_at, it.payload) for it in alike]

    def _fire(self, tenant: str, timers: Sequence[Timer]) -> None:
        make = TIMERS[timers[0].kind]
        commands = [make.command(timers)] if isinstance(make, Together) else [make(it) for it in timers]
        with self.store.engine.begin() as rows:
            gone = [{"kind": it.kind, "key": it.key} for it in timers]
            rows.execute(sa.text("DELETE FROM timers WHERE kind = :kind AND key = :key"), gone)
        for command in commands:
            self.shop.bus.execute_now(command, Context.system(tenant, "test"))
        self.follow()

    def _project(self) -> None:
        """What the projector does, in this thread."""
        for it in PROJECTIONS:
            build = self.projector._ensure_live(it)
            while entries := self.projector._sources[it.source].read(build.position, 1000):
                build = self.projector._advance(build, it, entries)


def incoming(stream: str, it: Outgoing) -> Incoming:
    return Incoming(
        stream, it.position, it.position, 0, 1, it.tenant, it.type, str(it.partition_key), 0,
        f"{stream}/1/{it.position}", NOON, Context(it.tenant, "test"), it.payload,
    )  # fmt: skip


def parsed(it: Outgoing) -> Message:
    found: Message = GetMessageClass(Default().FindMessageTypeByName(it.type))()
    found.ParseFromString(it.payload)
    return found
