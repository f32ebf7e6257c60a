"""One at a time: locks of all who lead in a process are held by one session, and are lost with it."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from chassis import leadership
from chassis.leadership import Leadership, LeadershipLost
from tests.chassis.consuming import Desk, opened
from tests.conftest import Migrated

SESSIONS = sa.text(
    "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
CUT = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
def desk(migrated: Migrated) -> Iterator[Desk]:
    with opened(migrated("leadership", None)) as desk:
        yield desk


@pytest.fixture
def other(desk: Desk) -> Iterator[sa.Engine]:
    """Another process."""
    engine = sa.create_engine(desk.engine.url)
    yield engine
    engine.dispose()


def taken(engine: sa.Engine, name: str) -> Leadership:
    held = Leadership.attempt(engine, name)
    assert held is not None
    return held


def test_nobody_else_leads_in_this_process_or_in_another(desk: Desk, other: sa.Engine) -> None:
    held = taken(desk.engine, "one")
    assert Leadership.attempt(desk.engine, "one") is None
    assert Leadership.attempt(other, "one") is None
    elsewhere = taken(other, "two")
    assert Leadership.attempt(desk.engine, "two") is None

    held.release()

    assert Leadership.attempt(desk.engine, "two") is None
    taken(other, "one").release()
    elsewhere.release()


def test_all_locks_of_a_process_take_one_session_which_ends_with_the_last(desk: Desk) -> None:
    held = [taken(desk.engine, f"part/{n}") for n in range(20)]
    with desk.engine.connect() as rows:
        assert rows.scalar(SESSIONS) == 1
    for it in held:
        it.release()
    with desk.engine.connect() as rows:
        assert rows.scalar(SESSIONS) == 0
    again = taken(desk.engine, "part/1")
    again.release()


def test_when_the_session_is_lost_everybody_loses_and_may_try_again(
    loop: Any, desk: Desk, other: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "_SEEN_SECONDS", 0.0)
    one, two = taken(desk.engine, "one"), taken(desk.engine, "two")
    loop.run_until_complete(asyncio.wait_for(one.check(), 5))
    with other.connect() as rows:
        rows.execute(CUT)
    rival = taken(other, "one")
    for lost in (one, two, one):
        with pytest.raises(LeadershipLost):
            loop.run_until_complete(lost.check())
    for lost in (one, two):
        lost.release()
    assert Leadership.attempt(desk.engine, "one") is None, "what was lost is not given back by its release"
    second = taken(desk.engine, "two")
    loop.run_until_complete(second.check())
    rival.release()
    second.release()


def pauses_of(seconds: list[float]) -> list[float]:
    """After how long each failure is tried again, where the tries take so many seconds."""

    async def fail() -> None:
        if not left:
            raise asyncio.CancelledError
        clock[0] += left.pop(0)
        raise ValueError

    left, clock = list(seconds), [0.0]
    with capture_logs() as logged, contextlib.suppress(asyncio.CancelledError):
        asyncio.run(leadership.persevere("loop", fail, now=lambda: clock[0]))
    return [it["retry_in"] for it in logged]


def test_what_fails_at_once_is_tried_less_and_less_often() -> None:
    assert pauses_of([0, 0.1, 0]) == [0.05, 0.1, 0.2]


def test_what_had_worked_before_it_failed_is_tried_again_at_once() -> None:
    assert pauses_of([0, 0, 1.5, 0]) == [0.05, 0.1, 0.05, 0.1]
