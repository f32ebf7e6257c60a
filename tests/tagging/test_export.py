"""A segment told whole, as a stream: in a fixed order, as it was at the start, however often the stream breaks."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa
from pyroaring import BitMap

from chassis.credentials import KeySet, Verifier
from chassis.grpc_server import Gate, GrpcServer
from chassis.status import refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from scrm.identity.v1 import events_pb2 as identity
from scrm.tagging.v1.tagging_service_pb2 import ExportSegmentRequest, ExportSegmentResponse
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub, add_TaggingServiceServicer_to_server
from services.tagging.adapters.grpc_servicer import TaggingServicer
from services.tagging.application.segment_commands import CreateSegment, MemberChange, UpdateStaticMembers
from services.tagging.domain.conditions import Universe
from services.tagging.domain.segments import Definition
from services.tagging.read_models import bitmaps, directory
from tests.tagging.world import TENANT, World, created, merged, person

P = [person(n) for n in range(12)]
MANY = 100_000


class Exporter:
    """Somebody who exports segments."""

    def __init__(self, stub: TaggingServiceStub, credentials: Credentials) -> None:
        self._stub: Any = stub
        self._credentials = credentials

    def export(self, segment: UUID, size: int = 0, token: str = "", tenant: str = TENANT) -> Any:
        bearer = self._credentials.mint(tenant, ["tagging.read"])
        request = ExportSegmentRequest(segment_id=str(segment), page_size=size, page_token=token)
        return self._stub.ExportSegment(request, metadata=(("authorization", f"Bearer {bearer}"),), timeout=240)

    async def all_of(self, segment: UUID, size: int = 0, token: str = "") -> list[UUID]:
        return ids([it async for it in self.export(segment, size, token)])

    async def refused(self, segment: UUID, **options: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in self.export(segment, **options):
                pass
        return refusal(caught.value).reason


def ids(portions: Iterable[ExportSegmentResponse]) -> list[UUID]:
    return [UUID(it.customer_id) for portion in portions for it in portion.members]


async def begun(call: Any, portions: int) -> list[ExportSegmentResponse]:
    """The first portions of a stream that breaks then."""
    stream = aiter(call)
    found = [await anext(stream) for _ in range(portions)]
    call.cancel()
    return found


Serve = Callable[[], AbstractAsyncContextManager[Exporter]]


@pytest.fixture
def serve(world: World, credentials: Credentials) -> Serve:
    @asynccontextmanager
    async def served() -> AsyncIterator[Exporter]:
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        gate = Gate("tagging", verifier, Metrics(), Tracing(), wait_for=world.read_models.wait_for)
        servicer = TaggingServicer(world.bus, world.read_models, world.clock)
        server = GrpcServer(gate, [(add_TaggingServiceServicer_to_server, servicer)])
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Exporter(TaggingServiceStub(channel), credentials)
        await server.stop(0)

    return served


def segment_of(world: World, *members: UUID) -> UUID:
    found: UUID = world.do(CreateSegment(str(uuid4()), Definition(), Universe.KNOWN)).id
    if members:
        change(world, found, add=members)
    return found


def change(world: World, segment: UUID, add: Iterable[UUID] = (), remove: Iterable[UUID] = ()) -> None:
    changes = [*(MemberChange(True, it) for it in add), *(MemberChange(False, it) for it in remove)]
    world.do(UpdateStaticMembers(segment, changes))


def crowd(world: World, segment: UUID) -> None:
    """Let MANY customers be known, every one of them in the segment."""
    with world.engine.begin() as rows:
        rows.execute(
            sa.text(
                "INSERT INTO nodes (tenant, node, customer, ordinal, known, assignment_key, erased)"
                " SELECT :tenant, id, id, n, true, 'k' || n, false"
                " FROM (SELECT n, md5(n::text)::uuid AS id FROM generate_series(0, :last) AS g(n)) AS made"
            ),
            {"tenant": TENANT, "last": MANY - 1},
        )
        for name in (bitmaps.KNOWN, bitmaps.of_segment(segment)):
            bitmaps.replace(rows, TENANT, name, BitMap(range(MANY)))


def test_a_hundred_thousand_are_told_with_the_memory_of_one_portion(
    world: World, serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    segment = segment_of(world)
    crowd(world, segment)

    async def check() -> tuple[int, int, int]:
        async with serve() as exporter:
            await exporter.all_of(segment_of(world))  # what is needed once
            tracemalloc.start()
            told = portions = 0
            async for it in exporter.export(segment):
                told, portions = told + len(it.members), portions + 1
                assert (it.size, bool(it.next_page_token)) == (MANY, told < MANY)
            return told, portions, peak()

    told, portions, streamed = loop.run_until_complete(check())
    assert (told, portions) == (MANY, MANY // 1000)
    with world.engine.connect() as rows:  # the control: what all of them at once would take
        tracemalloc.start()
        some = directory.by_ordinal(rows, TENANT, BitMap(range(MANY // 5)))
        assert streamed < peak() * (MANY / len(some)) / 20


def peak() -> int:
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_an_export_that_broke_is_gone_on_with_as_it_was_at_the_start(
    world: World, serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    world.tell(*(created(it) for it in P))
    segment = segment_of(world, *P[:9])

    async def check() -> None:
        async with serve() as exporter:
            whole = await exporter.all_of(segment, 2)
            assert set(whole) == set(P[:9])
            first = await begun(exporter.export(segment, 2), 2)
            assert [len(it.members) for it in first] == [2, 2]
            token, rest = first[-1].next_page_token, whole[4:]
            change(world, segment, add=P[9:], remove=rest[:2])
            change(world, segment, add=rest[:1])
            assert ids(first) + await exporter.all_of(segment, 2, token) == whole
            now = await exporter.all_of(segment, 5)
            assert set(now) == {*P, *whole} - {rest[1]}

    loop.run_until_complete(check())


def test_whoever_is_merged_meanwhile_is_told_as_before_and_whoever_is_erased_is_not(
    world: World, serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    world.tell(*(created(it) for it in P))
    segment = segment_of(world, *P[:9])

    async def check() -> None:
        async with serve() as exporter:
            whole = await exporter.all_of(segment)
            first = await begun(exporter.export(segment, 2), 2)
            survivor, loser, erased = whole[4:7]
            world.tell(
                merged(survivor, loser),
                identity.CustomerErasing(case_id=str(uuid4()), customer_id=str(erased), node_ids=[str(erased)]),
            )
            world.fire()
            rest = await exporter.all_of(segment, 3, first[-1].next_page_token)
            assert rest == [it for it in whole[4:] if it != erased]
            assert set(await exporter.all_of(segment)) == set(whole) - {loser, erased}

    loop.run_until_complete(check())


def test_a_segment_that_nobody_is_in_is_told_as_that(
    world: World, serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    segment = segment_of(world)

    async def check() -> None:
        async with serve() as exporter:
            assert [it async for it in exporter.export(segment)] == [ExportSegmentResponse()]

    loop.run_until_complete(check())


def test_what_is_another_brands_or_never_was_cannot_be_exported(
    world: World, serve: Serve, loop: asyncio.AbstractEventLoop
) -> None:
    world.tell(*(created(it) for it in P))
    segment, other = segment_of(world, *P), segment_of(world, *P)

    async def check() -> None:
        async with serve() as exporter:
            assert await exporter.refused(segment, tenant="globex") == "SEGMENT_NOT_FOUND"
            assert await exporter.refused(uuid4()) == "SEGMENT_NOT_FOUND"
            (portion,) = await begun(exporter.export(segment, 2), 1)
            assert await exporter.refused(other, token=portion.next_page_token) == "BAD_FORMAT"
            assert await exporter.refused(segment, token="nonsense") == "BAD_FORMAT"
            foreign = {"token": portion.next_page_token, "tenant": "globex"}
            assert await exporter.refused(segment, **foreign) == "SEGMENT_NOT_FOUND"

    loop.run_until_complete(check())
