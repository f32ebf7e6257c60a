"""How lists travel to PostgreSQL: as wholes, where the library would look at each item by itself, three times.

Most parameters of a batch are columns (`unnest`), and most columns texts or ids.
"""

from datetime import datetime
from struct import Struct
from types import NoneType
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.abc import Buffer, DumperKey
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format
from psycopg.types.array import BaseListDumper, ListBinaryDumper, ListDumper

_TEXTS: Final = ({str}, {str, NoneType})
_IDS: Final = {UUID}
_NUMBERS: Final = {int}
_ONE_IS_NOT_LIKE_ANOTHER: Final = {int, list}
_ARRAY_OF_IDS: Final = 2951
_ID: Final = 2950
_HEAD: Final = Struct("!5i")
"""Dimensions, whether there are NULLs, the type of the items; how many they are, from what number on."""
_LENGTH_OF_ID: Final = (16).to_bytes(4, "big")


class ArrayDumper(ListDumper):
    """Ids, instants and bytes go in binary: in text, which is for all else, they take ten times as long."""

    def get_key(self, obj: list[Any], format: PyFormat) -> DumperKey:  # noqa: A002 - as in the library
        return _way_of(obj) or super().get_key(_like(obj), format)

    def upgrade(self, obj: list[Any], format: PyFormat) -> Dumper | BaseListDumper:  # type: ignore[override]  # noqa: A002
        if way := _way_of(obj):
            return way(list)
        like = _like(obj)
        if isinstance(next((it for it in like if it is not None), None), (UUID, datetime, bytes)):
            return ListBinaryDumper(self.cls, self._tx).upgrade(like, format)
        return super().upgrade(like, format)


class BinaryArrayDumper(ListBinaryDumper):
    """What a statement asks for in binary, by `%b`."""

    def get_key(self, obj: list[Any], format: PyFormat) -> DumperKey:  # noqa: A002
        return _way_of(obj) or super().get_key(obj, format)

    def upgrade(self, obj: list[Any], format: PyFormat) -> Dumper | BaseListDumper:  # type: ignore[override]  # noqa: A002
        way = _way_of(obj)
        return way(list) if way else super().upgrade(obj, format)


class _Texts(Dumper):
    """Of no type: the statement says, as it does for a single text."""

    def dump(self, obj: list[str | None]) -> Buffer:
        text = _quoted(obj)
        if "\0" in text:
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return f"{{{text}}}".encode()


class _Ids(Dumper):
    format = Format.BINARY
    oid = _ARRAY_OF_IDS

    def dump(self, obj: list[UUID]) -> Buffer:
        return _HEAD.pack(1, 0, _ID, len(obj), 1) + _LENGTH_OF_ID.join([b"", *[it.bytes for it in obj]])


class _Numbers(Dumper):
    def dump(self, obj: list[int]) -> Buffer:
        return f"{{{','.join(map(str, obj))}}}".encode()


class _Shorts(_Numbers):
    oid = 1005


class _Integers(_Numbers):
    oid = 1007


class _Longs(_Numbers):
    oid = 1016


def _way_of(items: list[Any]) -> type[Dumper] | None:
    """How a list of texts, ids or numbers is sent; None for all others."""
    kinds = set(map(type, items))
    if kinds in _TEXTS:
        return _Texts
    if kinds == _IDS:
        return _Ids
    if kinds != _NUMBERS:
        return None
    greatest, least = max(items), min(items)
    bits = max(greatest, -least - 1).bit_length()
    return next((way for most, way in ((15, _Shorts), (31, _Integers), (63, _Longs)) if bits <= most), None)


def _quoted(items: list[str | None]) -> str:
    """The items of an array of texts in quotes, and NULL for None, separated by commas."""
    if None not in items:
        joined = '","'.join(items)  # type: ignore[arg-type]
        if joined.count('"') == 2 * len(items) - 2 and "\\" not in joined:
            return f'"{joined}"'
    return ",".join("NULL" if it is None else f'"{_escaped(it)}"' for it in items)


def _escaped(item: str) -> str:
    return item.replace("\\", "\\\\").replace('"', '\\"')


def _like(items: list[Any]) -> list[Any]:
    """As few of `items` as tell how all of them are to be sent."""
    kinds = set(map(type, items)) - {NoneType}
    if len(kinds) == 1 and kinds.isdisjoint(_ONE_IS_NOT_LIKE_ANOTHER):
        return [next(it for it in items if it is not None)]
    return items
