"""Identity with everything around it in the tests of profiles: a brand, the broker it reads from, neighbours that are up or down."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import grpc
import pytest

from chassis.broker import Broker, StreamSpec
from chassis.clock import ReplayClock
from chassis.consumer import Consumer, Subscription
from chassis.context import entered
from chassis.credentials import KeySet, Verifier
from chassis.envelope import Address, Offset, Outgoing, event_name, seal
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import Gate, GrpcServer
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.settings import InvalidSettingsError
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.broker import NatsServer
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from scrm.identity.v1 import profile_pb2 as pb
from scrm.identity.v1 import profile_service_pb2 as rpc
from scrm.identity.v1.profile_service_pb2_grpc import ProfileServiceStub, add_ProfileServiceServicer_to_server
from services.identity.adapters.profile_servicer import ProfileParts, ProfileServicer
from services.identity.adapters.source_watch import SourceWatch
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.attribute_upsert import Observation, UpsertAttributes
from services.identity.application.merge_commands import MergeCustomers
from services.identity.application.name_indexing import NameIndexing
from services.identity.application.profile_policies import CONSUMER, SERVICE_OF, events_of, keep_what_is_told
from services.identity.domain.attributes import AttributeSource
from services.identity.domain.merging import Evidence
from services.identity.domain.name_index import NameHashes
from services.identity.domain.org_settings import AssignmentRule
from services.identity.read_models.assignment_keys import AssignmentKeysProjection
from services.identity.read_models.attribute_values import AttributeValuesProjection
from services.identity.read_models.contact_history import ContactHistoryProjection
from services.identity.read_models.customer_directory import CustomerDirectoryProjection
from services.identity.read_models.customer_guides import CustomerGuidesProjection
from services.identity.read_models.leads import LeadsProjection
from services.identity.read_models.merge_history import MergeHistoryProjection
from services.identity.read_models.names import NamesProjection
from services.identity.read_models.organisation import OrganisationProjection
from services.identity.read_models.profile.projection import ProfileProjection
from services.identity.read_models.profile.told import MESSAGES
from services.identity.read_models.work_order_queue import WorkOrderQueueProjection
from tests.chassis.streams import connected, running, settled, until
from tests.identity.brand import SECRET, Brand
from tests.identity.staffing import Staffing
from tests.identity.telling import (
    Telling,
)
from tests.identity.test_name_index import heard

NEW_YORK = ZoneInfo("America/New_York")
PROJECTIONS = (
    CustomerGuidesProjection(),
    OrganisationProjection(),
    AttributeValuesProjection(),
    ContactHistoryProjection(),
    CustomerDirectoryProjection(),
    LeadsProjection(),
    MergeHistoryProjection(),
    NamesProjection(),
    AssignmentKeysProjection(),
    ProfileProjection(),
    WorkOrderQueueProjection(),
)
SUBSCRIPTION = Subscription(CONSUMER, list(SERVICE_OF), keep_what_is_told, keep=True, events=events_of(list(MESSAGES)))


class Neighbours:
    """The other services, of which only their health is known here."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._servers: dict[str, GrpcServer] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def start(self, *services: str) -> None:
        for it in services:
            self._servers[it] = GrpcServer(self._gate, [])
            port = await self._servers[it].start("127.0.0.1:0")
            self._channels[it] = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    async def stop(self, service: str) -> None:
        await self._servers.pop(service).stop(0)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        for server in self._servers.values():
            await server.stop(0)

    def channel(self, service: str) -> grpc.aio.Channel:
        if service not in self._channels:
            raise InvalidSettingsError(f"{service} has no address")
        return self._channels[service]


@dataclass(slots=True)
class World:
    """Identity with a brand, the broker it reads from, and somebody who calls it."""

    brand: Brand
    clock: ReplayClock
    broker: Broker
    watched: Broker
    neighbours: Neighbours
    stub: Any
    mint: Callable[..., str]
    consumer: Consumer
    projector: Projector
    consuming: asyncio.Task[None]
    positions: dict[str, Any] = field(default_factory=dict)
    tokens: dict[tuple[str, tuple[UUID, ...], tuple[str, ...]], str] = field(default_factory=dict)

    async def do(self, command: Any) -> Any:
        with entered(self.brand.context()):
            return await self.brand.bus.execute(command)

    async def person(self, *identifiers: tuple[str, str], **details: Any) -> UUID:
        """A customer with these identifiers."""
        found: UUID = (await self.do(self.brand.call(*identifiers, **details))).customer_id
        return found

    async def merge(self, survivor: UUID, loser: UUID) -> UUID:
        found: UUID = (await self.do(MergeCustomers(survivor, loser, "SAME_PERSON", Evidence.UNSPECIFIED))).merge_id
        return found

    async def name(self, customer: UUID, name: str) -> None:
        """Say what somebody is called, and take it in."""
        await self.do(UpsertAttributes(customer, (Observation("name", AttributeSource.CUSTOMER_DECLARED, name),)))
        told = [heard(self.brand, it) for it in self.brand.published("AttributesChanged")]
        indexing = NameIndexing(self.brand.vault, NameHashes(SECRET))
        await self.brand.bus.effect(lambda work: indexing.follow(told, work), self.brand.context())
        await self.read()

    async def pause(self) -> None:
        """Read no further."""
        self.consuming.cancel()
        await asyncio.wait([self.consuming])

    async def publish(self, *tellings: Telling) -> None:
        for stream, service in SERVICE_OF.items():
            mine = [it for it in tellings if it.stream == stream]
            names = {event_name(it.rpartition(".")[2]) for it in MESSAGES if f".{service}." in it}
            names = {it for it in names if (it == "behaviour_tracked") == (stream == "tracking_behaviours")}
            wanted = [f"scrm.*.{service}.v1.{it}.*" for it in sorted(names)]
            info = await self.broker.ensure_stream(StreamSpec(stream, wanted))
            last = info.last_sequence
            for start in range(0, len(mine), 500):
                parcels = [seal(self._outgoing(it), self._address(it)) for it in mine[start : start + 500]]
                last = await self.broker.publish_batch(parcels, last)

    async def tell(self, *tellings: Telling) -> None:
        """Publish, and wait until all is taken in."""
        await self.publish(*tellings)
        await until(lambda: settled(self.consumer, self.projector), "what was told is taken in")

    async def read(self) -> None:
        await self.tell()

    async def profile(
        self, customer: UUID, *sections: "pb.ProfileSectionKind.ValueType"
    ) -> dict[int, pb.ProfileSection]:
        asked = rpc.GetProfile360Request(customer_id=str(customer), sections=sections)
        answer = await self.call("GetProfile360", asked)
        return {it.kind: it for it in answer.sections}

    async def call(
        self, name: str, request: Any, tenant: str = "acme", *scopes: str, stores: Sequence[UUID] | None = None
    ) -> Any:
        metadata = (("authorization", f"Bearer {self._token(tenant, stores, 'identity.read', *scopes)}"),)
        return await getattr(self.stub, name)(request, metadata=metadata, timeout=20)

    async def refused(
        self, name: str, request: Any, tenant: str = "acme", stores: Sequence[UUID] | None = None
    ) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, tenant, stores=stores)
        return refusal(caught.value)

    async def timeline(self, customer: UUID, size: int = 50, **wanted: Any) -> list[pb.TimelineEntry]:
        """All entries, page by page."""
        found: list[pb.TimelineEntry] = []
        request = rpc.GetTimelineRequest(customer_id=str(customer), page_size=size, **wanted)
        while True:
            page = await self.call("GetTimeline", request)
            found += page.entries
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def search(
        self, query: str, size: int = 50, tenant: str = "acme", stores: Sequence[UUID] | None = None
    ) -> list[tuple[str, UUID]]:
        found = []
        request = rpc.SearchCustomersRequest(query=query, page_size=size)
        while True:
            page = await self.call("SearchCustomers", request, tenant, stores=stores)
            found += [(it.matched, UUID(it.customer.customer_id)) for it in page.hits]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def _token(self, tenant: str, stores: Sequence[UUID] | None, *scopes: str) -> str:
        """Signing takes longer than most calls, so every token is made once."""
        key = tenant, tuple(stores or ()), scopes
        if key not in self.tokens:
            self.tokens[key] = self.mint(tenant, scopes, stores=stores)
        return self.tokens[key]

    def _address(self, it: Telling) -> Address:
        return Address(it.stream, 1, Offset(next(self.positions.setdefault(it.stream, count(1)))))

    @staticmethod
    def _outgoing(it: Telling) -> Outgoing:
        kind = it.message.DESCRIPTOR
        return Outgoing(
            0, it.tenant, event_name(kind.name), it.key, it.message.SerializeToString(), it.at, kind.full_name
        )


@asynccontextmanager
async def opened(
    made: Database, credentials: Credentials, nats: NatsServer, clock: ReplayClock
) -> AsyncIterator[World]:
    async with AsyncExitStack() as closing:
        store = PostgresEventStore(made.writer_dsn)
        closing.callback(store.close)
        read_models = ReadModels(made.reader_dsn)
        closing.callback(read_models.close)
        broker = await closing.enter_async_context(connected(nats))
        watched = Broker(nats.url, monitor_url=nats.monitor_url)
        await watched.connect()
        closing.push_async_callback(watched.close)
        brand = Brand(store)
        brand.bus.start()
        closing.callback(brand.bus.stop)
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        gate = Gate("identity", verifier, Metrics(), Tracing(), wait_for=read_models.wait_for)
        neighbours = Neighbours(gate)
        closing.push_async_callback(neighbours.close)
        await neighbours.start(*sorted(set(SERVICE_OF.values())))
        watch = SourceWatch(store.engine, watched, neighbours.channel, clock)
        parts = ProfileParts(brand.reader, NameHashes(SECRET), Unsealer(brand.wrap), watch)
        servicer = ProfileServicer(brand.bus, read_models, clock, parts)
        server = GrpcServer(gate, [(add_ProfileServiceServicer_to_server, servicer)])
        port = await server.start("127.0.0.1:0")
        closing.push_async_callback(server.stop, 0)
        channel = await closing.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        consumer = Consumer(SUBSCRIPTION, store.engine, broker, brand.bus)
        projector = Projector(PROJECTIONS, store.engine, store)
        await closing.enter_async_context(running(projector))
        await until(lambda: settled(projector), "the read models are there")
        await asyncio.to_thread(Staffing(brand).decide, AssignmentRule.ASSIGN_FIRST, NEW_YORK.key)
        consuming = asyncio.create_task(consumer.run())
        closing.callback(consuming.cancel)
        stub = ProfileServiceStub(channel)
        yield World(brand, clock, broker, watched, neighbours, stub, credentials.mint, consumer, projector, consuming)
