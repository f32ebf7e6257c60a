"""The client of NATS with a short way for messages of a stream: from the socket to whoever subscribed, without queue or task.

Three million deliveries of a replayed year are most of what services do with the broker, so what each costs counts.
"""

from collections.abc import Callable, Mapping
from typing import Final

from nats.aio.client import Client
from nats.protocol.parser import AWAITING_MSG_PAYLOAD, CRLF_SIZE, Parser

from chassis.jetstream import Delivery, HeaderLines, parse_header_lines

HEARTBEAT: Final[Mapping[str, str]] = {"Status": "100"}
"""The headers of what a server says while it has nothing to deliver."""

_NO_STATUS: Final = b"NATS/1.0\r\n"
_IDLE: Final = b"NATS/1.0 100"
_LINE_END: Final = b"\r\n"
_WORDS: Final = 6

Receive = Callable[[Delivery], None]


class DirectClient(Client):
    """The client; who is in `direct`, by the number of a subscription, gets its messages at once, and must not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.direct: dict[int, Receive] = {}
        self._ps = _DirectParser(self)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        return parse_header_lines(raw)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        """Hand messages of a stream over at once; what the server says about the stream goes the long way."""
        receive = self.direct.get(sid)
        if receive is not None and headers and headers.startswith(_IDLE):
            receive(Delivery("", "", HEARTBEAT, b""))
        elif receive is not None and headers and headers.startswith(_NO_STATUS):
            receive(_delivery(subject, reply, headers, data))
        else:
            await super()._process_msg(sid, subject, reply, data, headers)  # type: ignore[arg-type]


class _DirectParser(Parser):
    """Takes whole messages for `direct` out of what came, one after the other; everything else is for the parser of the library."""

    nc: DirectClient

    async def parse(self, data: bytes = b"") -> None:
        if self.state == AWAITING_MSG_PAYLOAD:  # the rest of a message that went the long way
            missing = self.needed + CRLF_SIZE - len(self.buf)
            await super().parse(data[:missing])
            data = data[missing:]
        elif self.buf:
            data = bytes(self.buf) + data
            self.buf.clear()
        done, is_torn = self._hand_over(data)
        if is_torn:
            self.buf.extend(data[done:])
        elif done < len(data):
            await super().parse(data[done:])

    def _hand_over(self, data: bytes) -> tuple[int, bool]:
        """How far `data` was messages for `direct`, and whether what follows is one whose end is still to come."""
        at, direct = 0, self.nc.direct
        while data.startswith(b"HMSG ", at):
            end = data.find(_LINE_END, at)
            words = data[at:end].split() if end > 0 else ()
            if len(words) != _WORDS:
                break
            _, subject, number, reply, size, whole = words
            receive = direct.get(_number(number))
            start = end + CRLF_SIZE
            stop, body = start + _number(whole), start + _number(size)
            if receive is None or not start <= body <= stop:
                break
            if stop + CRLF_SIZE > len(data):
                return at, True
            headers = data[start:body]
            if not headers.startswith(_NO_STATUS):
                break
            receive(_delivery(subject, reply, headers, data[body:stop]))
            at = stop + CRLF_SIZE
        return at, False


def _number(word: bytes) -> int:
    """What the server says is a number; below everything if it is none."""
    return int(word) if word.isdigit() else -1


def _delivery(subject: bytes, reply: bytes, headers: bytes, data: bytes) -> Delivery:
    lines = HeaderLines(headers[len(_NO_STATUS) :])
    return Delivery(subject.decode("utf-8", "replace"), reply.decode("utf-8", "replace"), lines, data)
