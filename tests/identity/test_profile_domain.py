"""What profiles come to, by themselves: rhythms of buying, visits, what may be seen, how far a source can be relied on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from services.identity.adapters.source_watch import Delivered, Reached, state_of
from services.identity.domain.availability import (
    Availability,
    Cause,
    SourceState,
    SourceStates,
    Status,
    availability,
)
from services.identity.domain.identifier_masking import masked_identifier
from services.identity.domain.purchases import Rhythm
from services.identity.domain.visits import Seen, visits
from services.identity.read_models.profile.entries import LINES
from services.identity.read_models.profile.told import MESSAGES
from tests.identity.brand import NOON

SECOND = timedelta(seconds=1)


def days(*numbers: int) -> list[date]:
    return [date(2026, 1, 1) + timedelta(days=it) for it in numbers]


# Buying.


def test_two_orders_of_one_day_are_one_occasion() -> None:
    rhythm = Rhythm.of(days(30, 0, 0, 10))

    assert (rhythm.occasions, rhythm.intervals) == (tuple(days(0, 10, 30)), (10, 20))
    assert (rhythm.cycle_days, rhythm.last, rhythm.next_expected) == (15, days(30)[0], days(45)[0])


def test_one_occasion_promises_no_other() -> None:
    rhythm = Rhythm.of(days(3))

    assert (rhythm.cycle_days, rhythm.last, rhythm.next_expected) == (None, days(3)[0], None)


def test_who_never_bought_has_no_rhythm() -> None:
    assert (Rhythm.of([]).last, Rhythm.of([]).next_expected) == (None, None)


# Visits.


def viewed(at: datetime, page: str, content: str = "H5-1") -> Seen:
    return Seen("content_viewed", at, "h5", content, page)


def engaged(at: datetime, page: str, buckets: int | tuple[int, ...], wall_ms: int | None = None) -> Seen:
    return Seen("content_engaged", at, "", "", page, buckets, wall_ms)


def test_a_reload_within_ten_seconds_is_no_open() -> None:
    seconds = (0, 8, 10, 11, 30)  # of the open at 0, then of the one at 11
    found = visits([viewed(NOON + it * SECOND, str(it)) for it in seconds], lambda at: at.hour)

    assert found.opens == 3
    assert visits([viewed(NOON, "a"), viewed(NOON, "b", "other")], lambda at: 0).opens == 2
    assert visits([viewed(NOON, "a"), viewed(NOON + 60 * SECOND, "a")], lambda at: 0).opens == 1


def test_dwell_counts_distinct_stretches_and_never_more_than_the_page_was_open() -> None:
    found = visits(
        [viewed(NOON, "a"), engaged(NOON, "a", 2), engaged(NOON, "a", (1, 2, 5)), engaged(NOON, "b", ())], _noon
    )
    assert found.dwell_seconds == 35

    closed = Seen("content_left", NOON, "", "", "a", (), 7_900)
    assert visits([viewed(NOON, "a"), engaged(NOON, "a", 2), closed], _noon).dwell_seconds == 7


def test_hours_are_those_of_whoever_says_what_hour_it_is() -> None:
    found = visits([viewed(NOON, "a"), viewed(NOON + timedelta(hours=13), "b")], lambda at: (at.hour + 8) % 24)

    assert (found.hours[20], found.hours[9], sum(found.hours)) == (1, 1, 2)
    assert (found.first, found.last, found.behaviours) == (NOON, NOON + timedelta(hours=13), 2)


def _noon(_: datetime) -> int:
    return 12


# What may be seen.


@pytest.mark.parametrize(
    ("namespace", "value", "shown"),
    [
        ("phone", "+8613800000001", "138****0001"),
        ("phone", "+14155550101", "+141****0101"),
        ("email", "anne@example.com", "a***@example.com"),
        ("member_no", "GOLD-77", "***"),
        ("wechat_unionid", "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", "***fL2M"),
    ],
)
def test_a_masked_identifier_shows_enough_to_recognise_it(namespace: str, value: str, shown: str) -> None:
    assert masked_identifier(namespace, value) == shown


# How far a source can be relied on.


def judged(now: datetime, told: Mapping[str, datetime], **streams: SourceState) -> Availability:
    return availability(streams, SourceStates(NOON, streams), told, now)


def test_who_has_read_everything_is_complete_up_to_the_look() -> None:
    found = judged(NOON + 3 * SECOND, {"orders": datetime(2020, 1, 1, tzinfo=UTC)}, orders=SourceState(True, True, 0))

    assert found == Availability(Status.AVAILABLE, None, NOON)


@pytest.mark.parametrize(
    ("seconds", "status", "cause"), [(10, Status.AVAILABLE, None), (11, Status.STALE, Cause.BEHIND)]
)
def test_messages_may_wait_for_ten_seconds(seconds: int, status: Status, cause: Cause | None) -> None:
    found = judged(NOON + seconds * SECOND, {"orders": NOON}, orders=SourceState(True, True, 1))

    assert found == Availability(status, cause, NOON)


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (SourceState(False, True, None), Cause.NEVER_READ),
        (SourceState(True, False, 0), Cause.SERVICE_DOWN),
        (SourceState(True, True, None), Cause.STREAM_UNREADABLE),
    ],
)
def test_what_cannot_be_known_is_unavailable(state: SourceState, cause: Cause) -> None:
    assert judged(NOON, {}, orders=state) == Availability(Status.UNAVAILABLE, cause, None)


def test_of_two_sources_the_worse_decides() -> None:
    fine, behind, down = SourceState(True, True, 0), SourceState(True, True, 5), SourceState(True, False, 0)
    told, later = {"a": NOON - 60 * SECOND, "b": NOON - 90 * SECOND}, NOON + SECOND

    assert judged(later, told, a=fine, b=behind) == Availability(Status.STALE, Cause.BEHIND, told["b"])
    assert judged(later, told, a=down, b=behind).cause is Cause.SERVICE_DOWN


def test_what_is_identitys_own_is_complete_now() -> None:
    assert availability((), SourceStates(NOON, {}), {}, NOON + SECOND) == Availability(
        Status.AVAILABLE, None, NOON + SECOND
    )


CURSORS = {("orders", "0of2"): 40, ("orders", "1of2"): 38}


@pytest.mark.parametrize(
    ("delivered", "reached", "state"),
    [
        ([Delivered("0of2", 0, 40), Delivered("1of2", 0, 38)], Reached(CURSORS, 0), SourceState(True, True, 0)),
        ([Delivered("0of2", 7, 45), Delivered("1of2", 0, 38)], Reached(CURSORS, 3), SourceState(True, True, 15)),
        ([Delivered("0of2", 0, 40), None], Reached(CURSORS, 0), SourceState(True, True, None)),
        ([None, None], Reached({}, 0), SourceState(False, True, None)),
        ([Delivered("0of2", 0, 0), Delivered("1of2", 0, 0)], Reached({}, None), SourceState(False, True, None)),
        (None, Reached(CURSORS, 0), SourceState(True, True, None)),
        ([Delivered("0of2", 0, 40), Delivered("1of2", 0, 38)], None, SourceState(True, True, None)),
    ],
    ids=["all read", "some waits", "a reader is gone", "never read", "no read model", "no broker", "no database"],
)
def test_a_look_finds_out_what_waits(
    delivered: list[Delivered | None] | None, reached: Reached | None, state: SourceState
) -> None:
    assert state_of("orders", True, delivered, reached) == state


# What is read of others' messages.


def unknown_fields(kind: type[Message], paths: Iterable[Sequence[str]]) -> list[str]:
    """The paths that lead nowhere in a message of this kind."""
    found = []
    for path in paths:
        descriptor: Any = kind.DESCRIPTOR
        for name in path:
            field = descriptor.fields_by_name.get(name) if descriptor is not None else None
            descriptor = field.message_type if field is not None else None
        if field is None:
            found.append(".".join(path))
    return found


@pytest.mark.parametrize("message", sorted(LINES))
def test_a_row_of_the_timeline_names_fields_that_its_message_has(message: str) -> None:
    line = LINES[message]

    assert (
        unknown_fields(
            MESSAGES[message], [line.node, line.ref, *line.facts.values(), *([[line.at]] if line.at else [])]
        )
        == []
    )


def test_a_field_that_is_not_there_is_found() -> None:
    kind = MESSAGES["scrm.membership.v1.PointsGranted"]

    assert unknown_fields(kind, [["lot", "granted"], ["lot", "colour"], ["customer"]]) == ["lot.colour", "customer"]
