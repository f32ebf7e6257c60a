"""Whole sets that were read before, kept in memory: PostgreSQL says by a digest which of them are still the same.

A set is known by the SHA-256 of the digests of its chunks, so that what is kept is right in any transaction and after any restore.
Those asked for longest ago make room for others.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Iterable
from threading import Lock
from typing import Final, NamedTuple

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.read_models import sql

KEPT_BYTES: Final = 64 * 2**20

_CHANGED: Final = (
    "SELECT v.name, b.chunk, b.digest, b.members FROM (SELECT name, sha256(string_agg(int4send(chunk) || digest, ''::bytea"
    " ORDER BY chunk)) AS version FROM bitmaps WHERE tenant = %s AND name = ANY(%s) GROUP BY name) v"
    " LEFT JOIN unnest(%s::text[], %s::bytea[]) AS k(name, version) ON k.name = v.name"
    " LEFT JOIN bitmaps b ON b.tenant = %s AND b.name = v.name AND k.version IS DISTINCT FROM v.version ORDER BY v.name, b.chunk"
)

_Key = tuple[str, str]


class _Kept(NamedTuple):
    version: bytes
    members: BitMap
    size: int


class KeptBitmaps:
    """The sets of all tenants that were read last, up to so many bytes of them as they are stored."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._lock = Lock()

    def load(self, rows: sa.Connection, tenant: str, names: Collection[str]) -> dict[str, BitMap]:
        """The whole sets as they are in the transaction of `rows`, each the caller's own; an unknown name is an empty set."""
        before = self._known(tenant, names)
        asked = (list(before), [it.version for it in before.values()])
        found = {name: BitMap() for name in names}
        changed: dict[str, list[sql.Row]] = {}
        for name, *chunk in sql.fetch_binary(rows, _CHANGED, tenant, list(found), *asked, tenant):
            if chunk[0] is None:
                found[name] = BitMap(before[name].members)
            else:
                changed.setdefault(name, []).append(tuple(chunk))
        for name, chunks in changed.items():
            found[name] = self._keep((tenant, name), chunks)
        return found

    def _known(self, tenant: str, names: Iterable[str]) -> dict[str, _Kept]:
        with self._lock:
            known = {name: self._kept[tenant, name] for name in names if (tenant, name) in self._kept}
            for name in known:
                self._kept.move_to_end((tenant, name))
            return known

    def _keep(self, key: _Key, chunks: Iterable[sql.Row]) -> BitMap:
        version, members, size = hashlib.sha256(), BitMap(), 0
        for chunk, digest, stored in chunks:
            version.update(chunk.to_bytes(4, "big") + digest)
            members |= BitMap.deserialize(stored)
            size += len(stored)
        with self._lock:
            self._forget(key)
            self._kept[key] = _Kept(version.digest(), members, size)
            self._size += size
            while self._size > self._limit:
                self._forget(next(iter(self._kept)))
        return BitMap(members)

    def _forget(self, key: _Key) -> None:
        before = self._kept.pop(key, None)
        self._size -= before.size if before else 0
