"""Shares of a consumer among processes of which nobody says how many there are: each reads its own shard, and those of who is missing.

There are as many shards as there may be processes, each with its number. Who is there shows by a lock that it holds for life. The
shard of a process that is missing is read by the one whose number is the same without its top bit (5 by 1, 6 by 2, 1 by 0), so that one,
two, four, eight processes share evenly; by the next one down if that is missing too, and in the end by number 0. That two read
one shard for a moment does no harm: each reading has a lock and positions of its own (chassis.consumer).
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from chassis.leadership import leading, lock_key, persevere
from chassis.loops import CHECK_SECONDS, Loop, Progress
from chassis.positions import Shard
from chassis.threads import in_thread

_STANDING: Final = (
    "SELECT n FROM unnest(CAST(:numbers AS int[]), CAST(:keys AS bigint[])) AS asked(n, key) JOIN pg_locks ON locktype = 'advisory'"
    " AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND ((classid::bigint << 32) | objid::bigint) = key AND objsubid = 1"
)


def stand_in(number: int) -> int:
    """Who reads the shard of process `number` while that is missing: the same number without its top bit."""
    return number & ~(1 << (number.bit_length() - 1))


def reader_of(number: int, present: frozenset[int]) -> int:
    """Who of those `present` reads shard `number`; 0 if there is nobody nearer."""
    while number and number not in present:
        number = stand_in(number)
    return number


class Shares:
    """The `Loop` of one consumer in the process number `me.index` of at most `me.count`; `make` makes that of one shard."""

    def __init__(self, name: str, engine: sa.Engine, me: Shard, make: Callable[[Shard], Loop]) -> None:
        self.name = name
        self._engine = engine
        self._me = me
        # What we read where nobody else is there is all that we ever read.
        self._loops = {
            number: make(Shard(number, me.count))
            for number in range(me.count)
            if reader_of(number, frozenset([me.index])) == me.index
        }
        self._reading: dict[int, asyncio.Task[None]] = {}

    @property
    def reading(self) -> Sequence[int]:
        """The numbers of the shards that are read here now."""
        return sorted(self._reading)

    async def run(self) -> None:
        """Read whatever is ours, until cancelled."""
        await persevere(self.name, self._take_part)

    async def progress(self) -> list[Progress]:
        """What is read here, all shards of a stream taken together."""
        loops = [self._loops[it] for it in self._reading or (self._me.index,)]
        found: dict[tuple[str, str], Progress] = {}
        for one in await asyncio.gather(*(it.progress() for it in loops)):
            for it in one:
                key = it.name, it.stream
                found[key] = _together(found[key], it) if key in found else it
        return list(found.values())

    async def _take_part(self) -> None:
        async with leading(self._engine, self._presence(self._me.index)) as leadership:
            try:
                while True:
                    present = await in_thread(self._present)
                    wanted = {it for it in self._loops if reader_of(it, present) == self._me.index}
                    for number in wanted - self._reading.keys():
                        self._reading[number] = asyncio.create_task(self._loops[number].run())
                    await self._leave(self._reading.keys() - wanted)
                    await asyncio.sleep(CHECK_SECONDS)
                    await leadership.check()
            finally:
                await asyncio.shield(self._leave(list(self._reading)))

    async def _leave(self, numbers: Collection[int]) -> None:
        leaving = [self._reading.pop(it) for it in list(numbers)]
        for it in leaving:
            it.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)

    def _present(self) -> frozenset[int]:
        numbers = range(self._me.count)
        asked = {"numbers": list(numbers), "keys": [lock_key(self._presence(it)) for it in numbers]}
        with self._engine.connect() as rows:
            return frozenset(rows.scalars(sa.text(_STANDING), asked))

    def _presence(self, number: int) -> str:
        return f"share/{self.name}/{number}"


def _together(one: Progress, other: Progress) -> Progress:
    return replace(
        one,
        position=one.position + other.position,
        backlog=one.backlog + other.backlog,
        head=max(one.head, other.head),
        parked=one.parked + other.parked,
    )
