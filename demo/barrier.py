"""Waiting until all services have come to rest, so that what is asked or sent next finds everything done."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from scrm.ops.v1 import operations_service_pb2 as ops

_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.1
_LONGEST_FIRST_PAUSE_SECONDS: Final = 0.5
_PAUSE_OF_CLOCKS_SECONDS: Final = 0.003
_SOONER: Final = 0.9


class NeverSettled(RuntimeError):
    """The services did not come to rest in time; says what they were still doing."""


class MessagesParked(RuntimeError):
    """A service put messages aside that it cannot handle; says where."""


class Barrier:
    """Watches the processes behind `operations` (stubs by name).

    A look costs each service some milliseconds, which it needs itself while it is busy: the first one waits for about as long
    as the services needed the last time after the same kind of thing.
    """

    def __init__(self, operations: Mapping[str, Any]) -> None:
        self._operations = operations
        self._at_rest: Mapping[str, int] = {}
        self._needed: dict[str, float] = {}

    async def settled(self, at: datetime, patience_seconds: float = 300, *, after: str = "") -> None:
        """Return when every service has seen the clock at `at` and nothing is left to do anywhere; `after` is the kind of
        thing that has just happened.

        Two looks in a row have to find everything at rest and every position as it was: what was on its way between two
        services during the first one has moved a position by the second. The last look of the time before counts, so
        that one is enough where nothing has happened since.
        """
        began = rested = time.monotonic()
        usual = self._needed.get(after, _FIRST_PAUSE_SECONDS)
        was_early = False
        await asyncio.sleep(usual)
        while True:
            found, pause = await self._look(self._operations), _FIRST_PAUSE_SECONDS
            while busy := {name: it for name, it in found.items() if not _is_at_rest(it, at)}:
                if time.monotonic() > began + patience_seconds:
                    raise NeverSettled(f"no rest after {patience_seconds:g} s:\n" + "\n".join(_unfinished(busy, at)))
                was_early = True
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
                found |= await self._look(busy)
            chains = {name: it.chain for name, it in found.items()}
            if chains == self._at_rest:
                needed = rested - began if was_early else usual * _SOONER
                self._needed[after] = min(needed, _LONGEST_FIRST_PAUSE_SECONDS)
                return
            self._at_rest, rested = chains, time.monotonic()

    async def reached(self, at: datetime, patience_seconds: float = 300) -> None:
        """Return when the clock of every service is at `at`, whatever is still in work."""
        began, behind = time.monotonic(), list(self._operations)
        while True:
            clocks = await asyncio.gather(*(self._operations[it].GetClock(ops.GetClockRequest()) for it in behind))
            late = {name: it for name, it in zip(behind, clocks, strict=True) if not _has_seen(it, at)}
            if not late:
                return
            if time.monotonic() > began + patience_seconds:
                said = "\n".join(f"{name}: its clock says {it.clock_time.ToDatetime()}" for name, it in late.items())
                raise NeverSettled(f"the clock is not heard after {patience_seconds:g} s:\n{said}")
            behind = list(late)
            await asyncio.sleep(_PAUSE_OF_CLOCKS_SECONDS)

    async def worked_off(self, service: str, loop: str, patience_seconds: float = 300) -> None:
        """Return when `loop` of `service` has done all that had been taken in for it before the call."""
        began, goal = time.monotonic(), None
        while True:
            found = (await self._look([service]))[service]
            its = next(it for it in found.loops if it.loop == loop)
            goal = its.position + its.backlog if goal is None else goal
            if its.position >= goal:
                return
            if time.monotonic() > began + patience_seconds:
                raise NeverSettled(f"{loop} of {service} is at {its.position} of {goal} after {patience_seconds:g} s")
            await asyncio.sleep(_FIRST_PAUSE_SECONDS)

    async def _look(self, at_these: Iterable[str]) -> dict[str, Any]:
        names = list(at_these)
        answers = await asyncio.gather(*(self._operations[it].GetProgress(ops.GetProgressRequest()) for it in names))
        _refuse_parked(answers)
        return dict(zip(names, answers, strict=True))


def _is_at_rest(progress: Any, at: datetime) -> bool:
    return bool(progress.settled and _has_seen(progress, at))


def _has_seen(its: Any, at: datetime) -> bool:
    return bool(its.clock_time.seconds >= int(at.timestamp()))


def _refuse_parked(answers: Sequence[Any]) -> None:
    parked = [f"{it.service}/{one.consumer}: {one.parked}" for it in answers for one in it.consumers if one.parked]
    if parked:
        raise MessagesParked("messages are parked: " + ", ".join(parked))


def _unfinished(busy: Mapping[str, Any], at: datetime) -> Iterator[str]:
    for it in busy.values():
        if it.clock_time.seconds < int(at.timestamp()):
            yield f"{it.service}: its clock says {it.clock_time.ToDatetime()}"
        for what in _in_work(it):
            yield f"{it.service}: {what}"


def _in_work(progress: Any) -> Iterator[str]:
    for it in progress.logs:
        if it.published_position < it.head:
            yield f"log {it.log} is published to {it.published_position} of {it.head}"
    yield from (f"{it.consumer} has {it.lag} messages of {it.stream} to go" for it in progress.consumers if it.lag)
    yield from (f"read model {it.projection} has {it.lag} entries to go" for it in progress.projections if it.lag)
    yield from (f"loop {it.loop} has {it.backlog} pieces of work" for it in progress.loops if it.backlog)
