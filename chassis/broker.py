"""The connection to NATS: streams by the JetStream API, atomic batches written in one piece, the shared replay clock.

`Broker(url, monitor_url=..., allow_unsynced=..., replicas=...)`; `await broker.connect()` waits until the server is there and
refuses one that answers before it syncs; `await broker.close()`. The client reconnects by itself for ever; `broker.generation`
changes whenever it had to, so that whoever waits for an answer that the old connection owed him can ask again.
"""

import asyncio
import base64
import json
import os
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError

import nats.errors
import orjson
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chassis.clock import ReplayClock
from chassis.jetstream import (
    BATCH_LIMIT,
    BrokerRefusal,
    BrokerUnavailable,
    Delivery,
    Parcel,
    Stored,
    StreamInfo,
    StreamSpec,
    UnsyncedBroker,
    parse_headers,
    stream_info,
)
from chassis.loops import CHECK_SECONDS
from chassis.wire import DirectClient

__all__ = [
    "BATCH_LIMIT",
    "Broker",
    "BrokerRefusal",
    "BrokerUnavailable",
    "Parcel",
    "Stored",
    "StreamInfo",
    "StreamSpec",
    "UnsyncedBroker",
    "current_clock",
    "follow_clock",
    "publish_clock",
    "require_sync",
]

log = structlog.get_logger()

_API: Final = "$JS.API."
_STREAM_NOT_FOUND: Final = 10059
_MESSAGE_NOT_FOUND: Final = 10037
_CLOCK_STREAM: Final = "CLOCK"
_CLOCK_SUBJECT: Final = "scrm.clock"
_MONITOR_PAUSE_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 1.0


class Broker:
    """One connection to NATS, shared by everything in a process."""

    def __init__(
        self,
        url: str,
        *,
        monitor_url: str | None = None,
        allow_unsynced: bool = False,
        replicas: int = 1,
        name: str = "scrm",
    ) -> None:
        self._url = url
        self._monitor_url = None if allow_unsynced else monitor_url
        self._replicas = replicas
        self._name = name
        self._client = DirectClient()
        self._closing = False
        self._was_opened = False
        self._batches = 0
        self._streams_asked: dict[str, asyncio.Task[StreamInfo | None]] = {}
        self._revival: asyncio.Task[None] | None = None
        self._when_reconnected: set[Callable[[], None]] = set()
        self.generation = 0

    async def connect(self) -> None:
        """Connect, however long it takes; UnsyncedBroker for a server that does not sync before it acknowledges."""
        await self._open()
        while self._monitor_url:
            try:
                await asyncio.to_thread(require_sync, self._monitor_url)
                return
            except HTTPError:  # there is an answer, and it is not that of a monitor
                raise
            except (OSError, HTTPException) as error:
                log.info("broker.monitor_unreachable", error=str(error))
                await asyncio.sleep(_MONITOR_PAUSE_SECONDS)

    async def close(self) -> None:
        self._closing = True
        if self._revival:
            self._revival.cancel()
        if self._was_opened:  # one that nobody connected cannot be closed
            await self._client.close()

    @property
    def connected(self) -> bool:
        return self._client.is_connected

    async def request(self, subject: str, body: Mapping[str, Any] | None = None, seconds: float = 5) -> dict[str, Any]:
        """One call of the JetStream API; `subject` without its prefix."""
        payload = b"" if body is None else json.dumps(body).encode()
        return self._checked(await self._ask(_API + subject, payload, {}, seconds))

    async def stream(self, name: str) -> StreamInfo | None:
        """The stream as it is now; None if there is none. What is asked several times in one turn of the event loop travels once."""
        asked = self._streams_asked.get(name)
        if asked is None:
            asked = self._streams_asked[name] = asyncio.ensure_future(self._stream(name))
            asyncio.get_running_loop().call_soon(self._streams_asked.pop, name, None)
        return await asyncio.shield(asked)

    async def _stream(self, name: str) -> StreamInfo | None:
        try:
            return stream_info(await self.request(f"STREAM.INFO.{name}"))
        except BrokerRefusal as refusal:
            if refusal.code == _STREAM_NOT_FOUND:
                return None
            raise

    async def ensure_stream(self, spec: StreamSpec) -> StreamInfo:
        """Create the stream, or give an existing one the subjects it lacks; its metadata stay as they are."""
        found = await self.stream(spec.name)
        if found is None:
            return stream_info(await self.request(f"STREAM.CREATE.{spec.name}", spec.config(self._replicas)))
        missing = [it for it in spec.subjects if it not in found.subjects]
        if not missing:
            return found
        config = spec.config(self._replicas) | {
            "subjects": [*found.subjects, *missing],
            "metadata": dict(found.metadata),
        }
        return stream_info(await self.request(f"STREAM.UPDATE.{spec.name}", config))

    async def delete_stream(self, name: str) -> None:
        """Remove a stream with all its messages; nothing happens if there is none."""
        try:
            await self.request(f"STREAM.DELETE.{name}")
        except BrokerRefusal as refusal:
            if refusal.code != _STREAM_NOT_FOUND:
                raise

    async def message(self, stream: str, **which: int | str) -> Stored | None:
        """One message: `seq=7`, `last_by_subj="a.>"`, or `seq=7, next_by_subj=">"` for the first from 7 on."""
        try:
            found = (await self.request(f"STREAM.MSG.GET.{stream}", which))["message"]
        except BrokerRefusal as refusal:
            if refusal.code in {_MESSAGE_NOT_FOUND, _STREAM_NOT_FOUND}:
                return None
            raise
        headers = base64.b64decode(found.get("hdrs", ""))
        return Stored(found["seq"], found["subject"], parse_headers(headers), base64.b64decode(found.get("data", "")))

    async def publish_batch(self, parcels: Sequence[Parcel], expected_last_sequence: int, seconds: float = 5) -> int:
        """Store all or none of up to BATCH_LIMIT messages, if the stream still ends where we think it does.

        Returns the sequence of the last one. A BrokerRefusal leaves nothing behind; after a BrokerUnavailable the
        batch may be there or not.
        """
        self._batches += 1
        batch = f"Nats-Batch-Id: {self._client.client_id}-{os.getpid()}-{self._batches}\r\nNats-Batch-Sequence: "
        expected = f"Nats-Expected-Last-Sequence: {expected_last_sequence}\r\n"
        last = len(parcels)
        written: list[bytes] = []
        for number, it in enumerate(parcels[:-1], 1):
            headers = f"NATS/1.0\r\n{batch}{number}\r\n{expected if number == 1 else ''}{it.headers}\r\n".encode()
            size = len(headers)
            written += (f"HPUB {it.subject} {size} {size + len(it.payload)}\r\n".encode(), headers, it.payload, b"\r\n")
        if written:
            await self._write(b"".join(written))
        # The server makes a store of its own for a batch: one message alone is no batch, and takes a sixth of the time.
        end = f"{batch}{last}\r\nNats-Batch-Commit: 1\r\n" if written else expected
        final = parse_headers(f"NATS/1.0\r\n{end}{parcels[-1].headers}\r\n".encode())
        answer = self._checked(await self._ask(parcels[-1].subject, parcels[-1].payload, final, seconds))
        return int(answer["seq"])

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send without waiting for anything."""
        with _translated():
            await self._client.publish(subject, payload, reply=reply, headers=headers)

    async def store(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Publish one message and wait until it is stored; its sequence."""
        return int(self._checked(await self._ask(subject, payload, dict(headers or {}), 5))["seq"])

    async def subscribe(self, subject: str, receive: Callable[[Msg], Awaitable[None]]) -> Subscription:
        with _translated():
            return await self._client.subscribe(subject, cb=receive, pending_msgs_limit=0, pending_bytes_limit=0)

    async def subscribe_directly(
        self, subject: str, receive: Callable[[Delivery], None], receive_status: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """`receive` gets each message with headers as it comes off the socket and must not wait; `receive_status` the rest."""
        subscription = await self.subscribe(subject, receive_status)
        self._client.direct[subscription._id] = receive  # noqa: SLF001
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, whatever became of its connection."""
        subscription._conn.direct.pop(subscription._id, None)  # noqa: SLF001
        with suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()

    def watch(self, reconnected: Callable[[], None]) -> Callable[[], None]:
        """Have `reconnected` called whenever `generation` has changed; what is returned ends that."""
        self._when_reconnected.add(reconnected)
        return lambda: self._when_reconnected.discard(reconnected)

    def inbox(self) -> str:
        return self._client.new_inbox()

    async def _ask(self, subject: str, payload: bytes, headers: dict[str, str], seconds: float) -> Msg:
        if not self.connected:
            raise BrokerUnavailable("not connected")
        with _translated():
            # Not the timeout of the client: its `wait_for` forgets, in Python 3.11, a cancellation that meets the answer.
            async with asyncio.timeout(seconds):
                return await self._client.request(subject, payload, timeout=None, headers=headers or None)  # type: ignore[arg-type]

    async def _write(self, lines: bytes) -> None:
        """Hand ready protocol lines to the client: its own `publish` takes more time per message than all the rest of us.

        The only place that reaches into the client.
        """
        if not self.connected:
            raise BrokerUnavailable("not connected")
        await self._client._send_command(lines)  # noqa: SLF001

    @staticmethod
    def _checked(answer: Msg) -> dict[str, Any]:
        content: dict[str, Any] = orjson.loads(answer.data)
        if "error" in content:
            raise BrokerRefusal(content["error"].get("err_code", 0), content["error"].get("description", ""))
        return content

    async def _open(self) -> None:
        self._was_opened = True
        await self._client.connect(
            self._url,
            name=self._name,
            connect_timeout=2,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            ping_interval=5,
            max_outstanding_pings=2,
            pending_size=16 * 1024 * 1024,
            error_cb=self._note_error,
            disconnected_cb=self._note_disconnect,
            reconnected_cb=self._note_reconnect,
            closed_cb=self._note_close,
            skip_subject_validation=True,
        )
        self._begin_generation()

    async def _note_error(self, error: Exception) -> None:
        log.warning("broker.error", error=repr(error))

    async def _note_disconnect(self) -> None:
        """Whoever waits for an answer over the connection that is gone need not wait for the rest of their time."""
        for answer in list(self._client._resp_map.values()):  # noqa: SLF001
            if not answer.done():
                answer.set_exception(nats.errors.StaleConnectionError())

    def _begin_generation(self) -> None:
        self.generation += 1
        for tell in list(self._when_reconnected):
            tell()

    async def _note_reconnect(self) -> None:
        self._begin_generation()
        log.info("broker.reconnected")

    async def _note_close(self) -> None:
        """The client gives up on some errors; we never do."""
        if not self._closing:
            self._client = DirectClient()
            self._revival = asyncio.create_task(self._open())


def require_sync(monitor_url: str) -> None:
    """UnsyncedBroker unless the server says that it syncs every write before it acknowledges it."""
    with urllib.request.urlopen(f"{monitor_url}/varz", timeout=5) as answer:  # noqa: S310
        jetstream = json.load(answer).get("jetstream", {})
    if jetstream.get("config", {}).get("sync_always") is not True:
        raise UnsyncedBroker("nats-server needs `sync_interval: always`")


async def publish_clock(broker: Broker, at: datetime) -> None:
    """Set the replay clock of every process that follows it."""
    if await broker.stream(_CLOCK_STREAM) is None:
        await broker.ensure_stream(StreamSpec(_CLOCK_STREAM, [_CLOCK_SUBJECT], per_subject=1))
    await broker.store(_CLOCK_SUBJECT, at.isoformat().encode())


async def current_clock(broker: Broker) -> datetime | None:
    """What the replay clock was last set to; None before its first setting."""
    found = await broker.message(_CLOCK_STREAM, last_by_subj=_CLOCK_SUBJECT)
    return datetime.fromisoformat(found.payload.decode()) if found else None


async def follow_clock(broker: Broker, clock: ReplayClock) -> None:
    """Keep `clock` at what `publish_clock` says, until cancelled; looks it up again now and then, and after a reconnect."""

    async def receive(message: Msg) -> None:
        advance(datetime.fromisoformat(message.data.decode()))

    def advance(at: datetime | None) -> None:
        if at is not None and at > clock.now():
            clock.set(at)

    client: Client | None = None
    reconnected = asyncio.Event()
    unwatch = broker.watch(reconnected.set)
    try:
        while True:
            reconnected.clear()
            pause = CHECK_SECONDS
            try:
                if client is not broker._client:  # noqa: SLF001 (a subscription belongs to one client)
                    await broker.subscribe(_CLOCK_SUBJECT, receive)
                    client = broker._client  # noqa: SLF001
                advance(await current_clock(broker))
            except (BrokerUnavailable, BrokerRefusal) as error:
                log.info("clock.unreachable", error=str(error))
                pause = _RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await reconnected.wait()
    finally:
        unwatch()


class _translated:  # noqa: N801 (reads as a statement)
    """Turns every way in which the client says that it got no answer into BrokerUnavailable."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, nats.errors.Error | OSError | asyncio.TimeoutError):
            raise BrokerUnavailable(str(error) or type(error).__name__) from error
