"""How far a process has come, told truthfully: nothing is called settled while anything is in flight."""

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

    def __init__(self, service: str, clock: Clock, head: Callable[[], int], loops: Sequence[Loop]) -> None:
        self._service = service
        self._clock = clock
        self._head = head
        self._loops = loops

    async def GetProgress(self, request: pb.GetProgressRequest, context: Any) -> pb.GetProgressResponse:
        clock_time = Timestamp()
        clock_time.FromDatetime(self._clock.now())
        found, settled = await settled_progress(self._collect)
        heads = [it.head for it in found if it.kind == "log" and it.name == self._service]
        head = heads[0] if heads else await asyncio.to_thread(self._head)
        response = pb.GetProgressResponse(
            service=self._service, clock_time=clock_time, log_head=head, settled=settled, chain=_digest(found)
        )
        for it in found:
            _add(it, response)
        return response

    async def _collect(self) -> list[Progress]:
        found: list[Progress] = []
        for progress in await asyncio.gather(*(loop.progress() for loop in self._loops)):
            found.extend(progress)
        return found


async def settled_progress(collect: Callable[[], Awaitable[list[Progress]]]) -> tuple[list[Progress], bool]:
    """What `collect` finds, and whether all of it was at rest at one and the same moment.

    One look is not enough: work may pass from a loop not yet looked at to one looked at before. Positions only grow,
    so when a second look finds every position as it was, nothing moved between the end of the first look and the
    start of the second, and what both found was true of that moment.
    """
    found = await collect()
    if any(it.backlog for it in found):
        return found, False
    again = await collect()
    return again, again == found


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
