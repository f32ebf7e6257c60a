"""The short way of messages from the socket to their subscriber: whole, in order, however the bytes come in pieces."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from nats.errors import ProtocolError

from chassis.jetstream import Delivery
from chassis.wire import HEARTBEAT, DirectClient

_DIRECT, _OTHER = 7, 8


class _Heard(DirectClient):
    """A client without a connection that notes what went the long way."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Delivery] = []
        self.long_way: list[bytes] = []
        self.direct[_DIRECT] = self.heard.append

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        if sid in self.direct:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            self.long_way.append(data)

    async def _process_ping(self) -> None:
        self.long_way.append(b"PING")


def _message(number: int, payload: bytes, sid: int = _DIRECT) -> bytes:
    headers = f"NATS/1.0\r\nce-id: s/1/{number}\r\nnote: HMSG x 7 y 1 2\r\n\r\n".encode()
    line = f"HMSG scrm.acme.s.v1.e.{number} {sid} $JS.ACK.s.d.1.{number}.{number}.0.0 {len(headers)} {len(headers) + len(payload)}\r\n"
    return line.encode() + headers + payload + b"\r\n"


_WIRE = (
    _message(1, b"one"),
    b"PING\r\n",
    _message(2, b"HMSG a 7 b 0 0\r\n\r\n"),
    b"MSG _INBOX.x 8 5\r\nhello\r\n",
    b"HMSG _INBOX.y 7 28 28\r\nNATS/1.0 100 Idle Status\r\n\r\n\r\n",
    _message(3, b"elsewhere", sid=_OTHER),
    _message(4, b""),
)


def _hear(parts: Iterator[bytes] | Sequence[bytes]) -> _Heard:
    async def feed() -> _Heard:
        client = _Heard()
        for part in parts:
            await client._ps.parse(part)
        assert not client._ps.buf
        return client

    return asyncio.run(feed())


def _told(client: _Heard) -> list[tuple[str, bytes]]:
    return [(it.headers.get("ce-id", "heartbeat"), it.data) for it in client.heard]


def test_messages_come_whole_and_in_order_wherever_the_bytes_are_cut() -> None:
    wire = b"".join(_WIRE)
    expected = [("s/1/1", b"one"), ("s/1/2", b"HMSG a 7 b 0 0\r\n\r\n"), ("heartbeat", b""), ("s/1/4", b"")]
    cuts = [(wire,), *((wire[:at], wire[at:]) for at in range(1, len(wire))), [bytes([it]) for it in wire]]
    for parts in cuts:
        client = _hear(parts)
        assert _told(client) == expected
        assert client.long_way == [b"PING", b"hello", b"elsewhere"]
        assert client.heard[2].headers is HEARTBEAT


def test_what_is_no_message_is_refused_by_the_library() -> None:
    with pytest.raises(ProtocolError):
        _hear([b"HMSG scrm.a.s.v1.e.1 seven r 12 12\r\nNATS/1.0\r\n\r\n\r\n"])
