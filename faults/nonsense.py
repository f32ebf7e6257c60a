"""What nobody should send: random messages for the HTTP door and random batches for TrackBatch, more wrong than right."""

import gzip
import json
from random import Random
from typing import Any, Final, NamedTuple

import orjson

from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from scrm.tracking.v1.tracking_service_pb2 import TrackBatchRequest

NAMES: Final = ["messageId", "type", "event", "userId", "anonymousId", "properties", "traits", "context", "timestamp", "sentAt",
         "originalTimestamp", "previousId", "groupId", "name", "channel", "integrations"]  # fmt: skip
PLACES: Final = ["/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch", "/v1/track", "/v1/t", "/v1/identify", "/v1/page",
          "/v1/screen", "/v1/group", "/v1/alias"]  # fmt: skip
WORDS: Final = ["", "a", "\0", "\u0085", "e\u0301", "💩" * 50, "x" * 300, "x" * 5000, "null", "0", "2026-05-01T12:00:00Z", "2026-13-99",
         "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "+8613800000001", "a@b.cn", "track", "Order Completed",
         "Product Viewed", "content_viewed", "1e5", "-1", "NaN", "Asia/Tokyo", "../../etc/passwd", "custom.", "__proto__"]  # fmt: skip
NUMBERS: Final = [0, 1, -1, 7.5, 2**31, 2**53, 2**63, 2**64, -(2**64), 10**30, 1e300, 1e-300, True, False, None]


_OF_CONTEXT: Final = {"channel", "app", "page", "content_id", "page_view_id"}
_TEXTS: Final = {"message_id", "source_key", "event_type"} | _OF_CONTEXT


class HttpRequest(NamedTuple):
    """Where to, what, and how many messages there are in it; None for what nobody can count."""

    path: str
    content: bytes
    messages: int | None


class Nonsense:
    """Random values, more wrong than right; a batch has up to `largest` messages."""

    def __init__(self, seed: int, largest: int = 5) -> None:
        self._largest = largest
        self._random = Random(seed)  # noqa: S311 - repeatable

    def value(self, depth: int = 0) -> Any:
        kind = self._random.random()
        if kind < 0.45 or depth > 3:
            return self._random.choice(WORDS)
        if kind < 0.7:
            return self._random.choice(NUMBERS)
        if kind < 0.85:
            return [self.value(depth + 1) for _ in range(self._random.randrange(4))]
        return {self._random.choice([*WORDS, *NAMES]): self.value(depth + 1) for _ in range(self._random.randrange(4))}

    def message(self) -> Any:
        if self._random.random() < 0.1:
            return self.value()
        right = {
            "messageId": str(self._random.getrandbits(64)),
            "type": "track",
            "event": "checkin",
            "anonymousId": "a-1",
        }
        wrong = {it: self.value() for it in self._random.sample(NAMES, self._random.randrange(6))}
        return {**right, "properties": {"a": 1}, **wrong}

    def request(self) -> HttpRequest:
        path = self._random.choice(PLACES)
        is_batch = "batch" in path or path in ("/v1/b", "/v1/import")
        messages = (
            [self.message() for _ in range(self._random.randrange(1, self._largest + 1))]
            if is_batch
            else [self.message()]
        )
        count: int | None = len(messages) if is_batch or isinstance(messages[0], dict) else None
        content = _written({"batch": messages, "sentAt": self.value(3)} if is_batch else messages[0])
        spoil = self._random.random()
        if spoil < 0.08:
            cut = self._random.randrange(len(content))
            return HttpRequest(path, content[:cut], None)
        if spoil < 0.16:
            at = self._random.randrange(len(content))
            return HttpRequest(path, content[:at] + self._random.randbytes(3) + content[at + 1 :], None)
        if spoil < 0.24:
            content = gzip.compress(content, 1)
            if spoil < 0.2:
                return HttpRequest(path, content, count)
            return HttpRequest(path, content[: len(content) // 2], None)
        return HttpRequest(path, content, count)

    def batch(self) -> bytes:
        """A TrackBatchRequest as it is on the wire, or nearly."""
        request = TrackBatchRequest(events=[self._event() for _ in range(self._random.randrange(1, self._largest + 1))])
        if self._random.random() < 0.05:
            request.request_id = self._text()
        content = request.SerializeToString()
        spoil = self._random.random()
        if spoil < 0.1:
            return content[: self._random.randrange(len(content))]
        if spoil < 0.25:
            at = self._random.randrange(len(content))
            return content[:at] + self._random.randbytes(2) + content[at + 1 :]
        return content

    def _event(self) -> TrackedEvent:
        dice = self._random
        event = TrackedEvent(message_id=str(dice.getrandbits(64)), source_key="site", event_type="checkin")
        event.identifiers.add(namespace="anonymous_id", value="a-1")
        event.original_time.seconds = 1_777_636_800
        for name in dice.sample(sorted(_TEXTS), dice.randrange(4)):
            place = event.context if name in _OF_CONTEXT else event
            setattr(place, name, self._text())
        if dice.random() < 0.3:
            event.identifiers.add(namespace=self._text(), scope=self._text(), value=self._text())
        if dice.random() < 0.2:
            event.original_time.seconds = dice.choice([0, -1, 1, 2**62, -(2**62), 253_402_300_800])
            event.original_time.nanos = dice.choice([0, -1, 999_999_999, 2**31 - 1])
        if dice.random() < 0.1:
            event.sent_time.seconds = dice.choice([0, -(2**62), 2**62, 1_777_636_801])
        if dice.random() < 0.1:
            event.tz_offset_minutes = dice.choice([0, 1080, -1081, 2**31 - 1, -(2**31)])
        if dice.random() < 0.6:
            written = _written(self.value())
            event.properties_json = written[: dice.randrange(len(written))] if dice.random() < 0.2 else written
        return event

    def _text(self) -> str:
        return self._random.choice(WORDS)


def _written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


DEEP: Final = 50_000
HEAVY: Final[list[tuple[bytes, int]]] = [
    (b"[" * DEEP, 400),
    (b'{"batch":' + b"[" * DEEP + b"]" * DEEP + b"}", 400),
    (b'{"batch":[' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"]}", 400),
    (gzip.compress(b" " * (1 << 27), 1), 400),
    (gzip.compress(gzip.compress(b" " * (1 << 26))), 400),
    (b'{"batch":[' + b"[]," * 1_000_000 + b"1]}", 400),
    (b'{"batch":[' + b'{"messageId":' + b"9" * 1_000_000 + b"}]}", 200),
    (b'{"batch":[{"type":"track","event":"x","messageId":"d","properties":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}]}", 200),
    (b'{"batch":[{"type":"track","event":"x","messageId":"k","properties":{'
     + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}}]}", 200),
    (b'{"batch":[{"type":"track","event":"x","messageId":"w","properties":{"a":[' + b"[]," * 1_300_000 + b"1]}}]}", 200),
    (b'{"batch":[{"type":"track","event":"' + b"x" * 1_000_000 + b'"}]}', 200),
]  # fmt: skip
"""Bodies that would cost much if they were believed, and the status of their answers."""
