"""The connection to NATS and the replay clock that goes over it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any

import pytest
from nats.aio.msg import Msg

from chassis.broker import (
    Broker,
    BrokerUnavailable,
    StreamSpec,
    UnsyncedBroker,
    current_clock,
    follow_clock,
    publish_clock,
)
from chassis.clock import ReplayClock
from deploy.local.broker import NatsServer
from tests.chassis.streams import NOON, connected, until

DAY = timedelta(days=1)


class Monitor(BaseHTTPRequestHandler):
    """Hangs up on whoever asks first; then says that the server syncs, or not."""

    asked = 0
    syncs = True

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.asked > 1:
            body = json.dumps({"jetstream": {"config": {"sync_always": self.syncs}}}).encode()
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize("syncs", [True, False])
def test_a_monitor_that_hangs_up_is_asked_again(syncs: bool, loop: Any, nats_server: NatsServer) -> None:
    asked: type[Monitor] = type("Asked", (Monitor,), {"syncs": syncs})

    async def connect(address: str) -> None:
        broker = Broker(nats_server.url, monitor_url=address)
        try:
            await broker.connect()
        finally:
            await broker.close()

    with ThreadingHTTPServer(("127.0.0.1", 0), asked) as monitor:
        Thread(target=monitor.serve_forever, daemon=True).start()
        try:
            with nullcontext() if syncs else pytest.raises(UnsyncedBroker):
                loop.run_until_complete(connect(f"http://127.0.0.1:{monitor.server_port}"))
        finally:
            monitor.shutdown()
    assert asked.asked == 2


@asynccontextmanager
async def following(broker: Broker, clock: ReplayClock) -> AsyncIterator[None]:
    task = asyncio.create_task(follow_clock(broker, clock))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_every_process_follows_the_replay_clock_even_one_that_starts_late(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        early, late = ReplayClock(NOON), ReplayClock(NOON)
        async with connected(nats_server) as broker, following(broker, early):
            assert await current_clock(broker) is None
            await publish_clock(broker, NOON + DAY)
            await until(lambda: early.now() == NOON + DAY)
            async with following(broker, late):
                await until(lambda: late.now() == NOON + DAY)
                await publish_clock(broker, NOON + 2 * DAY)
                await until(lambda: early.now() == late.now() == NOON + 2 * DAY)
                await publish_clock(broker, NOON)  # never back
                await publish_clock(broker, NOON + 3 * DAY)
                await until(lambda: early.now() == late.now() == NOON + 3 * DAY)
            info = await broker.stream("CLOCK")
            assert info is not None
            assert info.messages == 1

    loop.run_until_complete(scenario())


def test_the_clock_survives_the_broker(loop: Any, server_folder: Path) -> None:
    async def scenario() -> None:
        server = NatsServer(server_folder / "nats")
        server.start()
        async with connected(server) as broker:
            clock = ReplayClock(NOON)
            async with following(broker, clock):
                await publish_clock(broker, NOON + DAY)
                await until(lambda: clock.now() == NOON + DAY)
                before = broker.generation
                server.kill()
                server.start()
                await until(lambda: broker.generation > before)
                assert await current_clock(broker) == NOON + DAY
                await publish_clock(broker, NOON + 2 * DAY)
                await until(lambda: clock.now() == NOON + 2 * DAY)
        server.stop()

    loop.run_until_complete(scenario())


def test_an_answer_that_was_lost_with_its_connection_is_not_waited_for(loop: Any, server_folder: Path) -> None:
    async def scenario() -> None:
        server = NatsServer(server_folder / "nats")
        server.start()
        async with connected(server) as broker:

            async def never_answer(_: Msg) -> None:
                return

            await broker.subscribe("silence", never_answer)
            asked = asyncio.create_task(broker.store("silence", b""))
            await asyncio.sleep(0.2)
            assert not asked.done()
            begun = perf_counter()
            server.kill()
            with pytest.raises(BrokerUnavailable):
                await asked
            assert perf_counter() - begun < 2
            server.start()
            await until(lambda: broker.connected)
        server.stop()

    loop.run_until_complete(scenario())


def test_a_client_that_gave_up_is_replaced(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            before = broker.generation
            await broker._client.close()
            await until(lambda: broker.generation > before and broker.connected)
            await broker.ensure_stream(StreamSpec("numbers", ["numbers"]))

    loop.run_until_complete(scenario())


def test_nobody_waits_for_an_answer_that_cannot_come(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            with pytest.raises(BrokerUnavailable):
                await broker.store("nobody.listens.here", b"")

    loop.run_until_complete(scenario())


def test_a_stream_keeps_its_subjects_when_others_are_added(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await broker.ensure_stream(StreamSpec("numbers", ["a"], {"kept": "yes"}))
            info = await broker.ensure_stream(StreamSpec("numbers", ["b"]))
            assert set(info.subjects) == {"a", "b"}
            assert info.metadata["kept"] == "yes"

    loop.run_until_complete(scenario())


def test_a_request_cancelled_as_its_answer_arrives_is_cancelled(loop: Any, nats_server: NatsServer) -> None:
    """`asyncio.wait_for` of Python 3.11 would return the answer, and the caller would go on for ever."""

    async def scenario() -> None:
        async with connected(nats_server) as broker:
            asking = asyncio.create_task(broker.request("INFO", seconds=60))
            answered = broker._client._request_sub_callback

            async def answered_and_cancelled(message: Msg) -> None:
                await answered(message)
                asking.cancel()

            for it in broker._client._subs.values():
                it._cb = answered_and_cancelled
            with pytest.raises(asyncio.CancelledError):
                await asking

    loop.run_until_complete(scenario())
