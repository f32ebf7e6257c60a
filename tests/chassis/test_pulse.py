"""How loops are woken, and the quick looks they take."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from time import perf_counter
from typing import Any

import psycopg
import pytest

from chassis.postgres import create_engine
from chassis.pulse import News, Pulse
from chassis.quick_look import QuickLook
from deploy.local.postgres import Database

LONG = 20.0


def waited(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> float:
    start = perf_counter()
    loop.run_until_complete(work())  # type: ignore[arg-type]
    return perf_counter() - start


def test_a_beat_from_another_thread_ends_the_wait_of_everybody(loop: asyncio.AbstractEventLoop) -> None:
    pulse = Pulse()
    listeners = [pulse.listener() for _ in range(3)]

    async def work() -> None:
        waiting = [asyncio.ensure_future(it.wait(LONG)) for it in listeners]
        await asyncio.sleep(0)
        Thread(target=pulse.beat).start()
        await asyncio.gather(*waiting)

    assert waited(loop, work) < LONG / 2


def test_a_beat_between_two_waits_is_not_lost(loop: asyncio.AbstractEventLoop) -> None:
    pulse = Pulse()
    listener = pulse.listener()

    async def work() -> None:
        pulse.beat()
        await listener.wait(LONG)
        pulse.beat()
        pulse.beat()
        await listener.wait(LONG)

    assert waited(loop, work) < LONG / 2


def test_a_beat_is_only_heard_by_those_it_is_news_for(loop: asyncio.AbstractEventLoop) -> None:
    pulse = Pulse()
    of_events, of_all = pulse.listener(News.EVENTS), pulse.listener()

    async def work() -> None:
        waiting = asyncio.ensure_future(of_events.wait(LONG))
        await asyncio.sleep(0)
        pulse.beat(News.ROWS | News.TIMERS)
        await of_all.wait(LONG)
        assert not waiting.done()
        pulse.beat(News.ROWS | News.EVENTS)
        await waiting

    assert waited(loop, work) < LONG / 2


def test_without_a_beat_a_wait_ends_by_itself(loop: asyncio.AbstractEventLoop) -> None:
    listener = Pulse().listener()
    assert 0.04 < waited(loop, lambda: listener.wait(0.05)) < LONG / 2


def test_one_beat_ends_one_wait(loop: asyncio.AbstractEventLoop) -> None:
    pulse = Pulse()
    listener = pulse.listener()

    async def work() -> None:
        pulse.beat()
        await listener.wait(LONG)
        await listener.wait(0.05)

    assert waited(loop, work) > 0.01


def test_all_who_wait_for_the_same_time_wake_at_the_same_moments() -> None:
    pulse = Pulse()
    assert pulse._moment(100.0, 0.5) == 100.5
    assert pulse._moment(100.2, 0.5) == pytest.approx(100.5), "whoever comes later waits for less"
    assert pulse._moment(100.499, 0.5) == pytest.approx(101.0), "but not for next to nothing"
    assert pulse._moment(100.2, 0) == 100.2


def test_what_those_ask_who_wake_at_the_same_moment_travels_together(
    look: QuickLook, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[int] = []
    originally = look._put

    def counting(questions: Sequence[Any]) -> Any:
        put.append(len(questions))
        return originally(questions)

    monkeypatch.setattr(look, "_put", counting)
    pulse = Pulse()

    async def ask(number: int) -> object:
        listener = pulse.listener()
        await asyncio.sleep(0.001 * number)
        await listener.wait(0.2)
        return await look.ask_scalar("SELECT %(n)s::int", {"n": number})

    async def work() -> list[object]:
        return [*await asyncio.gather(*(ask(it) for it in range(5)))]

    assert loop.run_until_complete(work()) == [0, 1, 2, 3, 4]
    assert put == [1]


def test_a_beat_after_the_loop_is_gone_does_no_harm(loop: asyncio.AbstractEventLoop) -> None:
    pulse = Pulse()
    loop.run_until_complete(pulse.listener().wait(0))
    pulse._loop = asyncio.new_event_loop()
    pulse._loop.close()
    pulse._waiting[loop.create_future()] = News.ANY
    pulse.beat()


@pytest.fixture
def look(database: Callable[[str], Database]) -> Iterator[QuickLook]:
    engine = create_engine(database("look").writer_dsn, pool_size=1)
    found = QuickLook(engine)
    yield found
    found.close()
    engine.dispose()


def test_a_look_is_not_part_of_any_transaction(look: QuickLook) -> None:
    first = look.scalar("SELECT pg_current_xact_id()::text")
    assert look.scalar("SELECT pg_current_xact_id()::text") != first
    assert look.rows("SELECT %(a)s::int, 2", {"a": 1}) == [(1, 2)]
    assert look.scalar("SELECT 1 WHERE false") is None


def test_a_look_survives_the_loss_of_its_connection(look: QuickLook) -> None:
    before = look.scalar("SELECT pg_backend_pid()")
    with psycopg.connect(look._dsn) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [before])
    assert look.scalar("SELECT pg_backend_pid()") != before


def test_a_look_at_a_server_that_is_away_says_so() -> None:
    look = QuickLook(create_engine("postgresql://nobody@127.0.0.1:1/nothing", pool_size=1))
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            look.scalar("SELECT 1")


def test_what_is_asked_in_one_turn_travels_together_and_the_same_once(
    look: QuickLook, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[int] = []
    originally = look._put

    def counting(questions: Sequence[Any]) -> Any:
        put.append(len(questions))
        return originally(questions)

    monkeypatch.setattr(look, "_put", counting)

    async def work() -> list[object]:
        same = look.ask_scalar("SELECT 1"), look.ask_scalar("SELECT 1")
        other = look.ask("SELECT %(a)s::int", {"a": 2})
        first = [await it for it in (*same, other)]
        return [*first, await look.ask_scalar("SELECT 3"), await look.ask_scalar("SELECT 4 WHERE false")]

    assert loop.run_until_complete(work()) == [1, 1, [(2,)], 3, None]
    assert put == [2, 1, 1]


def test_questions_of_one_answer_become_one_query_and_each_keeps_its_own_parameters(
    look: QuickLook, loop: asyncio.AbstractEventLoop
) -> None:
    async def work() -> list[object]:
        return [
            *await asyncio.gather(
                look.ask_scalar("SELECT %(n)s::int + 1", {"n": 1}),
                look.ask("SELECT n FROM generate_series(1, 2) AS n"),
                look.ask_scalar("SELECT %(n)s::int + 1", {"n": 2}),
                look.ask_scalar("SELECT 'abc' LIKE 'a%'"),
                look.ask_scalar("SELECT 1 WHERE false"),
                look.ask_scalar("WITH one AS (SELECT %(n)s::text[] AS n) SELECT n FROM one", {"n": ["%", "%(n)s"]}),
            )
        ]

    assert loop.run_until_complete(work()) == [2, [(1,), (2,)], 3, True, None, ["%", "%(n)s"]]


def test_everybody_who_asked_learns_that_a_question_failed(look: QuickLook, loop: asyncio.AbstractEventLoop) -> None:
    async def work() -> list[object]:
        asked = look.ask("SELECT 1"), look.ask("SELECT 1 / 0")
        return [*await asyncio.gather(*asked, return_exceptions=True)]

    assert all(isinstance(it, psycopg.errors.DivisionByZero) for it in loop.run_until_complete(work()))
    assert loop.run_until_complete(_asked(look)) == 1


async def _asked(look: QuickLook) -> object:
    return await look.ask_scalar("SELECT 1")
