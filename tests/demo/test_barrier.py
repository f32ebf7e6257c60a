"""Waiting until all services have come to rest."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from demo.barrier import Barrier, MessagesParked, NeverSettled
from scrm.ops.v1 import operations_service_pb2 as ops

NOON = datetime(1997, 1, 1, 12, tzinfo=UTC)


class Service:
    """Answers what it is told to answer, the last answer for ever."""

    def __init__(self, *answers: ops.GetProgressResponse) -> None:
        self.answers = list(answers)
        self.rounds = 0

    async def GetProgress(self, _: ops.GetProgressRequest) -> ops.GetProgressResponse:
        self.rounds += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def GetClock(self, _: ops.GetClockRequest) -> ops.GetClockResponse:
        return ops.GetClockResponse(clock_time=(await self.GetProgress(ops.GetProgressRequest())).clock_time)


def progress(chain: int, *, settled: bool = True, at: datetime = NOON) -> ops.GetProgressResponse:
    time = Timestamp()
    time.FromDatetime(at)
    return ops.GetProgressResponse(service="a", clock_time=time, settled=settled, chain=chain)


def wait(services: Sequence[Service], patience_seconds: float = 10) -> None:
    operations = {str(number): it for number, it in enumerate(services)}
    asyncio.run(Barrier(operations).settled(NOON, patience_seconds))


def test_two_equal_rounds_at_rest_are_enough() -> None:
    service = Service(progress(7))
    wait([service])
    assert service.rounds == 2


def test_a_position_that_moved_between_two_rounds_asks_for_another_one() -> None:
    moving, resting = Service(progress(1), progress(2)), Service(progress(7))
    wait([moving, resting])
    assert moving.rounds == 3


def test_work_anywhere_is_waited_for() -> None:
    busy, resting = Service(progress(1), progress(1, settled=False), progress(2)), Service(progress(1), progress(3))
    wait([busy, resting])
    assert (busy.rounds, resting.rounds) == (4, 3)


def test_one_look_is_enough_where_nothing_has_happened_since_the_last_time() -> None:
    async def twice() -> int:
        barrier = Barrier({"a": service})
        await barrier.settled(NOON)
        rounds = service.rounds
        await barrier.settled(NOON)
        return service.rounds - rounds

    service = Service(progress(7))
    assert asyncio.run(twice()) == 1


def test_a_service_that_has_not_seen_the_clock_is_waited_for() -> None:
    service = Service(progress(1, at=NOON - timedelta(days=1)), progress(1))
    wait([service])
    assert service.rounds == 3


def test_what_never_comes_to_rest_is_named() -> None:
    busy = progress(1, settled=False)
    busy.consumers.add(consumer="facts", stream="tracking", lag=5)
    with pytest.raises(NeverSettled, match="facts has 5 messages of tracking"):
        wait([Service(busy)], patience_seconds=0.05)


def test_parked_messages_end_the_job() -> None:
    parked = progress(1)
    parked.consumers.add(consumer="facts", stream="tracking", parked=2)
    with pytest.raises(MessagesParked, match="a/facts: 2"):
        wait([Service(parked)])


def test_a_clock_that_was_heard_is_not_waited_for_while_there_is_work() -> None:
    service = Service(progress(1, settled=False))
    asyncio.run(Barrier({"a": service}).reached(NOON))
    assert service.rounds == 1


def test_those_who_have_not_heard_of_the_clock_are_asked_again_and_named_in_the_end() -> None:
    before = NOON - timedelta(hours=1)
    late, heard = Service(progress(1, at=before), progress(1)), Service(progress(1))
    asyncio.run(Barrier({"late": late, "heard": heard}).reached(NOON))
    assert (late.rounds, heard.rounds) == (2, 1)
    with pytest.raises(NeverSettled, match="its clock says 1997-01-01 11:00"):
        asyncio.run(Barrier({"a": Service(progress(1, at=before))}).reached(NOON, patience_seconds=0.05))


def test_a_loop_is_waited_for_until_it_has_done_what_it_had_before() -> None:
    answers = []
    for position, backlog in ((3, 4), (5, 5), (7, 9)):
        answers.append(progress(1))
        answers[-1].loops.add(loop="resolve", position=position, backlog=backlog)
    service = Service(*answers)
    asyncio.run(Barrier({"tracking": service}).worked_off("tracking", "resolve"))
    assert service.rounds == 3


def test_a_loop_that_does_not_come_on_is_named() -> None:
    answer = progress(1)
    answer.loops.add(loop="resolve", position=3, backlog=4)
    with pytest.raises(NeverSettled, match="resolve of tracking is at 3 of 7"):
        asyncio.run(Barrier({"tracking": Service(answer)}).worked_off("tracking", "resolve", patience_seconds=0.05))
