"""Chunks of sets that were read before, kept in memory: PostgreSQL says by their digests which of them are still the same.

So what is kept is right in any transaction and after any restore. Those asked for longest ago make room for others.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from hashlib import sha256
from threading import Lock
from typing import Final, NamedTuple

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.postgres import columns
from services.tagging.read_models import sql

KEPT_BYTES: Final = 64 * 2**20

_DIGESTS_OF_SETS: Final = "SELECT name, chunk, digest FROM bitmaps WHERE tenant = %s AND name = ANY(%s)"
_DIGESTS: Final = (
    "SELECT b.name, b.chunk, b.digest FROM unnest(%s::text[], %s::int[]) AS k(name, chunk)"
    " JOIN bitmaps b ON b.tenant = %s AND b.name = k.name AND b.chunk = k.chunk"
)
_MEMBERS: Final = (
    "SELECT b.name, b.chunk, b.digest, b.members FROM unnest(%s::text[], %s::int[]) AS k(name, chunk)"
    " JOIN bitmaps b ON b.tenant = %s AND b.name = k.name AND b.chunk = k.chunk"
)

Place = tuple[str, int]
"""A set by its name, and the number of a chunk."""


class _Kept(NamedTuple):
    digest: bytes
    members: BitMap
    size: int


class KeptChunks:
    """The chunks of all tenants that were read last, up to so many bytes of them as they are stored. May be used from any thread."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[tuple[str, str, int], _Kept] = OrderedDict()
        self._turn = Lock()

    def of_sets(self, rows: sa.Connection, tenant: str, names: Collection[str]) -> dict[Place, BitMap]:
        """All chunks there are of these sets, as they are in the transaction of `rows`; not to be changed."""
        return self._read(rows, tenant, sql.fetch_binary(rows, _DIGESTS_OF_SETS, tenant, list(names)))

    def these(self, rows: sa.Connection, tenant: str, places: Collection[Place]) -> dict[Place, BitMap]:
        """Those of `places` that there are; not to be changed."""
        return self._read(rows, tenant, sql.fetch_binary(rows, _DIGESTS, *columns(places), tenant)) if places else {}

    def note(self, tenant: str, place: Place, members: BitMap, packed: bytes) -> None:
        """A chunk as it is being written, which nobody has to read for its writer; should that be undone, its digest is another."""
        self._keep((tenant, *place), _Kept(sha256(packed).digest(), members, len(packed)))

    def _read(self, rows: sa.Connection, tenant: str, stated: Iterable[sql.Row]) -> dict[Place, BitMap]:
        found: dict[Place, BitMap] = {}
        others: list[Place] = []
        with self._turn:
            for name, chunk, digest in stated:
                key = tenant, name, chunk
                kept = self._kept.get(key)
                if kept is not None and kept.digest == digest:
                    self._kept.move_to_end(key)
                    found[name, chunk] = kept.members
                else:
                    others.append((name, chunk))
        if others:
            for name, chunk, digest, members in sql.fetch_binary(rows, _MEMBERS, *columns(others), tenant):
                found[name, chunk] = BitMap.deserialize(members)
                self._keep((tenant, name, chunk), _Kept(digest, found[name, chunk], len(members)))
        return found

    def _keep(self, key: tuple[str, str, int], it: _Kept) -> None:
        with self._turn:
            before = self._kept.pop(key, None)
            self._kept[key] = it
            self._size += it.size - (before.size if before else 0)
            while self._size > self._limit:
                _, gone = self._kept.popitem(last=False)
                self._size -= gone.size
