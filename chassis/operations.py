"""How far a process has come, as one look at all its loops finds it.

One look at one process says little about the moment after it: a message may be on its way to it. Positions only grow, so when two
rounds over all processes find everything settled and every position as it was, nothing moved in between, and what both
found was true of that moment.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.clock import Clock
from chassis.loops import Loop, Progress
from scrm.ops.v1 import operations_service_pb2 as pb


class OperationsServicer:
    """Answers `scrm.ops.v1.OperationsService` for the loops of this process."""

    def __init__(self, service: str, clock: Clock, head: Callable[[], Awaitable[int]], loops: Sequence[Loop]) -> None:
        self._service = service
        self._clock = clock
        self._head = head
        self._loops = loops

    async def GetClock(self, request: pb.GetClockRequest, context: Any) -> pb.GetClockResponse:
        return pb.GetClockResponse(clock_time=self._now())

    async def GetProgress(self, request: pb.GetProgressRequest, context: Any) -> pb.GetProgressResponse:
        clock_time = self._now()
        # Loops come after the logs they write to: looked at before them, nothing passes from one to the other unseen.
        looks = await asyncio.gather(*(it.progress() for it in reversed(self._loops)))
        found = [it for one in looks for it in one]
        heads = [it.head for it in found if it.kind == "log" and it.name == self._service]
        head = heads[0] if heads else await self._head()
        response = pb.GetProgressResponse(
            service=self._service,
            clock_time=clock_time,
            log_head=head,
            settled=not any(it.backlog for it in found),
            chain=_digest(found),
        )
        for it in found:
            _add(it, response)
        return response

    def _now(self) -> Timestamp:
        now = Timestamp()
        now.FromDatetime(self._clock.now())
        return now


def _digest(found: Sequence[Progress]) -> int:
    """A digest of all positions, equal only where nothing has moved."""
    positions = sorted((it.kind, it.name, it.stream, it.position, it.head, it.backlog, it.parked) for it in found)
    content = repr(positions).encode()
    return zlib.crc32(content) << 32 | zlib.adler32(content)


def _add(found: Progress, response: pb.GetProgressResponse) -> None:
    match found.kind:
        case "log":
            response.logs.add(log=found.name, head=found.head, published_position=found.position)
        case "consumer":
            response.consumers.add(
                consumer=found.name,
                stream=found.stream,
                last_sequence=found.head,
                lag=found.backlog,
                parked=found.parked,
            )
        case "projection":
            response.projections.add(
                projection=found.name, version=found.version, position=found.position, lag=found.backlog
            )
        case "timers":
            response.due_timers += found.backlog
            response.loops.add(loop=found.name, position=found.position, backlog=found.backlog)
        case _:
            response.loops.add(loop=found.name, position=found.position, backlog=found.backlog)
