"""Waiting until all services have come to rest, so that what is asked or sent next finds everything done."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from scrm.ops.v1 import operations_service_pb2 as ops

_POLL_SECONDS: Final = 0.02


class NeverSettled(RuntimeError):
    """The services did not come to rest in time; says what they were still doing."""


class MessagesParked(RuntimeError):
    """A service put messages aside that it cannot handle; says where."""


async def settled(operations: Mapping[str, Any], at: datetime, patience_seconds: float = 300) -> None:
    """Return when every service has seen the clock at `at` and nothing is left to do anywhere.

    Two rounds in a row have to find everything at rest and every position as it was: what was on its way between two
    services during the first round has moved a position by the second.
    """
    deadline = time.monotonic() + patience_seconds
    seen: list[int] | None = None
    while True:
        round_ = await asyncio.gather(*(it.GetProgress(ops.GetProgressRequest()) for it in operations.values()))
        _refuse_parked(round_)
        if all(it.settled and it.clock_time.seconds >= int(at.timestamp()) for it in round_):
            chain = [it.chain for it in round_]
            if chain == seen:
                return
            seen = chain
            continue
        seen = None
        if time.monotonic() > deadline:
            raise NeverSettled(f"no rest after {patience_seconds:g} s:\n" + "\n".join(_unfinished(round_, at)))
        await asyncio.sleep(_POLL_SECONDS)


def _refuse_parked(round_: Sequence[Any]) -> None:
    parked = [f"{it.service}/{one.consumer}: {one.parked}" for it in round_ for one in it.consumers if one.parked]
    if parked:
        raise MessagesParked("messages are parked: " + ", ".join(parked))


def _unfinished(round_: Sequence[Any], at: datetime) -> Iterator[str]:
    for it in round_:
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
