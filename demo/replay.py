"""Replays a story to the services: moves their clock from day to day and reports each evening what the day brought.

A day is one step of the clock. Timers that fall due within it fire while the day is reported; what they do depends on the
instant at which they are due, not on the one at which they fire. The next day begins as soon as the services have taken in what
this one brought; that all is done which follows from it is waited for at the end of a week, or sooner where much is in work.
As in life, a service is some time behind the one it listens to. Where the very minute matters, as when a broadcast starts,
`move_to` waits before it and at it until all is done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

from chassis.broker import Broker, publish_clock
from demo.backend import Backend, Lanes
from demo.barrier import Barrier
from demo.board import Board
from demo.calendar import week
from demo.story import Day, Story
from demo.wire import batch_resolve, import_orders, track_batch

T = TypeVar("T")

_TOUCHES_AT_ONCE: Final = 500
_LOGINS_AT_ONCE: Final = 500
_ORDERS_AT_ONCE: Final = 500  # two facts each
_FACTS_IN_WORK: Final = 6_000


class FactRefused(RuntimeError):
    """A service refused something that happened."""


@dataclass(slots=True)
class Replay:
    """A story half told: `next_day` is the first day that the services have not heard of."""

    backend: Backend
    broker: Broker
    story: Story
    board: Board
    next_day: int = 0
    in_work: list[Day] = field(default_factory=list)
    lanes: Lanes = field(default_factory=Lanes)
    barrier: Barrier = field(init=False)

    def __post_init__(self) -> None:
        self.barrier = Barrier(self.backend.operations)

    async def play_until(self, at: datetime) -> None:
        """Report all days whose evening is before `at`, then move to `at`."""
        days = self.story.days
        while self.next_day < len(days) and days[self.next_day].reported_at < at:
            await self._play(days[self.next_day])
            self.next_day += 1
        await self.move_to(at)

    async def play_to_the_end(self) -> None:
        """Report all days that are left, and stay at the evening of the last one."""
        while self.next_day < len(self.story.days):
            await self._play(self.story.days[self.next_day])
            self.next_day += 1
        await self._finished()

    async def move_to(self, at: datetime) -> None:
        """Wait until all that was told is done, set the clock of all services to `at`, and wait for what is due by then."""
        await self._finished()
        await publish_clock(self.broker, at)
        await self.barrier.settled(at, after="clock")

    async def _play(self, day: Day) -> None:
        """Logins come first, because orders name customers by what the logins have told. Who was seen on the days before
        is known by then: a visitor who comes and later logs in was a stranger first."""
        self.board.show(day.day)
        if self._has_enough_in_work(day):
            await self._finished()
        await publish_clock(self.broker, day.reported_at)
        await self.barrier.reached(day.reported_at)
        if day.logins and self.in_work:
            await self.barrier.worked_off("tracking", "resolve")
        for part, logins in _parts(day.logins, _LOGINS_AT_ONCE):
            request = batch_resolve(logins, day.day, part)
            _require_resolved(request, await self.backend.identity.BatchResolve(request))
            self.board.advance("logins", len(logins))
        for _, touches in _parts(day.touches, _TOUCHES_AT_ONCE):
            await self.lanes.send(self.backend.tracking.TrackBatch, track_batch(touches), self._tracked)
        for part, orders in _parts(day.orders, _ORDERS_AT_ONCE):
            await self.lanes.send(
                self.backend.tracking.ImportOrders, import_orders(orders, day.day, part), self._imported
            )
        await self.lanes.emptied()
        self.in_work.append(day)

    def _has_enough_in_work(self, day: Day) -> bool:
        """Whether `day` has to wait until all is done of the days before."""
        last = self.in_work[-1].day if self.in_work else day.day
        return week(last) != week(day.day) or sum(it.facts for it in self.in_work) >= _FACTS_IN_WORK

    async def _finished(self) -> None:
        """Wait until the services have nothing of any day in work."""
        if self.in_work:
            await self.barrier.settled(self.in_work[-1].reported_at, after="days")
            self.in_work.clear()

    def _tracked(self, request: Any, _: Any) -> None:
        self.board.advance("touches", len(request.events))

    def _imported(self, request: Any, response: Any) -> None:
        for row, result in zip(request.rows, response.results, strict=True):
            if result.status.code:
                raise FactRefused(f"{result.status.message or result.status.code} for {row}")
        self.board.advance("orders", len(request.rows) // 2)


def _require_resolved(request: Any, response: Any) -> None:
    for item, result in zip(request.items, response.results, strict=True):
        if result.status.code:
            raise FactRefused(f"{result.status.message or result.status.code} for {item.assignment_key}")


def _parts(whole: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """`whole` in numbered parts of at most `size`."""
    for start in range(0, len(whole), size):
        yield start // size, whole[start : start + size]
