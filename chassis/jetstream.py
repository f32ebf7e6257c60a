"""The vocabulary of JetStream: what we ask of a stream, what it answers, and how headers lie on the wire."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

BATCH_LIMIT: Final = 1000
"""The most messages nats-server takes in one atomic batch."""


class BrokerUnavailable(Exception):
    """No answer: nobody listens, the connection is down or it took too long. Whether it had an effect is unknown."""


class BrokerRefusal(Exception):
    """JetStream answered with an error."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class UnsyncedBroker(Exception):
    """The server acknowledges messages before they are on disk."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What we ask of a stream. The dedup window is short on purpose: it is no guarantee, and may not stop a rebuild."""

    name: str
    subjects: Sequence[str]
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = -1
    per_subject: int = -1

    def config(self, replicas: int) -> dict[str, Any]:
        return {
            "name": self.name,
            "subjects": list(self.subjects),
            "metadata": dict(self.metadata),
            "storage": "file",
            "retention": "limits",
            "discard": "new" if self.max_bytes > 0 else "old",
            "max_bytes": self.max_bytes,
            "max_msgs_per_subject": self.per_subject,
            "num_replicas": replicas,
            "duplicate_window": 200_000_000,
            "allow_atomic": True,
            "allow_direct": True,
        }


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """The state of a stream; `created` tells a stream from another one of the same name."""

    name: str
    created: str
    subjects: tuple[str, ...]
    metadata: Mapping[str, str]
    messages: int
    first_sequence: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it lies in a stream."""

    sequence: int
    subject: str
    headers: Mapping[str, str]
    payload: bytes


class HeaderLines(Mapping[str, str]):
    """The headers of a message as they came, taken apart when one is asked for by its name."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def _found(self) -> dict[str, str]:
        return parse_header_lines(self.raw)

    def __getitem__(self, name: str) -> str:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Delivery(NamedTuple):
    """A message as a subscription gets it; `reply` names its place in stream and consumer."""

    subject: str
    reply: str
    headers: Mapping[str, str]
    data: bytes


class Parcel(NamedTuple):
    """A message to publish; `headers` are lines that each end in CRLF."""

    subject: str
    headers: str
    payload: bytes


def stream_info(answer: Mapping[str, Any]) -> StreamInfo:
    config, state = answer["config"], answer["state"]
    own = {name: value for name, value in config.get("metadata", {}).items() if not name.startswith("_nats.")}
    return StreamInfo(
        name=config["name"],
        created=answer["created"],
        subjects=tuple(config.get("subjects", ())),
        metadata=own,
        messages=state["messages"],
        first_sequence=state["first_seq"],
        last_sequence=state["last_seq"],
    )


def parse_headers(raw: bytes) -> dict[str, str]:
    """The headers after the line that says NATS/1.0."""
    return parse_header_lines(raw.partition(b"\r\n")[2])


def parse_header_lines(raw: bytes) -> dict[str, str]:
    lines = [it for it in raw.decode("utf-8", "replace").split("\r\n") if it]
    try:
        return dict([it.split(": ", 1) for it in lines])
    except ValueError:  # the space is customary, not required
        return {name: value.strip() for name, _, value in [it.partition(":") for it in lines] if name}
