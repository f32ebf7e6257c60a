"""Lists in pages (AIP-158): by the key of the last row seen, never by counting rows.

A page token is opaque to callers and belongs to the arguments it was given for: with other arguments it is refused.
What is in it is checked like any input; it never widens what its bearer may see.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
from google.protobuf.message import Message

from chassis.errors import BadFormat, ValueOutOfRange

DIGEST_BYTES: Final = 12

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """What to read: at most `size` rows after the key `after` (None: from the start)."""

    size: int
    after: tuple[Any, ...] | None

    @property
    def limit(self) -> int:
        """Rows to ask the database for: one more than the page, to know whether another page follows."""
        return self.size + 1


class Keyset:
    """How one list is paged: the types of its sort key, unique per row, out of str, int, UUID and datetime."""

    def __init__(self, *key: type, default: int = 50, maximum: int = 1000) -> None:
        self._key = key
        self._default = default
        self._maximum = maximum

    def page(self, request: Any) -> Page:
        """The page that `request` asks for. Raises OutOfRange for page_size, BadFormat for page_token."""
        if request.page_size < 0:
            raise ValueOutOfRange("page_size must not be negative", field="page_size")
        size = min(request.page_size or self._default, self._maximum)
        return Page(size, self._after(request) if request.page_token else None)

    def cut(self, request: Any, rows: Sequence[Row], key: Callable[[Row], Sequence[Any]]) -> tuple[Sequence[Row], str]:
        """The rows of the page out of up to `Page.limit` rows read, and the token of the next page ("" for none)."""
        size = self.page(request).size
        if len(rows) <= size:
            return rows, ""
        return rows[:size], self.token(request, key(rows[size - 1]))

    def token(self, request: Any, key: Sequence[Any]) -> str:
        """The token for the page after the row with `key`."""
        values = orjson.dumps([it.isoformat() if isinstance(it, datetime) else it for it in key])
        return base64.urlsafe_b64encode(_digest(request) + values).rstrip(b"=").decode()

    def _after(self, request: Any) -> tuple[Any, ...]:
        try:
            token = request.page_token.encode("ascii")
            packed = base64.b64decode(token + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
            values = orjson.loads(packed[DIGEST_BYTES:])
            if packed[:DIGEST_BYTES] != _digest(request) or len(values) != len(self._key):
                raise ValueError
            return tuple(_parse(kind, value) for kind, value in zip(self._key, values, strict=True))
        except (ValueError, TypeError, binascii.Error):
            raise BadFormat("page_token is not one given for these arguments", field="page_token") from None


def _digest(request: Message) -> bytes:
    """Of everything that decides which rows the list has."""
    arguments = type(request)()
    arguments.CopyFrom(request)
    for name in ("page_size", "page_token"):
        arguments.ClearField(name)
    content = request.DESCRIPTOR.full_name.encode() + b"\0" + arguments.SerializeToString(deterministic=True)
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


def _parse(kind: type, value: Any) -> Any:
    if kind is int:
        if type(value) is not int or abs(value) >= 1 << 63:
            raise TypeError
        return value
    if type(value) is not str or "\0" in value:
        raise TypeError
    if kind is datetime:
        return datetime.fromisoformat(value)
    return UUID(value) if kind is UUID else value
