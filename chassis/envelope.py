"""The envelope of a published event: CloudEvents attributes as NATS headers, protobuf inside.

A public log hands out `Outgoing`; a consumer is given `Incoming`. The address of a message, its `ce-id`, is
`<stream>/<epoch>/<position>`, with `.<part>` behind it for the second and later messages of one position.
"""

import builtins
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote
from uuid import UUID

from google.protobuf.message import DecodeError, Message

from chassis.context import Call, Context
from chassis.jetstream import HeaderLines, Parcel

PARTITIONS: Final = 64
"""Into how many ordered lanes a stream is divided; part of every subject, so never to be changed."""

_NO_SCOPES: Final[frozenset[str]] = frozenset()

M = TypeVar("M", bound=Message)

_SEALED: Final = re.compile(
    r"\r\nce-type: ([^\r]*)\r\nce-datacontenttype: [^\r]*\r\nce-id: (([^/\r]+)/(\d+)/(\d+)(?:\.(\d+))?)\r\nce-subject: ([^\r]*)"
    r"\r\nce-time: ([^\r]*)\r\nce-tenant: ([^\r]*)\r\n(?:traceparent: ([^\r]*)\r\n)?(?:ce-correlationid: ([^\r]*)\r\n)?"
)
"""The headers of a message as `seal` puts them in order, of which a reader needs these."""

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class UnreadableMessage(Exception):
    """A message that cannot be what its envelope says; retrying does not help."""


class Offset(NamedTuple):
    """A place in a public log: a position and, where it has several messages, which of them."""

    position: int
    part: int = 0


class Address(NamedTuple):
    """Where a message comes from. An epoch ends when PostgreSQL is restored to before what was already published."""

    stream: str
    epoch: int
    offset: Offset

    def __str__(self) -> str:
        position, part = self.offset
        return f"{self.stream}/{self.epoch}/{position}.{part}" if part else f"{self.stream}/{self.epoch}/{position}"

    @classmethod
    def of(cls, text: str) -> "Address":
        """The inverse of `str`; UnreadableMessage if it is not one."""
        stream, _, rest = text.partition("/")
        epoch, _, offset = rest.partition("/")
        position, _, part = offset.partition(".")
        try:
            return cls(stream, int(epoch), Offset(int(position), int(part or 0)))
        except ValueError:
            raise UnreadableMessage(f"not an address: {text[:80]!r}") from None


class Outgoing(NamedTuple):
    """One message of a public log. `name` is the event in snake_case, `type` the full name of its protobuf message."""

    position: int
    tenant: str
    name: str
    partition_key: UUID | str
    payload: bytes
    time: datetime
    type: str
    traceparent: str | None = None
    correlation: str | None = None
    causation: str | None = None


class Incoming(NamedTuple):
    """One message as a consumer gets it; `id` is its address, `context` acts for its tenant in the name of the consumer."""

    stream: str
    sequence: int
    position: int
    part: int
    epoch: int
    tenant: str
    type: str
    key: str
    partition: int
    id: str
    time: datetime
    context: Context
    payload: bytes

    @property
    def offset(self) -> Offset:
        return Offset(self.position, self.part)

    def parse(self, kind: builtins.type[M]) -> M:
        """The payload; UnreadableMessage if it is of another type or damaged."""
        if kind.DESCRIPTOR.full_name != self.type:
            raise UnreadableMessage(f"{self.id} is a {self.type}, not a {kind.DESCRIPTOR.full_name}")
        try:
            return kind.FromString(self.payload)
        except DecodeError as error:
            raise UnreadableMessage(f"{self.id} is damaged: {error}") from error


@lru_cache(maxsize=4096)
def event_name(message_name: str) -> str:
    """`CustomersMerged` → `customers_merged`."""
    return _WORD.sub("_", message_name).lower()


def partition_of(key: UUID | str) -> int:
    """The lane of everything that has this key."""
    return zlib.crc32(str(key).encode()) % PARTITIONS


def subject_pattern(kind: str, name: str) -> str:
    """The subjects of one type of message, for all tenants and partitions."""
    return f"scrm.*.{_form(kind, name)[0]}.*"


def subjects_of(service: str, events: Iterable[str], partition: int | str = "*") -> list[str]:
    """The subjects of these events, for all tenants; "*" stands for any service, event or partition."""
    return [f"scrm.*.{service}.v1.{event}.{partition}" for event in events]


def seal(outgoing: Outgoing, address: Address | str) -> Parcel:
    """The message ready to be published."""
    subject, fixed = _form(outgoing.type, outgoing.name)
    key, tenant = str(outgoing.partition_key), outgoing.tenant
    more = ""
    if outgoing.traceparent:
        more += f"traceparent: {_line(outgoing.traceparent)}\r\n"
    if outgoing.correlation:
        more += f"ce-correlationid: {_line(outgoing.correlation)}\r\n"
    if outgoing.causation:
        more += f"ce-causationid: {_line(outgoing.causation)}\r\n"
    headers = (
        f"Nats-Msg-Id: {address}\r\n{fixed}ce-id: {address}\r\nce-subject: {_line(key)}\r\n"
        f"ce-time: {outgoing.time.isoformat()}\r\nce-tenant: {_line(tenant)}\r\n{more}"
    )
    return Parcel(
        f"scrm.{tenant_token(tenant)}.{subject}.{zlib.crc32(key.encode()) % PARTITIONS}", headers, outgoing.payload
    )


def unseal(consumer: str, sequence: int, subject: str, headers: Mapping[str, str], payload: bytes) -> Incoming:
    """A message of a stream as `consumer` gets it; UnreadableMessage if its headers are not ours."""
    try:
        address, sealed = _in_order(headers) if isinstance(headers, HeaderLines) else _by_name(headers)
        time = datetime.fromisoformat(sealed.time)
        partition = int(subject.rpartition(".")[2])
    except (KeyError, ValueError) as error:
        raise UnreadableMessage(f"sequence {sequence} of {subject[:80]} has no readable envelope: {error}") from error
    id, tenant = sealed.id, sealed.tenant
    call = Call(f"consume/{consumer}", id, sha256(payload).digest())
    context = Context(
        tenant, f"system/consume/{consumer}", _NO_SCOPES, call, sealed.traceparent, sealed.correlation or id, id
    )
    stream, epoch, (position, part) = address
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return Incoming(
        stream, sequence, position, part, epoch, tenant, sealed.kind, sealed.key, partition, id, time, context, payload
    )  # fmt: skip


def addressed(message: Incoming, consumer: str) -> Incoming:
    """A message that another consumer has unsealed, as `consumer` gets it."""
    context, name = message.context, f"consume/{consumer}"
    call = context.call and context.call._replace(rpc=name)
    return message._replace(context=context._replace(actor=f"system/{name}", call=call))


class _Sealed(NamedTuple):
    """What of the headers of a message concerns its reader."""

    id: str
    kind: str
    key: str
    time: str
    tenant: str
    traceparent: str | None
    correlation: str | None


def _in_order(headers: HeaderLines) -> tuple[Address, _Sealed]:
    """All at once, where they lie as `seal` has put them."""
    found = _SEALED.search(headers.raw.decode("utf-8", "replace"))
    if found is None:
        return _by_name(headers)
    kind, id, stream, epoch, position, part, key, time, tenant, traceparent, correlation = found.groups()
    address = Address(stream, int(epoch), Offset(int(position), int(part or 0)))
    return address, _Sealed(id, kind, key, time, tenant, traceparent, correlation)


def _by_name(headers: Mapping[str, str]) -> tuple[Address, _Sealed]:
    id, tenant, key, kind = headers["ce-id"], headers["ce-tenant"], headers["ce-subject"], headers["ce-type"]
    traceparent, correlation = headers.get("traceparent"), headers.get("ce-correlationid")
    return Address.of(id), _Sealed(id, kind, key, headers["ce-time"], tenant, traceparent, correlation)


@lru_cache(maxsize=1024)
def _form(kind: str, name: str) -> tuple[str, str]:
    """The middle of the subject and the headers that all messages of one type share."""
    service = kind.split(".")[1]
    fixed = (
        f"ce-specversion: 1.0\r\nce-source: /scrm/{service}\r\nce-type: {kind}\r\n"
        "ce-datacontenttype: application/protobuf\r\n"
    )
    return f"{service}.v1.{name}", fixed


def tenant_token(tenant: str) -> str:
    """The tenant as one token of a subject."""
    return tenant if tenant.isalnum() else _token(tenant)


@lru_cache(maxsize=1024)
def _token(tenant: str) -> str:
    return quote(tenant, safe="").replace(".", "%2E").replace("*", "%2A").replace("~", "%7E") or "%"


def _line(value: str) -> str:
    """A header value that cannot break out of its line."""
    return value if value.isprintable() else "".join(it if it.isprintable() else " " for it in value)
