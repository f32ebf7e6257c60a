"""Timers: what is due is done once, however many loops there are, and not before its time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from chassis import quick_look
from chassis import timers as timers_module
from chassis.aggregate import natural_id
from chassis.commands import Handlers, UnitOfWork, handler
from chassis.context import Context
from chassis.due_times import Timer, Together
from chassis.errors import Unavailable
from chassis.parked import redrive
from chassis.timers import TimerLoop
from tests.chassis.consuming import Credit, Desk, credit, opened
from tests.chassis.streams import NOON, running, settled, until
from tests.conftest import Migrated

TICK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Remind:
    account_id: UUID
    key: str
    again: bool


def remind(command: Remind, work: UnitOfWork) -> None:
    """Credits 1, and sets the same timer anew if it is to come again."""
    credit(Credit(command.account_id, 1), work)
    if command.again:
        work.schedule(Timer("again", command.key, work.now + TICK))


@dataclass(frozen=True, slots=True)
class RemindAll:
    keys: tuple[str, ...]
    sizes: list[int]


def remind_all(command: RemindAll, work: UnitOfWork) -> None:
    """Credits 1 to each; 0, which is refused, to a bad one."""
    command.sizes.append(len(command.keys))
    for key in command.keys:
        credit(Credit(natural_id(work.context.tenant, "account", key), 0 if key == "bad" else 1), work)


HANDLERS: Handlers = [handler(Credit, credit), handler(Remind, remind), handler(RemindAll, remind_all)]


def account_of(timer: Timer) -> UUID:
    return natural_id("acme", "account", timer.key)


COMMANDS = {
    "once": lambda timer: Remind(account_of(timer), timer.key, again=False),
    "again": lambda timer: Remind(account_of(timer), timer.key, again=True),
    "broken": lambda timer: 1 / 0,
}


@pytest.fixture
def desk(migrated: Migrated) -> Iterator[Desk]:
    with opened(migrated("timers", None), HANDLERS) as desk:
        yield desk


async def schedule(desk: Desk, *timers: Timer, tenant: str = "acme") -> None:
    def each(work: UnitOfWork) -> None:
        for it in timers:
            work.schedule(it)

    await desk.bus.effect(each, Context.system(tenant, "test"))


def timer_loop(desk: Desk, **options: Any) -> TimerLoop:
    return TimerLoop(desk.bus, COMMANDS, desk.engine, desk.clock, poll=0.005, **options)


def test_timers_fire_when_they_are_due_and_not_before(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        await schedule(desk, *(Timer("once", f"k{n}", NOON + n * TICK) for n in range(10)))
        async with running(one := timer_loop(desk)):
            await until(lambda: settled(one))
            assert one.fired == 1
            desk.clock.set(NOON + 4 * TICK)
            await until(lambda: settled(one))
        assert one.fired == 5
        assert desk.total() == 5
        assert desk.count("timers") == 5

    loop.run_until_complete(scenario())


def plan_of(desk: Desk, query: str) -> str:
    """How the server answers `query`, whatever the parameters, when it knows the table to be empty."""
    with psycopg.connect(desk.database.writer_dsn, options=quick_look._PLANNING) as rows:
        rows.execute(f"PREPARE asked AS {query}".encode())
        return "\n".join(it for [it] in rows.execute("EXPLAIN EXECUTE asked (now(), '{once,again,broken}')"))


def test_what_is_due_is_looked_up_by_when_it_is_due(desk: Desk) -> None:
    asked = timers_module._COUNT.replace("%(now)s", "$1::timestamptz").replace("%(kinds)s", "$2::text[]")
    plain = "SELECT count(*) FROM timers WHERE due_at <= $1::timestamptz AND kind = ANY($2::text[])"

    assert "Index Scan using timers_due_at" in plan_of(desk, asked)
    assert "timers_pkey" in plan_of(desk, plain)


def test_two_loops_fire_everything_once(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        await schedule(desk, *(Timer("once", f"k{n}", NOON) for n in range(1_000)))
        one, other = timer_loop(desk, batch_limit=50), timer_loop(desk, batch_limit=50)
        async with running(one, other):
            await until(lambda: settled(one, other))
        assert one.fired + other.fired == 1_000
        assert all(amounts == [1] for amounts in desk.all_credited().values())
        assert len(desk.all_credited()) == 1_000

    loop.run_until_complete(scenario())


def test_two_loops_without_a_claim_fire_twice(loop: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test above."""
    monkeypatch.setattr(timers_module, "_claim", lambda due, work: None)

    async def scenario() -> None:
        await schedule(desk, *(Timer("once", f"k{n}", NOON) for n in range(100)))
        one, other = timer_loop(desk), timer_loop(desk)
        seen = one._look(), other._look()
        await one._fire(seen[0])
        await other._fire(seen[1])
        assert desk.total() == 200

    loop.run_until_complete(scenario())


def test_of_a_batch_with_a_timer_that_was_moved_meanwhile_nothing_is_carried_out_for_nothing(
    loop: Any, desk: Desk
) -> None:
    sizes: list[int] = []
    commands = {"joint": Together(lambda timers: RemindAll(tuple(it.key for it in timers), sizes))}

    async def scenario() -> None:
        await schedule(desk, *(Timer("joint", f"k{n}", NOON) for n in range(3)))
        one = TimerLoop(desk.bus, commands, desk.engine, desk.clock, poll=0.005)
        due = one._look()
        await schedule(desk, Timer("joint", "k0", NOON + TICK))
        await one._fire(due)
        assert sizes == []
        await one._fire(one._look())
        assert sizes == [2]

    loop.run_until_complete(scenario())
    assert desk.total() == 2


def test_a_timer_may_set_itself_anew(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        await schedule(desk, Timer("again", "k", NOON))
        async with running(one := timer_loop(desk)):
            for n in range(5):
                desk.clock.set(NOON + n * TICK)
                await until(lambda n=n: one.fired == n + 1)  # type: ignore[misc]
                await until(lambda: settled(one))
        assert desk.credited("k") == [1] * 5
        assert desk.count("timers") == 1

    loop.run_until_complete(scenario())


def test_what_cannot_be_done_is_parked_alone_and_can_be_tried_again(loop: Any, desk: Desk) -> None:
    fixed: list[bool] = []

    async def scenario() -> None:
        await schedule(
            desk,
            *(Timer("once", f"k{n}", NOON) for n in range(20)),
            Timer("refused", "r", NOON, {"amount": 7}),
            Timer("broken", "b", NOON),
        )
        commands = COMMANDS | {"refused": lambda it: Credit(account_of(it), it.payload["amount"] if fixed else 0)}
        async with running(one := TimerLoop(desk.bus, commands, desk.engine, desk.clock)):
            await until(lambda: settled(one))
            assert one.fired == 20
            assert desk.count("parked") == 2
            assert desk.count("timers") == 0
            fixed.append(True)
            assert await redrive(desk.engine, "timers", "r") == 1
            await until(lambda: desk.total() == 27)
            await until(lambda: desk.count("parked") == 1)

    loop.run_until_complete(scenario())


def test_timers_that_are_done_together_are_one_command_and_a_bad_one_is_parked_alone(loop: Any, desk: Desk) -> None:
    sizes: list[int] = []

    async def scenario() -> None:
        await schedule(desk, *(Timer("joint", f"k{n}", NOON) for n in range(7)), Timer("once", "k0", NOON))
        await schedule(desk, Timer("joint", "elsewhere", NOON), tenant="globex")
        commands = COMMANDS | {"joint": Together(lambda timers: RemindAll(tuple(it.key for it in timers), sizes))}
        async with running(one := TimerLoop(desk.bus, commands, desk.engine, desk.clock)):
            await until(lambda: settled(one))
            assert (one.fired, one.batches, sorted(sizes)) == (9, 1, [1, 7])
            await schedule(desk, *(Timer("joint", it, NOON) for it in ("k1", "bad", "k2")))
            await until(lambda: desk.count("parked") == 1)
            await until(lambda: settled(one))
            assert one.fired == 11
            assert desk.count("timers") == 0

    loop.run_until_complete(scenario())


def test_a_passing_failure_leaves_the_timer_where_it_is(loop: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter(range(3))

    def command(timer: Timer) -> Remind:
        if next(failures, None) is not None:
            raise Unavailable
        return Remind(account_of(timer), timer.key, again=False)

    async def scenario() -> None:
        await schedule(desk, Timer("once", "k", NOON))
        async with running(one := TimerLoop(desk.bus, {"once": command}, desk.engine, desk.clock)):
            await until(lambda: settled(one))
        assert desk.credited("k") == [1]
        assert desk.count("parked") == 0

    loop.run_until_complete(scenario())
