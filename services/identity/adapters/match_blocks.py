"""Blocks in PostgreSQL: the keys of customers, joined by their digests."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor, reading
from services.identity.application.matching import LARGEST_BLOCK, Block
from services.identity.domain.blocking import KEY_BYTES, BlockKey, KeyKind
from services.identity.domain.match_run import Skipped

_FORGET: Final = (
    "DELETE FROM match_keys k WHERE k.tenant = %s AND k.customer = ANY(%s) AND NOT EXISTS ("
    " SELECT FROM unnest(%b::uuid[], %b::bytea[]) AS v(customer, digest)"
    " WHERE (v.customer, v.digest) = (k.customer, k.digest))"
)
_KEEP: Final = (
    "INSERT INTO match_keys (tenant, customer, digest, kind)"
    " SELECT %s, v.customer, v.digest, v.kind FROM unnest(%b::uuid[], %b::bytea[], %b::text[]) AS v(customer, digest, kind)"
    " ON CONFLICT DO NOTHING"
)
_AROUND: Final = sa.text(
    "SELECT m.digest, b.kind, b.customers FROM ("
    " SELECT DISTINCT digest FROM match_keys WHERE tenant = :tenant AND customer = ANY(CAST(:customers AS uuid[]))) m"
    " CROSS JOIN LATERAL (SELECT min(x.kind) AS kind, array_agg(x.customer) AS customers FROM ("
    "  SELECT k.kind, k.customer FROM match_keys k WHERE k.tenant = :tenant AND k.digest = m.digest"
    "  ORDER BY k.customer LIMIT :beyond) x) b"
    " WHERE cardinality(b.customers) > 1"
)
_COUNT: Final = sa.text("SELECT count(*) FROM match_keys WHERE tenant = :tenant")
_PART: Final = sa.text(
    "SELECT digest, min(kind) AS kind, array_agg(customer) AS customers FROM match_keys"
    " WHERE tenant = :tenant AND digest >= :first AND digest < :beyond"
    " GROUP BY digest HAVING count(*) BETWEEN 2 AND :largest ORDER BY digest"
)
_OVERSIZED: Final = sa.text(
    "SELECT kind, count(*) AS blocks, max(size) AS largest FROM ("
    " SELECT min(kind) AS kind, count(*) AS size FROM match_keys WHERE tenant = :tenant GROUP BY digest"
    " HAVING count(*) > :largest) b GROUP BY kind ORDER BY kind"
)


class SqlBlocks:
    """`engine` is the writer's: nobody who answers callers reads keys."""

    def __init__(self, engine: sa.Engine, largest: int = LARGEST_BLOCK) -> None:
        self._engine = engine
        self._largest = largest

    async def keep(self, tenant: str, keys: Mapping[UUID, Collection[BlockKey]]) -> None:
        if keys:
            await asyncio.to_thread(self._keep, tenant, keys)

    async def around(self, tenant: str, customers: Collection[UUID]) -> tuple[Sequence[Block], Sequence[Skipped]]:
        """Of a block that is too large no more is read than shows that it is; `largest` is only what it has at least."""
        parameters = {"tenant": tenant, "customers": list(customers), "beyond": self._largest + 1}
        found = await asyncio.to_thread(self._blocks, _AROUND, parameters)
        small = [it for it in found if len(it.customers) <= self._largest]
        large = sorted(it.key.kind for it in found if len(it.customers) > self._largest)
        return small, [Skipped(kind, large.count(kind), self._largest + 1) for kind in dict.fromkeys(large)]

    async def count(self, tenant: str) -> int:
        return await asyncio.to_thread(self._count, tenant)

    async def part(self, tenant: str, number: int, of: int) -> Sequence[Block]:
        """Digests are evenly spread, so that a part is a range of them: no query reads more than its own part."""
        parameters = {
            "tenant": tenant,
            "first": _bound(number, of),
            "beyond": _bound(number + 1, of),
            "largest": self._largest,
        }
        return await asyncio.to_thread(self._blocks, _PART, parameters)

    async def oversized(self, tenant: str) -> Sequence[Skipped]:
        return await asyncio.to_thread(self._oversized, tenant)

    def _keep(self, tenant: str, keys: Mapping[UUID, Collection[BlockKey]]) -> None:
        kept = sorted((customer, it.digest, it.kind.value) for customer, found in keys.items() for it in found)
        customers, digests, kinds = columns(kept) if kept else ([], [], [])
        with self._engine.begin() as rows, driver_cursor(rows) as cursor:
            cursor.execute(_FORGET, [tenant, list(keys), customers, digests])
            if kept:
                cursor.execute(_KEEP, [tenant, customers, digests, kinds])

    def _blocks(self, query: sa.TextClause, parameters: Mapping[str, object]) -> list[Block]:
        with reading(self._engine) as rows:
            return [
                Block(BlockKey(KeyKind(it.kind), bytes(it.digest)), tuple(it.customers))
                for it in rows.execute(query, parameters)
            ]

    def _count(self, tenant: str) -> int:
        with reading(self._engine) as rows:
            return int(rows.scalar(_COUNT, {"tenant": tenant}) or 0)

    def _oversized(self, tenant: str) -> list[Skipped]:
        with reading(self._engine) as rows:
            found = rows.execute(_OVERSIZED, {"tenant": tenant, "largest": self._largest})
            return [Skipped(it.kind, it.blocks, it.largest) for it in found]


def _bound(number: int, of: int) -> bytes:
    """Where part `number` of the digests begins; the end of all where it is behind the last one."""
    return (number * 2**32 // of).to_bytes(4, "big") if number < of else b"\xff" * (KEY_BYTES + 1)
