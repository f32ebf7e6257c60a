"""How many pairs of customers a run over everybody compares in a second: joined in PostgreSQL, read, weighed.

The customers are invented and known to this process. What comes before, in service, is that their traits are opened with their keys,
which is measured by itself.
"""

import asyncio
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final
from uuid import UUID

import services.identity
from bench.figures import Figure
from chassis.event_store import PostgresEventStore
from chassis.migrations import migrate_now
from deploy.local.stack import LocalStack
from services.identity.adapters.match_blocks import SqlBlocks
from services.identity.application.matching import Matching
from services.identity.domain.blocking import BlockKeys
from services.identity.domain.match_model import DEFAULT
from services.identity.domain.sealing import DataKey, Place
from services.identity.domain.traits import Known

CUSTOMERS: Final = 20_000
HOUSEHOLDS: Final = 400
TENANT: Final = "bench"
TRAITS_OPENED: Final = 100_000
_MIGRATIONS: Final = Path(services.identity.__path__[0]) / "migrations"
_SURNAMES: Final = "李王张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN: Final = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰"


def measure(stack: LocalStack) -> list[Figure]:
    database = stack.postgres.create_database("bench_matching")
    migrate_now(database.owner_dsn, _MIGRATIONS)
    store = PostgresEventStore(database.writer_dsn)
    try:
        matching = Matching(_People(CUSTOMERS), SqlBlocks(store.engine), BlockKeys(os.urandom(32)))
        keyed, compared = asyncio.run(_run(matching))
    finally:
        store.close()
    return [
        Figure(
            "match_pairs_per_s",
            compared,
            "pairs/s",
            f"a run over {CUSTOMERS:,} customers: blocks joined by keys, pairs compared and weighed",
        ),
        Figure("match_keys_per_s", keyed, "customers/s", "making and storing the keys by which blocks are found"),
        Figure("match_opened_per_s", _opened(), "values/s", "opening sealed traits, as comes before in service"),
    ]


async def _run(matching: Matching) -> tuple[float, float]:
    """Customers keyed a second, and pairs compared."""
    started = perf_counter()
    await matching.refresh_all(TENANT)
    keyed = perf_counter()
    pairs = 0
    async for found in matching.compare_all(TENANT, DEFAULT):
        pairs += found.pairs
    return CUSTOMERS / (keyed - started), pairs / (perf_counter() - keyed)


def _opened() -> float:
    key, place = DataKey(os.urandom(32)), Place(TENANT, UUID(int=1), "attribute/name")
    sealed = key.seal("李伟", place)
    started = perf_counter()
    for _ in range(TRAITS_OPENED):
        key.open(sealed, place)
    return TRAITS_OPENED / (perf_counter() - started)


class _People:
    """Invented customers, fifty to an address; each name is had by several, and some birthdates by chance too."""

    def __init__(self, count: int) -> None:
        random = Random(3)  # noqa: S311
        self._known = {it.customer: it for it in (_person(random) for _ in range(count))}
        self._ids = sorted(self._known)

    async def known(self, tenant: str, nodes: Collection[UUID]) -> Sequence[Known]:
        return [self._known[it] for it in nodes]

    async def telling(self, tenant: str, nodes: Collection[UUID]) -> Collection[UUID]:
        return nodes

    async def customers(self, tenant: str, after: UUID | None, limit: int) -> Sequence[UUID]:
        start = 0 if after is None else self._ids.index(after) + 1
        return self._ids[start : start + limit]


def _person(random: Random) -> Known:
    name = random.choice(_SURNAMES) + "".join(random.choices(_GIVEN, k=random.randint(1, 2)))
    born = f"{random.randint(1950, 2005)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"
    return Known(
        UUID(int=random.getrandbits(128)),
        name=name,
        birthdate=born,
        gender=random.choice(["FEMALE", "MALE"]),
        address=f"{random.randrange(HOUSEHOLDS)} Nanjing Road",
        district="Huangpu",
    )
