"""Reading what the services publish: in order, from where this subscriber stopped, for ever.

    async with Events("nats://acme~crm:…@127.0.0.1:14222") as events:
        async for event in events.subscribe("identity", "customers_merged"):
            with handled.once(event) as transaction:
                if transaction:
                    …

The position is kept by NATS in the durable of the subscriber, and moves when the loop asks for the next event. What was handed out and not
followed by a next one, because the process died or the body raised, comes again; `Handled` knows it then. One process reads a durable.
"""

import asyncio
import json
import logging
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from time import monotonic
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import nats.errors
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from scrm_client.handled import Address

log = logging.getLogger("scrm_client")

_SECOND: Final = 1_000_000_000
_WINDOW: Final = 64
_EXPIRES: Final = 5
_ONE: Final = json.dumps({"batch": 1, "expires": _EXPIRES * _SECOND}).encode()
_GLANCE: Final = 0.5
_MOST_REWINDS: Final = 20
_SUBJECT: Final = re.compile(r'permissions violation for publish to "([^"]+)"')
_EPOCHS: Final = "scrm-epoch-bases"


class NotGranted(Exception):
    """The subscriber does not read this; who runs the CRM can let it (docs/events.md)."""


class SubscriptionTaken(Exception):
    """Another process reads through the same durable, or somebody replays it. Start again when it is the only one."""


class UnknownEvent(Exception):
    """An event of a type that this version of the package does not know. Newer services may publish such; skip it."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `id` is its `ce-id`, the same whenever it comes; `key` is whom or what the order is kept for.

    `time` is when it happened, `published` when it came into the stream, `sequence` its place there.
    """

    service: str
    name: str
    type: str
    id: str
    tenant: str
    key: str
    time: datetime
    published: datetime
    sequence: int
    partition: int
    payload: bytes
    bases: tuple[int, ...] = (0,)
    correlation: str | None = None
    causation: str | None = None

    @property
    def address(self) -> Address:
        _, epoch, offset = self.id.split("/")
        position, _, part = offset.partition(".")
        return Address(int(epoch), int(position), int(part or 0))

    @property
    def message(self) -> Message:
        """The message of the contract, such as `scrm.identity.v1.events_pb2.CustomersMerged`."""
        package, _, name = self.type.rpartition(".")
        try:
            kind = getattr(import_module(f"{package}.events_pb2"), name)
        except (ModuleNotFoundError, AttributeError):
            raise UnknownEvent(self.type) from None
        found: Message = kind.FromString(self.payload)
        return found


class Events:
    """A connection to NATS with the credentials of one subscriber, as `url` says: `nats://<subscriber>:<password>@<host>:<port>`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = f"{parts.scheme}://{parts.hostname}:{parts.port or 4222}"
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._client = Client()
        self._refused: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._client.connect(
            self._server,
            user=self._user,
            password=self._password,
            inbox_prefix=f"_INBOX_{self._user}",
            name=self._user,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            error_cb=self._note,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def _note(self, error: Exception) -> None:
        """What the server may not be asked is not answered: it says so aside."""
        log.info("NATS: %s", type(error).__name__)
        self._refused.update(_SUBJECT.findall(str(error)))

    async def subscribe(self, service: str, *names: str) -> AsyncGenerator[Event, None]:
        """The events of `service` with these names (such as "customers_merged"), all that are granted without; never ends.

        What the durable has besides is passed over for good. NotGranted for what it does not have.
        """
        reader = _Reader(self._client, service, self._user, self._refused)
        await reader.rewind()
        _require_granted(service, names, reader.subjects)
        try:
            while True:
                event = await reader.next()
                if not names or event.name in names:
                    yield event
                await reader.done(event)
        finally:
            await reader.close()

    async def replay(self, service: str, *, since: datetime | None = None, position: int | None = None) -> None:
        """Go back, or forward: `subscribe` goes on with the first event published at `since` or later, or with `position` of the service.

        With neither, from the very beginning. Let nobody read meanwhile. What `Handled` knows it still takes for handled: see `forget`.
        """
        reader = _Reader(self._client, service, self._user, self._refused)
        await reader.rewind(1)
        try:
            if since is not None:
                at = since if since.tzinfo else since.replace(tzinfo=UTC)
                await reader.seek(lambda event: event.published >= at)
            elif position is not None:
                await reader.seek(lambda event: event.address.position >= position)
        finally:
            await reader.close()


class _Reader:
    """The messages of one durable in order. Asks for each message by a request of its own, many of them at once.

    Requests of a process that died may still swallow messages for some seconds. A gap in the deliveries, or a silence, is therefore
    answered by going back to the last event that was handled, after which everything since is delivered again.
    """

    def __init__(self, client: Client, service: str, durable: str, refused: Collection[str]) -> None:
        self._client = client
        self._refused = refused
        self._service = service
        self._path = f"{service}.{durable}"
        self._messages: asyncio.Queue[Msg] = asyncio.Queue()
        self._asked: deque[float] = deque()
        self._subscription: Subscription | None = None
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{self._path}"
        self._heard = monotonic()
        self._reconnects = client.stats["reconnects"]
        self._expected = 1
        self._last = 0
        self._rewinds = 0
        self._at_hand = ""
        self._acknowledge: str | None = None
        self._bases: tuple[int, ...] = (0,)
        self.subjects: list[str] = []

    async def rewind(self, sequence: int | None = None) -> int:
        """Go on after what is acknowledged, or with `sequence`; how many messages there are from there on. Waits for NATS if it must."""
        await self._listen()
        body = b"" if sequence is None else json.dumps({"seq": max(1, sequence)}).encode()
        subject = f"$JS.API.CONSUMER.RESET.{self._path}"
        while True:
            try:
                answer = json.loads((await self._client.request(subject, body, 2)).data)
                if "error" not in answer:
                    break
                log.warning("%s: %s", self._service, answer["error"].get("description"))
            except (nats.errors.Error, OSError) as error:
                log.info("%s cannot be read at the moment: %s", self._service, type(error).__name__)
            if subject.lower() in self._refused:
                raise NotGranted(self._service)
            await asyncio.sleep(1)
        config = answer["config"]
        self.subjects = config.get("filter_subjects") or [config.get("filter_subject", "")]
        self._bases = tuple(int(it) for it in config.get("metadata", {}).get(_EPOCHS, "0").split(","))
        self._expected = 1
        return int(answer["num_pending"])

    async def next(self) -> Event:
        """The next message, however long it takes."""
        while True:
            await self._ask()
            try:
                async with asyncio.timeout(_GLANCE):
                    message = await self._messages.get()
            except TimeoutError:
                await self._after_silence()
                continue
            event = await self._received(message)
            if event is not None:
                self._rewinds = 0
                return event

    async def done(self, event: Event) -> None:
        """The event has been handled. NATS is told when nothing more is at hand, or now and then."""
        self._last, self._acknowledge = event.sequence, self._at_hand
        if self._messages.empty() or event.sequence % 50 == 0:
            await self._send_acknowledgement()

    async def seek(self, is_far_enough: Callable[[Event], bool]) -> None:
        """Find the first message for which it holds, as it does for all after it, and go on with it."""
        low, step = 1, 1024
        while not await self._holds(low + step, is_far_enough):
            low, step = low + step + 1, step * 2
        high = low + step
        while low < high:
            middle = (low + high) // 2
            if await self._holds(middle, is_far_enough):
                high = middle
            else:
                low = middle + 1
        await self.rewind(low)

    async def close(self) -> None:
        if self._subscription is not None and not self._client.is_closed:
            if self._acknowledge and self._client.is_connected:
                await self._send_acknowledgement()
                await self._client.flush()
            await self._subscription.unsubscribe()
        self._subscription = None

    async def _holds(self, sequence: int, is_far_enough: Callable[[Event], bool]) -> bool:
        """Whether it holds for the first message from `sequence` on; it does where there is none."""
        while await self.rewind(sequence):
            try:
                message = await self._client.request(
                    self._next, _ONE, 2, old_style=True
                )  # it has the subject of the stream
            except nats.errors.Error:
                continue
            is_message = (message.headers or {}).get("Status") is None
            if is_message and _delivery_of(message) == 1:
                return is_far_enough(self._event(message))
        return True

    async def _after_silence(self) -> None:
        """There is nothing, or it went to somebody who is no more, or over a connection that is no more."""
        reconnects = self._client.stats["reconnects"]
        if reconnects != self._reconnects or monotonic() - self._heard > _EXPIRES + 1:
            self._reconnects, self._heard = reconnects, monotonic()
            self._asked.clear()
            await self.rewind(self._last + 1 if self._last else None)

    async def _received(self, message: Msg) -> Event | None:
        """The event, if it is the next one."""
        if self._asked:
            self._asked.popleft()
        status = (message.headers or {}).get("Status")
        if status is not None:
            if status not in ("404", "408"):
                await self._go_back(f"status {status}")
            return None
        self._heard = monotonic()  # of messages: that requests are over is no sign that there are none
        delivery = _delivery_of(message)
        if delivery != self._expected:
            if delivery == 1 and self._client.stats["reconnects"] == self._reconnects:
                raise SubscriptionTaken(self._path)  # somebody else set the durable back
            await self._go_back("a message is missing")
            return None
        self._expected = delivery + 1
        event = self._event(message)
        if event.sequence <= self._last:  # the acknowledgement was lost
            self._acknowledge = message.reply
            return None
        self._at_hand = message.reply
        return event

    async def _go_back(self, reason: str) -> None:
        self._rewinds += 1
        if self._rewinds > _MOST_REWINDS:
            raise SubscriptionTaken(self._path)
        log.info("%s: %s, going back to the last event that was handled", self._service, reason)
        await asyncio.sleep(min(1.0, 0.05 * self._rewinds))
        await self._drop()
        self._reconnects = self._client.stats["reconnects"]
        await self.rewind(self._last + 1 if self._last else None)

    async def _listen(self) -> None:
        if self._subscription is None:
            self._inbox = self._client.new_inbox()
            self._subscription = await self._client.subscribe(self._inbox, cb=self._messages.put)

    async def _drop(self) -> None:
        """Hear no more of what was asked for before."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        self._subscription = None
        self._messages = asyncio.Queue()
        self._asked.clear()

    async def _ask(self) -> None:
        """Keep as many requests on their way as there are places in the window; those whose time is over do not count."""
        now = monotonic()
        while self._asked and now - self._asked[0] > _EXPIRES:
            self._asked.popleft()
        if not self._client.is_connected or len(self._asked) + self._messages.qsize() > _WINDOW // 2:
            return
        while len(self._asked) < _WINDOW:
            await self._client.publish(self._next, _ONE, reply=self._inbox)
            self._asked.append(now)

    async def _send_acknowledgement(self) -> None:
        if self._acknowledge and self._client.is_connected:
            await self._client.publish(self._acknowledge, b"+ACK")
            self._acknowledge = None

    def _event(self, message: Msg) -> Event:
        headers = message.headers or {}
        _, _, service, _, name, partition = message.subject.split(".")
        return Event(
            service=service,
            name=name,
            type=headers["ce-type"],
            id=headers["ce-id"],
            tenant=headers["ce-tenant"],
            key=headers["ce-subject"],
            time=datetime.fromisoformat(headers["ce-time"]),
            published=datetime.fromtimestamp(int(_token(message, -2)) / _SECOND, UTC),
            sequence=int(_token(message, -4)),
            partition=int(partition),
            payload=message.data,
            bases=self._bases,
            correlation=headers.get("ce-correlationid"),
            causation=headers.get("ce-causationid"),
        )


def _delivery_of(message: Msg) -> int:
    """The how-manieth delivery since the durable was last set back."""
    return int(_token(message, -3))


def _token(message: Msg, place: int) -> str:
    """Of `$JS.ACK.<stream>.<durable>.<delivered>.<stream seq>.<delivery>.<time>.<pending>`, in a newer form with two tokens more before
    the stream and one at the end."""
    tokens = message.reply.split(".")
    return (tokens if len(tokens) < 12 else tokens[:-1])[place]


def _require_granted(service: str, names: tuple[str, ...], subjects: list[str]) -> None:
    granted = {it.split(".")[4] for it in subjects if it}
    missing = [it for it in names if it not in granted and "*" not in granted]
    if missing:
        raise NotGranted(f"{service}: {', '.join(missing)}; granted are {', '.join(sorted(granted))}")
