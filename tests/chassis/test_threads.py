"""Work in another thread: its result, its error and its context come back, and a loop that closes waits for it."""

import asyncio
import threading
from contextvars import ContextVar

import pytest

from chassis.threads import in_thread

_WORD: ContextVar[str] = ContextVar("word", default="")


def test_the_result_comes_back_from_another_thread_in_the_context_of_the_caller() -> None:
    async def ask() -> tuple[str, int]:
        _WORD.set("said")
        return await in_thread(lambda: (_WORD.get(), threading.get_ident()))

    word, thread = asyncio.run(ask())
    assert word == "said"
    assert thread != threading.get_ident()


def test_an_error_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        asyncio.run(in_thread(fail))


def test_more_pieces_of_work_than_one_thread_go_on_side_by_side() -> None:
    meeting = threading.Barrier(8)

    async def ask() -> None:
        await asyncio.gather(*(in_thread(meeting.wait, 10) for _ in range(8)))

    asyncio.run(ask())


def test_who_is_cancelled_leaves_it_alone_and_the_loop_waits_for_its_end() -> None:
    begun, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(10)
        done.set()

    async def ask() -> None:
        asked = asyncio.ensure_future(in_thread(work))
        await in_thread(begun.wait, 10)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert not done.is_set()
        may_end.set()

    asyncio.run(ask())
    assert done.is_set()
