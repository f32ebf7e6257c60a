"""The trail (TR-3): opens, dwell and sessions, whatever order the facts arrive in."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from hypothesis import given
from hypothesis import strategies as st

from services.tracking.domain.trail import Behaviour, Trail

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NODE = UUID(int=1)


def did(
    event_type: str,
    at: datetime = NOON,
    page_view: str = "",
    *,
    content: str = "",
    app: str = "h5",
    message: str = "",
    **properties: Any,
) -> Behaviour:
    return Behaviour(
        message_id=message or f"{event_type}/{page_view}/{at.isoformat()}/{properties}",
        source_key="h5",
        event_type=event_type,
        category="I",
        node=NODE,
        occurred_at=at,
        received_at=at,
        channel="h5",
        app=app,
        page="",
        content_id=content,
        page_view_id=page_view,
        properties=orjson.dumps(properties).decode(),
    )


def viewed(page_view: str, at: datetime, content: str = "H5-1") -> Behaviour:
    return did("content_viewed", at, page_view, content=content, message=f"{page_view}/{content}/{at.isoformat()}")


def engaged(page_view: str, buckets: Any, at: datetime = NOON, **properties: Any) -> Behaviour:
    return did("content_engaged", at, page_view, active_buckets=buckets, **properties)


def rows_of(behaviours: Sequence[Behaviour]) -> list[tuple[str, int, int, int]]:
    return [(it.behaviour.message_id, it.nth_open, it.dwell_seconds, it.session) for it in Trail(behaviours).entries()]


def test_ac19_an_article_opened_four_times_for_31_buckets_each() -> None:
    visits = [
        it
        for n in range(4)
        for it in (
            viewed(f"pv{n}", NOON + timedelta(days=n)),
            engaged(f"pv{n}", 31, NOON + timedelta(days=n, minutes=5)),
        )
    ]
    trail = Trail(visits)

    found = trail.engagement()["H5-1"]
    assert (found.opens, found.dwell_seconds) == (4, 1220)
    assert [it.nth_open for it in trail.entries() if it.behaviour.event_type == "content_viewed"] == [1, 2, 3, 4]
    assert sum(it.dwell_seconds for it in trail.entries()) == 1220


def test_ac20_buckets_reported_twice_are_counted_once() -> None:
    trail = Trail([viewed("pv", NOON), engaged("pv", [1, 2, 3]), engaged("pv", [3, 4])])
    assert trail.engagement()["H5-1"].dwell_seconds == 35


def test_ac20_control_buckets_of_two_page_views_are_added() -> None:
    trail = Trail([viewed("a", NOON), engaged("a", [1, 2, 3]), engaged("b", [3, 4]), viewed("b", NOON)])
    assert trail.engagement()["H5-1"].dwell_seconds == 25 + 15


def test_a_number_of_buckets_means_that_many_from_the_start() -> None:
    assert Trail([engaged("pv", 3), engaged("pv", 5), engaged("pv", [2, 7])]).engagement()[""].dwell_seconds == 55


def test_nobody_dwells_longer_than_the_page_was_open() -> None:
    within = Trail([engaged("pv", 31, wall_ms=120_500)])
    beyond = Trail([engaged("pv", 31, wall_ms=400_000)])
    left = Trail([engaged("pv", 31), did("content_left", NOON, "pv", duration_ms=60_000)])
    assert within.engagement()[""].dwell_seconds == 120
    assert beyond.engagement()[""].dwell_seconds == 305
    assert left.engagement()[""].dwell_seconds == 60


def test_no_buckets_are_no_dwell() -> None:
    assert Trail([viewed("pv", NOON), engaged("pv", 0), engaged("pv", [])]).engagement()["H5-1"].dwell_seconds == 0


def test_a_reload_within_ten_seconds_is_the_same_open() -> None:
    times = (0, 10, 21, 25)
    trail = Trail([viewed(f"pv{n}", NOON + timedelta(seconds=seconds)) for n, seconds in enumerate(times)])
    assert [it.nth_open for it in trail.entries()] == [1, 1, 2, 2]
    assert trail.engagement()["H5-1"].opens == 2


def test_a_page_view_reported_twice_is_one_open() -> None:
    trail = Trail([viewed("pv", NOON), viewed("pv", NOON + timedelta(hours=1))])
    assert trail.engagement()["H5-1"].opens == 1


def test_opens_of_another_content_are_counted_by_themselves() -> None:
    trail = Trail([viewed("a", NOON, "H5-1"), viewed("b", NOON + timedelta(seconds=1), "H5-2")])
    assert {name: it.opens for name, it in trail.engagement().items()} == {"H5-1": 1, "H5-2": 1}


def test_ac21_a_session_ends_after_more_than_thirty_minutes_and_not_at_midnight() -> None:
    start = datetime(2026, 5, 1, 23, 50, tzinfo=UTC)
    trail = Trail([did("checkin", start + timedelta(minutes=it)) for it in (0, 20, 51)])
    assert [it.session for it in trail.entries()] == [1, 1, 2]


def test_sessions_of_two_apps_have_nothing_to_do_with_each_other() -> None:
    trail = Trail([did("checkin", NOON + timedelta(minutes=20 * n), app="h5" if n % 2 else "oa") for n in range(4)])
    assert [it.session for it in trail.entries()] == [1, 1, 2, 2]


def test_sessions_and_activity_are_read_out_of_the_trail() -> None:
    start = datetime(2026, 5, 1, 23, 50, tzinfo=UTC)
    trail = Trail([did("checkin", start + timedelta(minutes=it)) for it in (51, 0, 20)])
    assert [(it.family, it.number, it.start, it.end, it.events) for it in trail.sessions()] == [
        ("h5", 1, start, start + timedelta(minutes=20), 2),
        ("h5", 2, start + timedelta(minutes=51), start + timedelta(minutes=51), 1),
    ]
    found = trail.activity(ZoneInfo("UTC"))
    assert ({hour: count for hour, count in enumerate(found.hours) if count}, found.active_days) == ({23: 1, 0: 2}, 2)
    assert trail.activity(ZoneInfo("Asia/Shanghai")).active_days == 1
    assert found.last_at == start + timedelta(minutes=51)


def test_a_late_event_joins_two_sessions() -> None:
    times = [NOON, NOON + timedelta(minutes=50)]
    assert [it.events for it in Trail([did("checkin", it) for it in times]).sessions()] == [1, 1]
    times.append(NOON + timedelta(minutes=25))
    assert [it.events for it in Trail([did("checkin", it) for it in times]).sessions()] == [3]


def test_what_a_server_reports_opens_no_session() -> None:
    kinds = ("checkin", "order_reviewed", "checkin")
    trail = Trail([did(kind, NOON + timedelta(minutes=20 * n)) for n, kind in enumerate(kinds)])
    assert [it.session for it in trail.entries()] == [1, 0, 2]


def test_a_late_view_counts_at_its_place() -> None:
    """AC-18: what happened three days ago changes the opens of that day."""
    on_time = [viewed("a", NOON), viewed("b", NOON + timedelta(days=4))]
    late = viewed("late", NOON + timedelta(days=1))
    assert [it.nth_open for it in Trail([*on_time, late]).entries()] == [1, 2, 3]


def test_a_thousand_events_of_one_customer_give_the_same_trail_in_any_order() -> None:
    random = Random(7)
    events: list[Behaviour] = []
    for n in range(1000):
        at = NOON + timedelta(seconds=random.randrange(0, 86_400 * 3, 7))
        page_view = f"pv{random.randrange(120)}"
        kind = random.randrange(4)
        if kind == 0:
            events.append(viewed(page_view, at, f"H5-{random.randrange(5)}"))
        elif kind == 1:
            events.append(engaged(page_view, random.randrange(30), at, wall_ms=random.randrange(400_000)))
        elif kind == 2:
            events.append(engaged(page_view, sorted(random.sample(range(40), 5)), at))
        else:
            events.append(did("button_clicked", at, page_view, button_id="B", message=f"click{n}"))
    expected, engagement = rows_of(events), Trail(events).engagement()
    for _ in range(20):
        random.shuffle(events)
        assert rows_of(events) == expected
        assert Trail(events).engagement() == engagement


@given(st.lists(st.lists(st.integers(0, 50), max_size=8), min_size=1, max_size=6), st.integers(0, 20))
def test_dwell_is_that_of_the_union_of_all_reports(reports: list[list[int]], from_start: int) -> None:
    union = set(range(from_start)).union(*map(set, reports))
    later = [engaged("pv", it, NOON + timedelta(seconds=n)) for n, it in enumerate(reports)]
    found = Trail([engaged("pv", from_start, NOON), *later]).engagement().get("")
    assert (found.dwell_seconds if found else 0) == (10 * (len(union) - 1) + 5 if union else 0)
