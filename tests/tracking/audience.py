"""People whose behaviours come all the way in, in tests, and what is read of them."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.message import Message

from chassis.commands import CommandBus
from chassis.context import Context
from chassis.envelope import Incoming
from chassis.event_store import PostgresEventStore
from chassis.projection import Projector
from chassis.read_models import ReadModels
from deploy.local.postgres import Database
from scrm.identity.v1.events_pb2 import CustomerCreated, CustomersMerged, CustomerUnmerged
from services.tracking.adapters.fact_recorder import FactRecorder
from services.tracking.application.commands import HANDLERS
from services.tracking.application.definition_handlers import definition_handlers
from services.tracking.read_models.customer_nodes import CustomerNodesProjection
from services.tracking.read_models.orders import OrdersProjection
from services.tracking.service import DEFINITIONS, quarantine
from tests.chassis.streams import until
from tests.tracking.definitions import Studio
from tests.tracking.shop import Shop
from tests.tracking.touches import NOON, Tracking

T = TypeVar("T")

PROJECTIONS = (OrdersProjection(), CustomerNodesProjection(), *DEFINITIONS)


class Audience:
    """A brand with its definitions (`studio`), its orders (`shop`), and people who do things."""

    def __init__(self, tracking: Tracking, tables: Database, loop: asyncio.AbstractEventLoop) -> None:
        self.tracking = tracking
        tracking.later(days=10)
        self.store: PostgresEventStore = tracking.store
        self.studio = Studio(self.store)
        self.shop = Shop(self.store)
        self.bus = CommandBus(self.store, self.studio.clock, [*HANDLERS, *definition_handlers(quarantine)])
        self.studio.bus = self.shop.bus = self.bus
        self.recorder = FactRecorder(self.bus, self.store.engine)
        self.projector = Projector(PROJECTIONS, self.store.engine, self.store)
        self.read_models = ReadModels(tables.reader_dsn)
        self.loop = loop
        self._merges = 0

    def node(self, person: str) -> UUID:
        node = self.tracking.identity.node(person)
        assert isinstance(node, UUID)
        return node

    def do(self, *events: Any) -> None:
        """Behaviours are received, a while after they happened, and all is made of them that can be."""
        for start in range(0, len(events), 500):
            found = self.tracking.track(*events[start : start + 500])
            assert set(found) <= {"ACCEPTED", "DUPLICATE"}, found
        self.settle()

    def settle(self) -> None:
        self.tracking.resolve()
        while self.recorder.step_now():
            pass
        self.loop.run_until_complete(self._follow())

    def ask(self, read: Callable[[sa.Connection], T], tenant: str = "acme") -> T:
        return self.read_models.query_now(read, tenant)

    def merge(self, survivor: str, loser: str) -> UUID:
        """Two turn out to be one; the id of the merge."""
        self._merges += 1
        first, second = str(self.node(survivor)), str(self.node(loser))
        id = UUID(int=self._merges)
        self._hear(
            CustomerCreated(customer_id=first, node_id=first),
            CustomerCreated(customer_id=second, node_id=second),
            CustomersMerged(merge_id=str(id), survivor_id=first, loser_id=second, node_ids=[second]),
        )
        return id

    def unmerge(self, id: UUID, survivor: str, loser: str) -> None:
        first, second = str(self.node(survivor)), str(self.node(loser))
        self._hear(CustomerUnmerged(merge_id=str(id), survivor_id=first, restored_id=second, node_ids=[second]))

    def rebuild(self, name: str) -> None:
        self.loop.run_until_complete(self.projector.rebuild(name))

    def _hear(self, *messages: Message) -> None:
        self.settle()
        with self.store.engine.begin() as rows:
            live = rows.scalar(sa.text("SELECT schema FROM projections WHERE name = 'customer_nodes' AND live"))
            rows.execute(sa.text(f'SET LOCAL search_path = "{live}", public'))
            CustomerNodesProjection().apply([_incoming(it) for it in messages], rows)

    async def _follow(self) -> None:
        following = asyncio.create_task(self.projector.run())
        await until(self._is_done, "the projections reach the end of the log")
        following.cancel()
        await asyncio.wait([following])

    async def _is_done(self) -> bool:
        return not any(it.backlog for it in await self.projector.progress())


def _incoming(event: Message) -> Incoming:
    return Incoming(
        "identity", 1, 1, 0, 1, "acme", event.DESCRIPTOR.full_name, "", 0, "identity/1/1", NOON,
        Context("acme", "test"), event.SerializeToString(),
    )  # fmt: skip
