"""A whole service as a process: started, asked, told the time, stopped; and when it may say that it is settled."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis import program
from chassis.broker import Broker, publish_clock
from chassis.service import _Tasks
from chassis.settings import ChassisSettings, InvalidSettingsError
from chassis.status import refusal
from deploy.local.broker import NatsServer
from deploy.local.contracts import ROOT
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database, Postgres
from deploy.local.processes import Child, Program, free_port
from scrm.ops.v1.operations_service_pb2 import GetProgressRequest, GetProgressResponse
from scrm.ops.v1.operations_service_pb2_grpc import OperationsServiceStub
from tests.chassis import echo_contract as echo
from tests.chassis import echo_service
from tests.conftest import Migrated

START = datetime(1998, 1, 5, tzinfo=UTC)


class EchoProcess:
    """One process of the echo service."""

    def __init__(
        self, database: Database, nats: NatsServer, credentials: Credentials, folder: Path, **variables: str
    ) -> None:
        self.port = free_port()
        self.log = folder / f"echo-{self.port}.log"
        self._credentials = credentials
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([".", "gen"]),
            "GRPC_VERBOSITY": "ERROR",
            "SCRM_DATABASE_URL": database.writer_dsn,
            "SCRM_READER_DATABASE_URL": database.reader_dsn,
            "SCRM_OWNER_DATABASE_URL": database.owner_dsn,
            "SCRM_NATS_URL": nats.url,
            "SCRM_NATS_MONITOR_URL": nats.monitor_url,
            "SCRM_GRPC_PORT": str(self.port),
            "SCRM_JWKS": str(credentials.jwks),
            "SCRM_RECEIPT_KEY": "r" * 32,
            **variables,
        }
        self.child: Child | None = None

    def run(self, *arguments: str) -> Child:
        self.child = Child(
            Program(
                name="echo",
                command=[sys.executable, "-m", "tests.chassis.echo_service", *arguments],
                log=self.log,
                environment=self._environment,
            )
        )
        self.child.start()
        return self.child

    def once(self, *arguments: str) -> int:
        """Run a one-shot; its exit code."""
        child = self.run(*arguments)
        assert child._process is not None
        return child._process.wait(30)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    @asynccontextmanager
    async def calls(self) -> AsyncIterator["Calls"]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            yield Calls(channel, self._credentials)


class Calls:
    """What tests ask of an echo process."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials, tenant: str = "acme") -> None:
        self.channel = channel
        self._credentials = credentials
        self._token = credentials.mint(tenant, ["echo.read", "echo.write", "ops.read"])
        self._operations = OperationsServiceStub(channel)

    def of(self, tenant: str) -> "Calls":
        """The calls of somebody of another tenant."""
        return Calls(self.channel, self._credentials, tenant)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._token}"),)

    async def say(self, name: str = "tea", **fields: Any) -> str:
        request = echo.SayRequest(**{"request_id": str(uuid4()), "name": name, **fields})
        answer = await echo.method(self.channel, "Say")(request, metadata=self.metadata, wait_for_ready=True)
        return str(answer.text)

    async def sayings(self, *metadata: tuple[str, str]) -> list[str]:
        request = echo.ListSayingsRequest()
        answer = await echo.method(self.channel, "ListSayings")(request, metadata=(*self.metadata, *metadata))
        return list(answer.sayings)

    async def progress(self) -> GetProgressResponse:
        return await self._operations.GetProgress(GetProgressRequest(), metadata=self.metadata, wait_for_ready=True)

    async def settled(self, at: datetime | None = None) -> GetProgressResponse:
        """Poll until the process is settled, twice with the same chain, at the time `at`."""
        before = 0
        async with asyncio.timeout(20):
            while True:
                found = await self.progress()
                reached = at is None or found.clock_time.ToDatetime(UTC) >= at
                if found.settled and reached and found.chain == before:
                    return found
                before = found.chain if found.settled and reached else 0


Start = Callable[..., EchoProcess]


@pytest.fixture(scope="module")
def echo_process(
    postgres: Postgres,
    nats_server: NatsServer,
    credentials: Credentials,
    tmp_path_factory: pytest.TempPathFactory,
    loop: asyncio.AbstractEventLoop,
) -> Iterator[Start]:
    """Makes processes of the echo service, on one migrated database by default; all are killed at the end."""
    folder = tmp_path_factory.mktemp("echo")
    database = postgres.create_database("echo_service")
    made: list[EchoProcess] = []

    def make(on: Database = database, **variables: str) -> EchoProcess:
        made.append(EchoProcess(on, nats_server, credentials, folder, **variables))
        return made[-1]

    assert make().once("migrate") == 0
    yield make
    for it in made:
        if it.child:
            it.child.kill()
    loop.run_until_complete(forget_streams(nats_server))
    postgres.drop_database(database.name)


@pytest.fixture(scope="module")
def running(echo_process: Start) -> EchoProcess:
    """One process with every role."""
    process = echo_process()
    process.run("all")
    return process


async def forget_streams(nats: NatsServer) -> None:
    broker = Broker(nats.url)
    await broker.connect()
    for name in ("echo", "CLOCK"):
        await broker.delete_stream(name)
    await broker.close()


def run(loop: asyncio.AbstractEventLoop, process: EchoProcess, work: Callable[[Calls], Awaitable[Any]]) -> Any:
    async def inside() -> Any:
        async with process.calls() as calls:
            return await work(calls)

    return loop.run_until_complete(inside())


def test_a_command_reaches_read_model_stream_consumer_and_back(
    running: EchoProcess, loop: asyncio.AbstractEventLoop
) -> None:
    async def work(calls: Calls) -> tuple[list[str], GetProgressResponse]:
        for _ in range(3):
            await calls.say("tea")
        assert await calls.say("milk") == "1"
        progress = await calls.settled()
        return await calls.sayings(), progress

    sayings, progress = run(loop, running, work)
    assert sayings == ["milk 1", "tea 3"]
    # 2 pots filled, 4 cups poured, 4 tasted by the consumer
    assert [(it.log, it.head, it.published_position) for it in progress.logs] == [
        ("echo", progress.log_head, progress.log_head)
    ]
    assert [(it.consumer, it.stream, it.last_sequence, it.lag, it.parked) for it in progress.consumers] == [
        ("echo-tasting", "echo", 4, 0, 0)
    ]
    assert [(it.projection, it.version, it.lag) for it in progress.projections] == [("cups", 1, 0)]
    assert (progress.service, progress.due_timers) == ("echo", 0)


def test_a_repeated_request_has_one_effect_and_another_one_under_its_id_is_refused(
    running: EchoProcess, loop: asyncio.AbstractEventLoop
) -> None:
    request_id = str(uuid4())

    async def work(calls: Calls) -> list[Any]:
        answers: list[Any] = [await calls.say("repeated", request_id=request_id) for _ in range(3)]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.say("milk", request_id=request_id)
        refused = str(uuid4())
        await calls.say("pot", count=1)
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as empty:
                await calls.say("pot", count=1, request_id=refused)
            answers.append(refusal(empty.value).reason)
        return [*answers, refusal(caught.value).reason]

    answers = run(loop, running, work)
    assert answers == ["1", "1", "1", "TEAPOT_EMPTY", "TEAPOT_EMPTY", "REQUEST_ID_REUSED"]


def test_a_read_sees_the_write_whose_position_it_carries(running: EchoProcess, loop: asyncio.AbstractEventLoop) -> None:
    async def work(calls: Calls) -> list[str]:
        request = echo.SayRequest(request_id=str(uuid4()), name="seen")
        say = echo.method(calls.channel, "Say")(request, metadata=calls.metadata, wait_for_ready=True)
        await say
        position = dict(await say.trailing_metadata())["scrm-position"]
        return await calls.sayings(("scrm-position", position))

    assert "seen 1" in run(loop, running, work)


def test_a_read_that_would_have_to_wait_too_long_says_so(running: EchoProcess, loop: asyncio.AbstractEventLoop) -> None:
    async def work(calls: Calls) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.sayings(("scrm-position", "1000000"))
        return refusal(caught.value).reason

    started = perf_counter()
    assert run(loop, running, work) == "PROJECTION_LAGGING"
    assert perf_counter() - started > 1.9


def test_another_tenant_sees_nothing(running: EchoProcess, loop: asyncio.AbstractEventLoop) -> None:
    async def work(calls: Calls) -> None:
        position = await calls.say("ours")
        assert position == "1"
        await calls.settled()
        others = calls.of("other")
        assert await others.sayings() == []
        assert await others.say("ours") == "1"

    run(loop, running, work)


def test_rebuild_and_redrive_are_one_shots_beside_a_running_process(
    running: EchoProcess, echo_process: Start, loop: asyncio.AbstractEventLoop
) -> None:
    run(loop, running, lambda calls: calls.settled())
    before = run(loop, running, lambda calls: calls.sayings())
    other = echo_process()
    assert other.once("rebuild", "cups") == 0
    assert run(loop, running, lambda calls: calls.sayings()) == before
    assert other.once("redrive", "echo-tasting") == 0


def test_an_epoch_that_begins_beside_a_running_process_is_taken_up_by_its_relay_and_its_consumers(
    running: EchoProcess, echo_process: Start, loop: asyncio.AbstractEventLoop
) -> None:
    assert echo_process().once("restored") == 0

    async def work(calls: Calls) -> GetProgressResponse:
        await calls.say("coffee")
        return await calls.settled()

    progress = run(loop, running, work)
    assert [it.published_position for it in progress.logs] == [progress.log_head]
    assert [(it.consumer, it.lag, it.parked) for it in progress.consumers] == [("echo-tasting", 0, 0)]


def test_commands_are_answered_while_nats_is_away(echo_process: Start, loop: asyncio.AbstractEventLoop) -> None:
    away = f"nats://127.0.0.1:{free_port()}"
    process = echo_process(SCRM_NATS_URL=away, SCRM_NATS_MONITOR_URL="")
    process.run("all")
    assert run(loop, process, lambda calls: calls.say("alone")) == "1"
    assert process.child is not None
    process.child.stop()


def test_timers_follow_the_clock_that_drives_all_processes(
    echo_process: Start,
    loop: asyncio.AbstractEventLoop,
    nats_server: NatsServer,
    migrated: Migrated,
) -> None:
    place = migrated("echo", None)
    process = echo_process(place, SCRM_CLOCK="replay")

    async def set_clock(at: datetime) -> None:
        broker = Broker(nats_server.url)
        await broker.connect()
        await publish_clock(broker, at)
        await broker.close()

    loop.run_until_complete(set_clock(START))
    process.run("serve", "timers")

    async def work(calls: Calls) -> list[int]:
        await calls.say("tea")
        heads = [(await calls.settled(START)).log_head]
        for days in (0.5, 1):
            await set_clock(START + timedelta(days=days))
            heads.append((await calls.settled(START + timedelta(days=days))).log_head)
        return heads

    assert run(loop, process, work) == [2, 2, 3]
    assert process.child is not None
    process.child.stop()


def test_a_stopped_process_says_goodbye_and_ends_well(echo_process: Start, loop: asyncio.AbstractEventLoop) -> None:
    process = echo_process(SCRM_DRAIN_SECONDS="0.3")
    child = process.run("all")

    async def work(calls: Calls) -> None:
        await calls.say("tea")
        health: Any = health_pb2_grpc.HealthStub(calls.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        os.kill(child.pid, signal.SIGTERM)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await calls.say("tea")  # whoever has not heard yet is still served
        watch.cancel()

    run(loop, process, work)
    assert child._process is not None
    assert child._process.wait(20) == 0
    assert [it["event"] for it in process.events() if it["level"] in {"error", "critical"}] == []
    assert "Traceback" not in process.log.read_text()
    assert "never awaited" not in process.log.read_text()


def test_a_task_that_misses_its_cancellation_is_cancelled_again() -> None:
    async def deaf() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    async def work() -> None:
        async with _Tasks() as tasks:
            tasks.start("deaf", deaf())
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(work(), 10))


def test_to_migrate_nothing_is_imported_that_only_serving_needs() -> None:
    code = "import sys, chassis.migrations; print(*{'grpc', 'jwt', 'nats', 'protovalidate'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize("arguments", [(), ("sing",), ("serve", "migrate"), ("migrate", "now"), ("redrive",)])
def test_arguments_that_make_no_sense_end_the_process(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.service.configure_logs", lambda *_: None)
    settings = ChassisSettings.from_environment("echo", {"SCRM_DATABASE_URL": "postgresql://127.0.0.1:1/nothing"})
    with pytest.raises(InvalidSettingsError):
        echo_service.service(settings).run(arguments)


def test_a_setting_that_will_not_do_ends_the_process_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise InvalidSettingsError("SCRM_JWKS is needed")

    monkeypatch.setattr(sys, "argv", ["echo", "serve"])
    with pytest.raises(SystemExit, match="SCRM_JWKS is needed"):
        program.run("echo", lambda: refuse)


@pytest.mark.parametrize(
    "variables",
    [
        {"SCRM_DATABASE_URL": ""},
        {"SCRM_GRPC_PORT": "none"},
        {"SCRM_CLOCK": "sundial"},
        {"SCRM_REFLECTION": "yes"},
        {"SCRM_DRAIN_SECONDS": "a while"},
    ],
    ids=str,
)
def test_an_environment_that_makes_no_sense_is_refused_by_the_name_of_the_variable(variables: dict[str, str]) -> None:
    with pytest.raises(InvalidSettingsError, match=next(iter(variables))):
        ChassisSettings.from_environment("echo", {"SCRM_DATABASE_URL": "postgresql://secret@host/db", **variables})


def test_the_addresses_of_other_services_are_found_in_the_environment() -> None:
    environment = {
        "SCRM_DATABASE_URL": "x",
        "SCRM_IDENTITY_ADDRESS": "dns:///identity:50051",
        "SCRM_TAGGING_ADDRESS": "",
    }
    settings = ChassisSettings.from_environment("echo", environment)
    assert dict(settings.service_addresses) == {"identity": "dns:///identity:50051"}
    assert "postgresql" not in repr(settings)
