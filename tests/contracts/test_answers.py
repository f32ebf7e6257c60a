"""What the running services answer to every RPC, table-driven from the descriptors like the malformed calls.

Nobody's ids are known to another tenant, a request id stands for one request, and no well-formed call ends in a defect of ours.
"""

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from chassis.grpc_server import request_id_rule, scope_of
from chassis.status import refusal
from deploy.local.stack import LocalStack
from tests.contracts import contracts
from tests.contracts.kinds import called
from tests.contracts.requests import good_request, is_text, places
from tests.operations import monitoring

RPCS = [it for it in contracts.rpcs() if it.full_name.split(".")[1] in contracts.SERVICES]
MUTATIONS = [it for it in RPCS if request_id_rule(it.input_type) != "none"]
RECEIPTED = [it for it in MUTATIONS if not it.client_streaming]
"""A stream is too long to be kept as one request: what is in it is known again by ids of its own."""

OTHER_BODY = b"\xc0\xd4\x07\x01"
"""A field that no contract has: with it a request is another one, and still breaks no rule."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")


def name_of(rpc: MethodDescriptor) -> str:
    return str(rpc.full_name.removeprefix("scrm."))


@dataclass(frozen=True)
class Answer:
    """What a caller got: a message, or a refusal with its reason; without the ids and instants in it."""

    code: str
    text: str
    content: bytes = b""

    @property
    def gist(self) -> tuple[str, str]:
        return self.code, _TIME.sub("TIME", _ID.sub("ID", self.text))


class Brand:
    """Somebody who calls for one tenant."""

    def __init__(self, stack: LocalStack, channels: dict[str, grpc.aio.Channel], tenant: str) -> None:
        scopes = sorted({scope_of(it) for it in RPCS})
        self._metadata = (("authorization", f"Bearer {stack.credentials.mint(tenant, scopes)}"),)
        self._channels = channels

    async def call(self, rpc: MethodDescriptor, request: Message | bytes) -> Answer:
        content = request if isinstance(request, bytes) else request.SerializeToString()
        channel = self._channels[rpc.full_name.split(".")[1]]
        try:
            response = await called(channel, rpc, content, metadata=self._metadata, timeout=20, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            found = refusal(error)
            return Answer(found.code, f"{found.reason}: {found.message} {found.metadata}")
        message = message_factory.GetMessageClass(rpc.output_type).FromString(response)
        text = json_format.MessageToJson(message, sort_keys=True)
        return Answer("OK", text, message.SerializeToString(deterministic=True))  # maps are sent in any order


@dataclass
class World:
    """The running services, a brand that has things in them, another one, and the ids of those things by service."""

    acme: Brand
    globex: Brand
    answers: dict[str, Answer]
    ids: dict[str, list[str]]


@pytest.fixture(scope="module")
def stack(state_dir: Path) -> Iterator[LocalStack]:
    with LocalStack(state_dir / "answers") as stack:
        yield stack


@pytest.fixture(scope="module")
def world(stack: LocalStack, loop: asyncio.AbstractEventLoop) -> Iterator[World]:
    channels = loop.run_until_complete(opened(stack))
    acme, globex = Brand(stack, channels, "acme"), Brand(stack, channels, "globex")
    yield loop.run_until_complete(furnished(acme, globex))
    for channel in channels.values():
        loop.run_until_complete(channel.close())


async def opened(stack: LocalStack) -> dict[str, grpc.aio.Channel]:
    """Channels to all services; of the loop they are made on."""
    return {name: grpc.aio.insecure_channel(stack.address(name)) for name in contracts.SERVICES}


async def furnished(acme: Brand, globex: Brand) -> World:
    """Every RPC called once by acme, as its contract allows; the ids it was given."""
    world = World(acme, globex, {}, defaultdict(list))
    for rpc in [*MUTATIONS, *RPCS]:
        request = good_request(rpc.input_type)
        fill_ids(request, world.ids[service_of(rpc)])
        answer = world.answers[name_of(rpc)] = await acme.call(rpc, request)
        if answer.code == "OK":
            world.ids[service_of(rpc)] += [
                it for it in _ID.findall(answer.text) if it not in world.ids[service_of(rpc)]
            ]
    return world


def service_of(rpc: MethodDescriptor) -> str:
    return str(rpc.full_name.split(".")[1])


def id_fields(request: Message) -> list[tuple[Message, Any]]:
    """Where a request names something by its id."""
    return [
        (message, field)
        for _, message, field in places(request)
        if is_text(field) and not field.is_repeated and field.name.endswith("id") and field.name != "request_id"
        and is_uuid(getattr(message, field.name))
    ]  # fmt: skip


def is_uuid(text: str) -> bool:
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def fill_ids(request: Message, ids: list[str]) -> None:
    for number, (message, field) in enumerate(id_fields(request)):
        if ids:
            setattr(message, field.name, ids[number % len(ids)])


@pytest.mark.parametrize("rpc", RPCS, ids=name_of)
def test_no_well_formed_call_ends_in_a_defect_of_ours(rpc: MethodDescriptor, world: World) -> None:
    assert world.answers[name_of(rpc)].code not in {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DEADLINE_EXCEEDED"}


@pytest.mark.parametrize("service", contracts.SERVICES)
def test_some_calls_succeed_so_that_the_others_mean_something(service: str, world: World) -> None:
    assert "OK" in {answer.code for name, answer in world.answers.items() if name.startswith(f"{service}.")}


BY_ID = [it for it in RPCS if id_fields(good_request(it.input_type))]


@pytest.mark.parametrize("rpc", BY_ID, ids=name_of)
def test_what_belongs_to_another_tenant_is_as_unknown_as_what_does_not_exist(
    rpc: MethodDescriptor, world: World, loop: asyncio.AbstractEventLoop
) -> None:
    async def ask() -> None:
        unknown = (await world.globex.call(rpc, good_request(rpc.input_type))).gist
        foreign = [good_request(rpc.input_type) for _ in world.ids[service_of(rpc)][:20]]
        for request, theirs in zip(foreign, world.ids[service_of(rpc)], strict=False):
            fill_ids(request, [theirs])
        for found in await asyncio.gather(*(world.globex.call(rpc, it) for it in foreign)):
            assert found.gist == unknown

    loop.run_until_complete(ask())


def test_what_is_known_to_its_owner_is_not_taken_for_unknown(world: World, loop: asyncio.AbstractEventLoop) -> None:
    """The control of the test above: the ids are good ones. Of a service it is enough that two RPCs tell."""

    async def tells(rpc: MethodDescriptor) -> bool:
        unknown = (await world.acme.call(rpc, good_request(rpc.input_type))).gist
        for ours in world.ids[service_of(rpc)][:20]:
            known = good_request(rpc.input_type)
            fill_ids(known, [ours])
            if (await world.acme.call(rpc, known)).gist != unknown:
                return True
        return False

    async def ask() -> int:
        telling = Counter[str]()
        for rpc in BY_ID:
            if telling[service_of(rpc)] < 2:
                telling[service_of(rpc)] += await tells(rpc)
        return telling.total()

    assert loop.run_until_complete(ask()) > len(contracts.SERVICES)


@pytest.mark.parametrize("rpc", RECEIPTED, ids=name_of)
def test_a_request_id_stands_for_one_request(
    rpc: MethodDescriptor, world: World, loop: asyncio.AbstractEventLoop
) -> None:
    request: Any = good_request(rpc.input_type)
    request.request_id = str(uuid4())
    fill_ids(request, world.ids[service_of(rpc)])
    content = request.SerializeToString()

    async def ask() -> list[Answer]:
        return [await world.acme.call(rpc, it) for it in (content, content, content + OTHER_BODY)]

    first, again, other = loop.run_until_complete(ask())
    assert again == first
    if first.code == "INVALID_ARGUMENT":  # refused for its shape, before it was anybody's request
        assert other.code == "INVALID_ARGUMENT"
    else:
        assert (other.code, other.text.partition(":")[0]) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")


def test_running_services_tell_everything_that_alerts_and_dashboard_ask_for(world: World, stack: LocalStack) -> None:
    with suppress(HTTPError):  # any answer of the HTTP door counts
        urlopen(f"http://127.0.0.1:{stack.ports.edge}/v1/projects/none/settings", timeout=5).close()
    give_up = monotonic() + 20  # loops are looked at every five seconds

    def missing() -> list[str]:
        told = [it for port in stack.ports.metrics.values() for it in monitoring.scraped(f"127.0.0.1:{port}")]
        return list(monitoring.untold(monitoring.asked(monitoring.EXPRESSIONS), told))

    while (found := missing()) and monotonic() < give_up:
        sleep(0.1)
    assert found == []
