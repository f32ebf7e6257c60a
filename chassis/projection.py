"""Projectors: keep the live build of every read model at the end of its log, and build new ones beside it.

`Projector(projections, engine, store)` is a `Loop` for all projections of a service. A projection whose version in code is higher than
that of the live build is built anew from the log, and takes over in one transaction when it has caught up. `await
projector.rebuild(name)` does the same on request, in whatever process it is called. One agent per projection and version works at a time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa
import structlog

from chassis import builds
from chassis.builds import Build, BuildMoved, Projection, Source
from chassis.following import Followers
from chassis.leadership import Leadership, leading, persevere
from chassis.log import EventStore
from chassis.loops import CHECK_SECONDS, Progress
from chassis.pulse import Pulse
from chassis.quick_look import QuickLook, Rows
from chassis.tail import Entry, EventSource, InboxSource, Log, Tail

__all__ = ["AlreadyRebuilding", "Projection", "Projector", "Source"]

log = structlog.get_logger()

_LIVE: Final = "SELECT name, version, position FROM projections WHERE live"


class AlreadyRebuilding(Exception):
    """Another process is building the same read model."""


class Projector:
    """Keeps the read models of a service, made of its events, its inbox, or the logs `sources` by their names.

    Read models of one log go on together, a transaction for each batch (`following.py`). `applied` counts entries of read models.
    """

    def __init__(
        self,
        projections: Sequence[Projection],
        engine: sa.Engine,
        store: EventStore,
        *,
        poll: float = 0.05,
        pulse: Pulse | None = None,
        batch_limit: int = 1000,
        drop_after_seconds: float = 60,
        sources: Mapping[str, Log] | None = None,
    ) -> None:
        self.name = "project"
        self._applied = 0
        self._projections = {it.name: it for it in projections}
        self._engine = engine
        self._sources: Mapping[str, Log] = {
            "events": EventSource(store),
            "inbox": InboxSource(engine),
            **(sources or {}),
        }
        self._followers = {
            name: Followers(Tail(source, poll=poll, pulse=pulse), engine, batch_limit)
            for name, source in self._sources.items()
        }
        self._batch_limit = batch_limit
        self._drop_after_seconds = drop_after_seconds

    async def run(self) -> None:
        """Follow the logs, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for followers in self._followers.values():
                tasks.create_task(followers.run())
            tasks.create_task(persevere("project/drop_retired", self._drop_retired))
            for it in self._projections.values():
                tasks.create_task(persevere(f"project/{it.name}", lambda it=it: self._serve(it)))  # type: ignore[misc]

    @property
    def applied(self) -> int:
        return self._applied + sum(it.applied for it in self._followers.values())

    async def progress(self) -> list[Progress]:
        """One entry per projection: where its live build is, and how far the log has got since."""
        # Asked before the heads: rather too much is told to be left than too little.
        live = QuickLook.of(self._engine).ask(_LIVE)
        heads = {name: it.head_now() for name, it in self._sources.items()}
        return self._behind(await live, {name: await it for name, it in heads.items()})

    async def rebuild(self, name: str) -> Build:
        """Build the read model anew beside the live one and let it take over; AlreadyRebuilding if that is going on."""
        projection = self._projections[name]
        held = await asyncio.to_thread(Leadership.attempt, self._engine, f"rebuild/{name}")
        if held is None:
            raise AlreadyRebuilding(name)
        try:
            return await asyncio.to_thread(self._build_anew, projection)
        finally:
            await asyncio.shield(asyncio.to_thread(held.release))

    def canonical_hash(self, name: str) -> str:
        """The hash of all rows of the live build: equal wherever the same log was projected."""
        return builds.canonical_hash(self._engine, self._projections[name])

    async def _serve(self, projection: Projection) -> None:
        """Follow the log with the live build; build a new one first where the code is of a later version."""
        async with leading(self._engine, f"project/{projection.name}/{projection.version}") as leadership:
            followers = self._followers[projection.source]
            followers.tail.clear()  # the log may have been restored to before what we know
            build = await asyncio.to_thread(self._ensure_live, projection)
            if build.version < projection.version:
                await self.rebuild(projection.name)
                return
            if build.version > projection.version:  # newer code has taken over; this one waits to be stopped
                await asyncio.sleep(CHECK_SECONDS)
                return
            try:
                await self._follow(build, projection, followers, leadership)
            except BuildMoved:
                log.info("projection.replaced", projection=build.name, build=build.build)

    async def _follow(self, build: Build, projection: Projection, followers: Followers, leadership: Leadership) -> None:
        async with followers.joined(build, projection) as follower:
            while not follower.ended.done():
                await asyncio.wait([follower.ended], timeout=CHECK_SECONDS)
                await leadership.check()
            follower.ended.result()

    async def _drop_retired(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.to_thread(builds.drop_retired, self._engine, self._drop_after_seconds)

    def _ensure_live(self, projection: Projection) -> Build:
        with self._engine.begin() as rows:
            return builds.live_build(rows, projection.name) or builds.create(rows, projection, live=True)

    def _advance(self, build: Build, projection: Projection, entries: Sequence[Entry]) -> Build:
        """Apply a batch to a build that nobody reads yet."""
        with self._engine.begin() as rows:
            items = [it for _, it in entries]
            [moved] = builds.advance_all(rows, [(build, projection)], items, entries[-1][0], waits=False)
        self._applied += len(entries)
        return moved

    def _build_anew(self, projection: Projection) -> Build:
        source = self._sources[projection.source]
        with self._engine.begin() as rows:
            builds.drop_unfinished(rows, projection.name)
            build = builds.create(rows, projection, live=False)
        while entries := source.read(build.position, self._batch_limit):
            build = self._advance(build, projection, entries)
            if len(entries) < self._batch_limit:
                break
        self._take_over(build, projection)
        log.info("projection.rebuilt", projection=build.name, version=build.version, position=build.position)
        return build

    def _take_over(self, build: Build, projection: Projection) -> None:
        """Catch up with the live build, which stands still meanwhile, and serve in its place."""
        source = self._sources[projection.source]
        with self._engine.begin() as rows:
            live = builds.live_build(rows, projection.name, lock=True)
            while live and build.position < live.position:
                entries = source.read(build.position, self._batch_limit)
                reached = entries[-1][0] if entries else live.position  # the last entries may have been erased since
                build = builds.advance(rows, build, projection, [it for _, it in entries], reached)
            builds.promote(rows, build)

    def _behind(self, rows: Rows, heads: Mapping[str, int]) -> list[Progress]:
        found: list[Progress] = []
        live = {name: (version, position) for name, version, position in rows}
        for name, projection in self._projections.items():
            head, (version, position) = heads[projection.source], live.get(name, (0, 0))
            behind = max(0, head - position)
            if name not in live or version < projection.version:
                behind = max(1, behind)
            found.append(Progress("projection", name, position, behind, head, version=version))
        return found
