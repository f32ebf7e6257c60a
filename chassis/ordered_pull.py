"""Reads a stream strictly in order, through a pull consumer of JetStream that belongs to one reader.

The durable carries the name of its reader, but no position that counts: it is made anew at the sequence from which
PostgreSQL says work has to go on. One that went on by itself would hand out later messages while the earlier ones, unacknowledged by
a process that died, wait for their redelivery; whoever keeps positions would then take those for done.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chassis.broker import Broker, BrokerRefusal
from chassis.jetstream import Delivery
from chassis.wire import HEARTBEAT

_SECOND: Final = 1_000_000_000
_EXPIRES: Final = 30
_HEARTBEAT: Final = 2
_SILENCE: Final = 3 * _HEARTBEAT
_WINDOW: Final = 1500
_CONSUMER_NOT_FOUND: Final = 10014
_STREAM_NOT_FOUND: Final = 10059


class ReadingInterrupted(Exception):
    """The order of messages is no longer sure: read again from the last position."""


class OrderedPull:
    """The messages of `stream` from `start` on, each once and in the order of the stream."""

    def __init__(self, broker: Broker, stream: str, durable: str, subjects: Sequence[str], start: int) -> None:
        self._broker = broker
        self._stream = stream
        self._durable = durable
        self._subjects = list(subjects)
        self._start = max(1, start)
        self._messages: deque[Delivery] = deque()
        self._arrived = asyncio.Event()
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._asked = 0
        self._heard = 0.0
        self._generation = broker.generation
        self._delivered = 0
        self._out = 0
        self._failure: str | None = None
        self._unwatch: Callable[[], None] = lambda: None
        self._clear = 0

    async def open(self) -> None:
        """Take over the durable; whoever read through it before is told that it is gone."""
        await self._delete()
        config = {
            "name": self._durable,
            "durable_name": self._durable,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._start,
            "ack_policy": "none",
            "max_deliver": -1,
            "filter_subjects": self._subjects,
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": 24 * 3600 * _SECOND,
        }
        request = {"stream_name": self._stream, "config": config, "action": "create"}
        await self._broker.request(f"CONSUMER.CREATE.{self._stream}.{self._durable}", request)
        self._inbox = self._broker.inbox()
        self._subscription = await self._broker.subscribe_directly(self._inbox, self._receive, self._receive_status)
        self._heard = monotonic()
        self._unwatch = self._broker.watch(lambda: self._fail("reconnected"))
        await self._ask()

    async def close(self) -> None:
        """Stop receiving; the durable stays for the next reader to replace."""
        self._unwatch()
        if self._subscription is not None:
            await self._broker.unsubscribe(self._subscription)
        self._subscription = None

    async def next(self, limit: int, wait: float) -> list[Delivery]:
        """Up to `limit` messages as soon as there are any; none after `wait` seconds. ReadingInterrupted if in doubt."""
        if not self._messages and self._failure is None:
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._arrived.wait()
            except TimeoutError:
                self._check()
                return []
        found = self.at_hand(limit)
        if not found:
            self._check()
        elif self._asked < _WINDOW // 2 and len(self._messages) < _WINDOW:
            await self._ask()
        return found

    def at_hand(self, limit: int) -> list[Delivery]:
        """Up to `limit` messages that are here already."""
        found = [self._messages.popleft() for _ in range(min(limit, len(self._messages)))]
        self._out += len(found)
        return found

    def done(self) -> None:
        """Whatever was handed out so far has been handled."""
        self._out = 0

    async def waiting(self, head: int) -> int:
        """How many messages of the stream, which ends at `head` now, are not `done` yet; asked of the server, unless it
        has said before that none up to there is for us."""
        if here := len(self._messages) + self._out:
            return here
        if head == self._clear:
            return 0
        info = await self._broker.request(f"CONSUMER.INFO.{self._stream}.{self._durable}")
        known: int = info["num_pending"] + info["delivered"]["consumer_seq"]
        here = len(self._messages) + self._out  # may have grown while we asked
        waiting = max(here, known - (self._delivered - here))
        if not waiting:
            self._clear = head
        return waiting

    async def _ask(self) -> None:
        request = {
            "batch": _WINDOW - self._asked,
            "expires": _EXPIRES * _SECOND,
            "idle_heartbeat": _HEARTBEAT * _SECOND,
        }
        self._asked = _WINDOW
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        await self._broker.publish(subject, json.dumps(request).encode(), reply=self._inbox)

    def _receive(self, message: Delivery) -> None:
        self._heard = monotonic()
        if message.headers is HEARTBEAT:
            return
        try:
            sequence = consumer_sequence(message.reply)
        except (ValueError, IndexError):
            self._fail("a message did not come from the stream")
            return
        if sequence == self._delivered + 1:
            self._delivered += 1
            self._asked -= 1
            self._messages.append(message)
            self._arrived.set()
        else:
            self._fail("a message was skipped or delivered again")

    async def _receive_status(self, message: Msg) -> None:
        headers = message.headers or {}
        if "Status" not in headers:  # a message without headers, which is none of ours
            self._receive(Delivery(message.subject, message.reply, headers, message.data))
            return
        self._heard = monotonic()
        match headers["Status"]:
            case "100":
                return
            case "408" | "404":
                self._asked -= int(headers.get("Nats-Pending-Messages", self._asked))
                if self._asked < _WINDOW // 2:
                    await self._ask()
            case status:
                self._fail(f"{status} {headers.get('Description', '')}")

    def _fail(self, reason: str) -> None:
        self._failure = self._failure or reason
        self._arrived.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise ReadingInterrupted(self._failure)
        if self._generation != self._broker.generation:
            raise ReadingInterrupted("reconnected")
        if monotonic() - self._heard > _SILENCE:
            raise ReadingInterrupted("the server is silent")

    async def _delete(self) -> None:
        try:
            await self._broker.request(f"CONSUMER.DELETE.{self._stream}.{self._durable}")
        except BrokerRefusal as refusal:
            if refusal.code not in {_CONSUMER_NOT_FOUND, _STREAM_NOT_FOUND}:
                raise


def stream_sequence(reply: str) -> int:
    """The sequence in the stream of a message delivered by JetStream, out of its reply subject."""
    return int(_tokens(reply)[-4])


def consumer_sequence(reply: str) -> int:
    """The how-manieth delivery of its consumer a message is."""
    return int(_tokens(reply)[-3])


def _tokens(reply: str) -> list[str]:
    """`$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, in the newer form with a domain and
    an account before the stream and a random token at the end."""
    tokens = reply.split(".")
    return tokens if len(tokens) < 12 else tokens[:-1]
