"""The last version and this one side by side: on the same databases, each calling the other and working on what the other wrote.

Frozen messages of every earlier version are held to today's code by `tests/contracts`, with no history at hand.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import grpc
import pytest

from chassis.clock import SystemClock
from demo.barrier import Barrier
from demo.wire import timestamp
from deploy.local.contracts import ROOT, scopes
from deploy.local.processes import free_port
from deploy.local.stack import LocalStack, Service, all_at_once
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.identity.v1 import profile_service_pb2 as profiles
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from scrm.identity.v1.profile_service_pb2_grpc import ProfileServiceStub
from scrm.ops.v1.operations_service_pb2_grpc import OperationsServiceStub
from scrm.tracking.v1 import behaviour_pb2
from scrm.tracking.v1 import tracking_service_pb2 as tracking
from scrm.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub
from tests.e2e.last_version import NoHistory, last_version

SERVICES: Final = ("identity", "tracking")
PEOPLE: Final = 8
LOOKS: Final = 3


Ports = dict[str, int]


@dataclass(frozen=True, slots=True)
class Tree:
    """The code of a version, where its servers listen, and those of the other version, which it calls."""

    name: str
    folder: Path
    ports: Ports
    calls: Ports


class Version:
    """The processes of a version: those that answer calls, those that do all the rest as well, those that keep read models."""

    def __init__(self, tree: Tree, stack: LocalStack) -> None:
        self.servers = [_process(tree, it, stack, "serve") for it in SERVICES]
        self.workers = [_process(tree, it, stack, "all") for it in SERVICES]
        self.projectors = [_process(tree, it, stack, "project") for it in SERVICES]
        self.read_models = _versions_of_read_models(tree.folder)

    def stop(self) -> None:
        all_at_once([it.stop for it in (*self.servers, *self.workers, *self.projectors)])


def _versions_of_read_models(folder: Path) -> dict[str, list[str]]:
    files = [file for name in SERVICES for file in (folder / "services" / name / "read_models").rglob("*.py")]
    return {str(it.relative_to(folder)): re.findall(r"\bversion\b.*= .*\d", it.read_text()) for it in files}


def _process(tree: Tree, name: str, stack: LocalStack, role: str) -> Service:
    environment = {
        **stack.environment_of(name),
        **{f"SCRM_{other.upper()}_ADDRESS": f"127.0.0.1:{port}" for other, port in tree.calls.items()},
        "PYTHONPATH": f"{tree.folder}{os.pathsep}{tree.folder / 'gen'}",
        "SCRM_GRPC_PORT": str(tree.ports[name] if role == "serve" else free_port()),
        "SCRM_METRICS_PORT": "0",
        "SCRM_EDGE_PORT": str(free_port()),
    }
    return Service(name, environment, stack.log_of(f"{tree.name}_{name}_{role}"), (role,), tree.folder)


@dataclass(slots=True)
class Callers:
    """Calls to the versions in turn; each asks both of them what they show."""

    channels: Sequence[dict[str, grpc.aio.Channel]]
    metadata: tuple[tuple[str, str], ...]
    calls: int = 0
    merges: dict[str, str] = field(default_factory=dict)

    def _next(self) -> dict[str, grpc.aio.Channel]:
        self.calls += 1
        return self.channels[self.calls % len(self.channels)]

    async def seen(self, name: str) -> str:
        """Somebody is seen for the first time, and looks around; the customer."""
        email = customer_pb2.Identifier(namespace="email", value=f"{name}@example.com")
        asked = identity.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[email])
        found = await IdentityServiceStub(self._next()["identity"]).ResolveIdentity(asked, metadata=self.metadata)
        for _ in range(LOOKS):
            events = tracking.TrackBatchRequest(events=[_look(name)])
            (result,) = (
                await TrackingServiceStub(self._next()["tracking"]).TrackBatch(events, metadata=self.metadata)
            ).results
            assert result.outcome == behaviour_pb2.TRACK_OUTCOME_ACCEPTED
        return str(found.customer_id)

    async def merged(self, survivor: str, loser: str) -> None:
        asked = identity.MergeCustomersRequest(
            request_id=str(uuid4()), survivor_id=survivor, loser_id=loser, reason="SAME_PERSON"
        )
        await IdentityServiceStub(self._next()["identity"]).MergeCustomers(asked, metadata=self.metadata)

    async def shown(self, customer: str) -> list[tuple[list[str], list[tuple[str, str]], list[str]]]:
        """What each version shows of a customer: the trail, what tracking has told identity, and who is found by the id."""
        return [await self._shown(at, customer) for at in self.channels]

    async def _shown(
        self, at: dict[str, grpc.aio.Channel], customer: str
    ) -> tuple[list[str], list[tuple[str, str]], list[str]]:
        with_token: dict[str, Any] = {"metadata": self.metadata}
        trail = await TrackingServiceStub(at["tracking"]).GetTrail(
            tracking.GetTrailRequest(customer_id=customer, page_size=100), **with_token
        )
        timeline = await ProfileServiceStub(at["identity"]).GetTimeline(
            profiles.GetTimelineRequest(customer_id=customer, page_size=100), **with_token
        )
        found = await ProfileServiceStub(at["identity"]).SearchCustomers(
            profiles.SearchCustomersRequest(query=customer), **with_token
        )
        told = [(it.service, it.type) for it in timeline.entries]
        return (
            sorted(it.message_id for it in trail.entries),
            sorted(told),
            sorted({it.customer.customer_id for it in found.hits}),
        )


@pytest.mark.timeout(300)
def test_the_last_version_and_this_one_answer_and_consume_side_by_side(state_dir: Path) -> None:
    place = state_dir / "versions"
    place.mkdir()
    try:
        last_version(place / "last")
    except NoHistory as reason:
        pytest.skip(str(reason))
    stack = LocalStack(place / "state", SERVICES)
    one, other = ({it: free_port() for it in SERVICES} for _ in range(2))
    trees = (Tree("last", place / "last", one, other), Tree("this", ROOT, other, one))
    versions = [Version(it, stack) for it in trees]
    try:
        asyncio.run(_side_by_side(stack, *versions))
    finally:
        all_at_once([it.stop for it in versions])
        stack.stop()


async def _side_by_side(stack: LocalStack, last: Version, this: Version) -> None:
    await asyncio.to_thread(_begin, stack, last)
    await asyncio.to_thread(_expand, last, this)
    async with _callers(stack, last, this) as callers:
        # This version works on what both write.
        first = await _a_day("before", callers)
        await _agreed(stack, this.workers, callers, first)
        # The workers are replaced while calls go on: now it is the last version that works on what both write.
        swapping = asyncio.to_thread(_swap, this, last)
        meanwhile, _ = await asyncio.gather(_a_day("meanwhile", callers), swapping)
        after = await _a_day("after", callers)
        await _agreed(stack, last.workers, callers, [*first, *meanwhile, *after])


def _begin(stack: LocalStack, last: Version) -> None:
    all_at_once([stack.postgres.start, stack.nats.start])
    for name in SERVICES:
        stack.postgres.create_database(name)
    all_at_once([it.migrate for it in last.servers])


def _expand(last: Version, this: Version) -> None:
    """The tables of this version, while servers of the last start on them; then all that runs at first."""
    all_at_once([it.start for it in last.servers])
    all_at_once([it.migrate for it in this.servers])
    all_at_once([it.start for it in (*this.servers, *this.workers)])


def _swap(this: Version, last: Version) -> None:
    """A read model of a raised version is not gone on with by the last one: where there is one, this version still does that."""
    all_at_once([it.kill for it in this.workers])
    all_at_once([it.start for it in last.workers])
    if this.read_models != last.read_models:
        all_at_once([it.start for it in this.projectors])


async def _a_day(name: str, callers: Callers) -> list[str]:
    """People come, and half of them turn out to be the other half; the customers that are left."""
    found = [await callers.seen(f"{name}-{number}") for number in range(PEOPLE)]
    survivors, losers = found[::2], found[1::2]
    for survivor, loser in zip(survivors, losers, strict=True):
        await callers.merged(survivor, loser)
    return survivors


async def _agreed(stack: LocalStack, workers: Sequence[Service], callers: Callers, customers: Sequence[str]) -> None:
    """Nothing is left to do, nothing was parked, and both versions show all of it."""
    await _settled(stack, workers)
    for customer in customers:
        one, other = await callers.shown(customer)
        assert one == other
        trail, told, found = one
        assert len(trail) == 2 * LOOKS
        assert [service for service, _ in told].count("tracking") >= 1, told
        assert found == [customer]


async def _settled(stack: LocalStack, workers: Sequence[Service]) -> None:
    async with _channels({it.name: it.address for it in workers}) as channels:
        token = stack.credentials.mint("acme", scopes())

        class Operations:
            def __init__(self, channel: grpc.aio.Channel) -> None:
                self._stub = OperationsServiceStub(channel)

            async def GetProgress(self, request: Any) -> Any:
                return await self._stub.GetProgress(request, metadata=(("authorization", f"Bearer {token}"),))

        operations = {name: Operations(it) for name, it in channels.items()}
        await Barrier(operations).settled(SystemClock().now(), patience_seconds=60)


@asynccontextmanager
async def _callers(stack: LocalStack, *versions: Version) -> AsyncIterator[Callers]:
    metadata = (("authorization", f"Bearer {stack.credentials.mint('acme', scopes())}"),)
    last, this = ({it.name: it.address for it in version.servers} for version in versions)
    async with _channels(last) as one, _channels(this) as other:
        yield Callers([one, other], metadata)


@asynccontextmanager
async def _channels(addresses: dict[str, str]) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    opened = {name: grpc.aio.insecure_channel(it) for name, it in addresses.items()}
    try:
        yield opened
    finally:
        await asyncio.gather(*(it.close() for it in opened.values()))


def _look(name: str) -> behaviour_pb2.TrackedEvent:
    return behaviour_pb2.TrackedEvent(
        message_id=f"look:{uuid4()}",
        source_key="h5",
        event_type="content_viewed",
        identifiers=[behaviour_pb2.Identifier(namespace="email", value=f"{name}@example.com")],
        original_time=timestamp(SystemClock().now()),
        context=behaviour_pb2.EventContext(channel="h5", content_id="H5-1", page_view_id=str(uuid4())),
    )
