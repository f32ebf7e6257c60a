"""Read models that follow one log side by side: every batch of it goes into all of them in one transaction.

A service may have twenty read models, and on a quiet day each entry is a batch of its own: twenty transactions for an
entry would be most of the work. So the read models that are at the same place go on together. One that fails takes
nothing with it: its batch is undone, the others go on without it, and it joins them again when it has caught up.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from chassis import builds
from chassis.builds import Build, Projection
from chassis.tail import Entry, Tail
from chassis.threads import in_thread


@dataclass(slots=True, eq=False)
class Follower:
    """A read model under way. `ended` is how it stopped following: what it failed with."""

    build: Build
    projection: Projection
    ended: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def position(self) -> int:
        return self.build.position


class Followers:
    """All read models of one log that this process leads. `applied` counts entries of read models."""

    def __init__(self, tail: Tail, engine: sa.Engine, batch_limit: int) -> None:
        self.tail = tail
        self.applied = 0
        self._engine = engine
        self._batch_limit = batch_limit
        self._together: list[Follower] = []
        self._somebody = asyncio.Event()

    @asynccontextmanager
    async def joined(self, build: Build, projection: Projection) -> AsyncIterator[Follower]:
        """Follow the log with `build` for as long as the body runs; first alone, until it is where the others are."""
        follower = Follower(build, projection)
        while entries := await self.tail.read(follower.position, self._batch_limit):
            await in_thread(self._advance, [follower], entries, entries[-1][0])
            if len(entries) < self._batch_limit:
                break
        self._together.append(follower)
        self._somebody.set()
        try:
            yield follower
        finally:
            self._leave(follower)

    async def run(self) -> None:
        """Let everybody who joined follow the log, until cancelled."""
        while True:
            await self._somebody.wait()
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001 (the log could not be read: each starts anew when it can)
                for it in list(self._together):
                    self._leave(it, error)

    async def _step(self) -> None:
        front = max(it.position for it in self._together)
        behind = [it for it in self._together if it.position < front]
        if behind:
            await self._bring_up(behind[0], front)
            return
        entries = await self.tail.read(front, self._batch_limit)
        chosen = [it for it in self._together if it.position == front]
        if entries and chosen:
            await self._advance_or_part(chosen, entries, entries[-1][0])

    async def _bring_up(self, follower: Follower, front: int) -> None:
        """A batch for one that joined a little behind the others."""
        entries = [it for it in await self.tail.read(follower.position, self._batch_limit) if it[0] <= front]
        position = entries[-1][0] if entries else front  # what was there may have been erased since
        await self._advance_or_part([follower], entries, position)

    async def _advance_or_part(self, chosen: Sequence[Follower], entries: Sequence[Entry], position: int) -> None:
        """A batch for all; where that fails, for each alone, and those for whom it fails then stop following."""
        try:
            await in_thread(self._advance, chosen, entries, position)
        except Exception as error:  # noqa: BLE001 (whatever it is, it concerns one of them or all)
            if len(chosen) == 1:
                self._leave(chosen[0], error)
                return
            for it in chosen:
                await self._advance_or_part([it], entries, position)

    def _advance(self, chosen: Sequence[Follower], entries: Sequence[Entry], position: int) -> None:
        """Apply a batch. A crash may undo the last of them, rows and position alike, so the commit need not wait for the disk."""
        items = [it for _, it in entries]
        with self._engine.begin() as rows:
            together = [(it.build, it.projection) for it in chosen]
            moved = builds.advance_all(rows, together, items, position, waits=False)
        for it, build in zip(chosen, moved, strict=True):
            it.build = build
        self.applied += len(entries) * len(chosen)

    def _leave(self, follower: Follower, error: Exception | None = None) -> None:
        if follower in self._together:
            self._together.remove(follower)
        if not self._together:
            self._somebody.clear()
        if error is not None and not follower.ended.done():
            follower.ended.set_exception(error)
