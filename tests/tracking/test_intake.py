"""What becomes of an event when it comes in (TR-1), before anything is stored."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.context import Context
from scrm.tracking.v1.behaviour_pb2 import CampaignContext, EventContext, Identifier, TrackedEvent
from scrm.tracking.v1.tracking_service_pb2 import TrackBatchRequest
from services.tracking.adapters import event_rules
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.submission import Reader, Submission
from services.tracking.application.wire_values import timestamp
from services.tracking.domain import event_types, intake
from services.tracking.domain.event_types import PRESETS
from services.tracking.domain.intake import Verdict
from tests.tracking.touches import NOON, event, view


def read(*events: TrackedEvent, received: datetime = NOON) -> Submission:
    return Reader(Context("acme", "test"), microseconds(received)).read(TrackBatchRequest(events=events))


def said_of(tracked: TrackedEvent, received: datetime = NOON) -> str:
    """`ACCEPTED`, or the outcome with its reason and field."""
    [verdict] = read(tracked, received=received).verdicts
    return "ACCEPTED" if verdict is None else " ".join(filter(None, (verdict.outcome, verdict.reason, verdict.field)))


def with_identifiers(*values: str) -> TrackedEvent:
    return event(identifiers=[Identifier(namespace="user_id", value=it) for it in values])


def json(**properties: Any) -> bytes:
    return orjson.dumps(properties)


def engaged(buckets: Any) -> TrackedEvent:
    return event("m", "content_engaged", properties=json(page_view_id="p", active_buckets=buckets))


def nested(levels: int) -> bytes:
    return b'{"phone":' * levels + b"1" + b"}" * levels if levels > 32 else b'{"a":' * levels + b"1" + b"}" * levels


BUCKETS_AT_FAULT = "QUARANTINED SCHEMA properties.active_buckets"


@pytest.mark.parametrize(
    ("tracked", "expected"),
    [
        (event(), "ACCEPTED"),
        (event(message_id=""), "REJECTED FIELD_REQUIRED message_id"),
        (event(source_key=""), "REJECTED FIELD_REQUIRED source_key"),
        (event(event_type=""), "REJECTED FIELD_REQUIRED event_type"),
        (event(message_id="m" * 257), "REJECTED FIELD_TOO_LONG message_id"),
        (event(source_key="s" * 65), "REJECTED FIELD_TOO_LONG source_key"),
        (event(message_id="m\0"), "REJECTED BAD_FORMAT message_id"),
        (event(event_type="t\x01"), "REJECTED BAD_FORMAT event_type"),
        (event(message_id="e\u0301"), "REJECTED BAD_FORMAT message_id"),
        (event(message_id="微信"), "ACCEPTED"),
        (event(context=EventContext(page="\0")), "REJECTED BAD_FORMAT context.page"),
        (event(context=EventContext(app="a" * 257)), "REJECTED FIELD_TOO_LONG context.app"),
        (event(context=EventContext(campaign=CampaignContext(staff_code="\x1b"))), "REJECTED BAD_FORMAT context.campaign.staff_code"),
        (with_identifiers("ok", "a\0"), "REJECTED BAD_FORMAT identifiers[1]"),
        (with_identifiers(*map(str, range(1, 21))), "ACCEPTED"),
        (with_identifiers(*map(str, range(1, 22))), "REJECTED TOO_MANY_IDENTIFIERS identifiers"),
        (event(original_time=None), "REJECTED FIELD_REQUIRED original_time"),
        (event(original_time={"seconds": 1, "nanos": -1}), "REJECTED BAD_FORMAT original_time"),
        (event(original_time={"seconds": 1 << 60}), "REJECTED BAD_FORMAT original_time"),
        (event(sent_time={"seconds": 1 << 60}), "REJECTED BAD_FORMAT sent_time"),
        (event(tz_offset_minutes=1081), "REJECTED OUT_OF_RANGE tz_offset_minutes"),
        (event(properties=b"[1]"), "REJECTED BAD_FORMAT properties_json"),
        (event("m", "custom.deep", properties=nested(32)), "ACCEPTED"),
        (event("m", "custom.deep", properties=nested(33)), "REJECTED BAD_FORMAT properties_json"),
        (event("m", "checkin", properties=nested(1000)), "REJECTED BAD_FORMAT properties_json"),
        (event(properties=b'{"a"'), "REJECTED BAD_FORMAT properties_json"),
        (event(properties=b'{"a":"\\u0000"}'), "REJECTED BAD_FORMAT properties_json"),
        (event(properties=json(a="x" * 33_000)), "REJECTED TOO_LARGE properties_json"),
        (event(properties=orjson.dumps({str(n): n for n in range(201)})), "REJECTED TOO_LARGE properties_json"),
        (event(event_type="teleported"), "QUARANTINED UNKNOWN_TYPE event_type"),
        (event(event_type="custom.teleported", properties=json(to=1)), "ACCEPTED"),
        (event(event_type="custom."), "QUARANTINED UNKNOWN_TYPE event_type"),
        (event(event_type="button_clicked"), "QUARANTINED SCHEMA properties.button_id"),
        (event(event_type="button_clicked", properties=json(button_id=7)), "QUARANTINED SCHEMA properties.button_id"),
        (event(event_type="button_clicked", properties=json(button_id="B")), "ACCEPTED"),
        (event(event_type="content_viewed"), "QUARANTINED SCHEMA properties.content_id"),
        (view("m", "pv"), "ACCEPTED"),
        (event(event_type="content_viewed", properties=json(content_id="H5-1", page_view_id="pv")), "ACCEPTED"),
        (event(event_type="qr_scanned", context=EventContext(campaign=CampaignContext(code_key="ST03"))), "ACCEPTED"),
        (engaged(8641), BUCKETS_AT_FAULT),
        (engaged(-1), BUCKETS_AT_FAULT),
        (engaged([0, "1"]), BUCKETS_AT_FAULT),
        (engaged([0, 8640]), "ACCEPTED"),
        (engaged(True), BUCKETS_AT_FAULT),
        (with_identifiers("null"), "QUARANTINED NO_IDENTITY identifiers"),
        (with_identifiers(), "QUARANTINED NO_IDENTITY identifiers"),
        (with_identifiers("", "-1", "0000-0000", " UNDEFINED ", "None", "test", "anonymous"), "QUARANTINED NO_IDENTITY identifiers"),
        (with_identifiers("null", "u1"), "ACCEPTED"),
    ],
)  # fmt: skip
def test_an_event_is_accepted_put_aside_or_rejected(tracked: TrackedEvent, expected: str) -> None:
    assert said_of(tracked) == expected


def test_ac17_the_error_of_a_devices_clock_is_taken_out() -> None:
    ahead = event(original_time=timestamp(NOON), sent_time=timestamp(NOON + timedelta(seconds=10)))
    received = NOON - timedelta(hours=2) + timedelta(seconds=11)

    [row] = read(ahead, received=received).rows

    occurred = NOON - timedelta(hours=2) + timedelta(seconds=1)
    since_2000 = microseconds(occurred) - 946_684_800_000_000
    assert since_2000.to_bytes(8, "big", signed=True) in row


def test_ac17_control_without_the_time_of_sending_the_device_is_believed() -> None:
    received = NOON - timedelta(hours=2)
    assert said_of(event(), received=received) == "QUARANTINED FUTURE_TIMESTAMP original_time"


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(minutes=-5), "ACCEPTED"),
        (timedelta(minutes=-5, microseconds=-1), "QUARANTINED FUTURE_TIMESTAMP original_time"),
        (timedelta(days=3), "ACCEPTED"),
        (timedelta(days=30), "ACCEPTED"),
        (timedelta(days=30, microseconds=1), "QUARANTINED TOO_LATE original_time"),
        (timedelta(days=31), "QUARANTINED TOO_LATE original_time"),
    ],
)
def test_ac18_what_happened_too_long_ago_or_is_yet_to_happen_is_put_aside(age: timedelta, expected: str) -> None:
    assert said_of(event(), received=NOON + age) == expected


def test_an_event_is_late_after_more_than_a_day() -> None:
    def late(age: timedelta) -> bool:
        return read(event(), received=NOON + age).labels[0][2]

    assert not late(timedelta(days=1))
    assert late(timedelta(days=1, microseconds=1))


def test_undeclared_properties_are_kept_under_extra() -> None:
    properties = json(button_id="B", mood="good", extra={"a": 1})
    [tracked] = read(event("m", "button_clicked", properties=properties)).events
    assert orjson.loads(tracked.properties_json) == {"button_id": "B", "extra": {"a": 1, "mood": "good"}}


def test_declared_properties_stay_as_they_were_sent() -> None:
    [tracked] = read(event("m", "button_clicked", properties=b'{ "button_id" : "B" }')).events
    assert tracked.properties_json == b'{ "button_id" : "B" }'


def test_personal_data_is_dropped_before_anything_is_stored() -> None:
    properties = json(form_id="F", fields=[{"phone": "+8613800000001", "size": "L"}], Email="jane@example.org")

    found = read(event("m", "form_submitted", properties=properties))

    [verdict] = found.verdicts
    assert verdict == Verdict(intake.Outcome.ACCEPTED, stripped=("Email", "phone"))
    assert b"13800000001" not in found.rows[0]
    assert b"example.org" not in found.rows[0]
    assert orjson.loads(found.events[0].properties_json) == {"form_id": "F", "fields": [{"size": "L"}]}


def test_the_same_event_sent_at_another_time_has_the_same_content() -> None:
    def sent(seconds: int) -> bytes:
        return read(event(sent_time=timestamp(NOON + timedelta(seconds=seconds)))).prints[0]

    assert sent(1) == sent(2)
    assert read(event()).prints != read(event(person="a:2")).prints


def test_what_is_rejected_is_counted_under_names_that_can_be_stored() -> None:
    found = read(event(source_key="a\0"), event(event_type="t" * 99))
    assert found.labels == [("?", "checkin", False), ("h5", "?", False)]


def test_every_preset_event_type_is_one_the_models_know() -> None:
    assert len(PRESETS) >= 50
    assert {it.category for it in PRESETS.values()} <= set("PINCBSV") | {""}
    assert all(name.isascii() and name == name.lower() for name in PRESETS)
    assert event_types.find("no_such_type") is None


TEXTS = st.sampled_from(["", "x", "a:1", "null", "e\u0301", "\0", "y" * 257, "微信", "0-0"])


TIMES = st.sampled_from(
    [
        None,
        timestamp(NOON),
        timestamp(NOON - timedelta(microseconds=1)),
        timestamp(NOON - timedelta(days=2)),
        timestamp(NOON + timedelta(hours=1)),
        Timestamp(nanos=7),
        Timestamp(seconds=1, nanos=-1),
        Timestamp(seconds=-1),
        Timestamp(seconds=1 << 40),
    ]
)
CONTEXTS = st.builds(
    EventContext,
    channel=TEXTS,
    app=TEXTS,
    page=TEXTS,
    content_id=TEXTS,
    page_view_id=TEXTS,
    campaign=st.one_of(st.none(), st.builds(CampaignContext, code_key=TEXTS, delivery_id=TEXTS, staff_code=TEXTS)),
)
EVENTS = st.builds(
    TrackedEvent,
    message_id=TEXTS,
    source_key=st.sampled_from(["h5", "h5", "miniprogram", "", "\0"]),
    event_type=st.sampled_from(["checkin", "checkin", "button_clicked", "content_viewed", "nope", "custom.x", ""]),
    identifiers=st.lists(
        st.builds(Identifier, namespace=TEXTS, scope=TEXTS, value=TEXTS, verified=st.booleans()), max_size=6
    ),
    authenticated=st.booleans(),
    original_time=TIMES,
    sent_time=TIMES,
    tz_offset_minutes=st.sampled_from([None, 0, 480, -480, 5000]),
    context=st.one_of(st.none(), CONTEXTS),
    properties_json=st.sampled_from([b"", b"", b"{", json(button_id="B"), json(z="z" * 300), json(email="x"), json(content_id="c")]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=60), st.sampled_from(["", str(uuid4())]))
def test_read_at_once_events_are_what_they_are_one_by_one(events: list[TrackedEvent], request_id: str) -> None:
    one_by_one = [read(it) for it in _copies(events)]
    at_once = Submission("acme", microseconds(NOON), None, [])
    request = TrackBatchRequest(request_id=request_id, events=_copies(events))

    _reader()._read_at_once(request, at_once)

    for column in ("keys", "prints", "rows", "labels", "verdicts"):
        assert getattr(at_once, column) == [getattr(it, column)[0] for it in one_by_one]
    assert list(request.events) == [it.events[0] for it in one_by_one]


def test_read_at_once_what_is_ordinary_is_never_looked_at_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    led = EventContext(channel="h5", campaign=CampaignContext(code_key="ST03"))
    sent = timestamp(NOON + timedelta(seconds=3))
    ordinary = [
        *(view(f"m{it}", f"p{it}", person="a" * it) for it in range(1, 200)),
        *(event(f"c{it}", context=context) for it, context in enumerate((led, EventContext(channel="h5"), None))),
        *(event(f"s{it}", sent_time=sent, tz_offset_minutes=offset) for it, offset in enumerate((0, 480, None))),
        event("two", identifiers=[Identifier(namespace="user_id", scope="shop", value=it, verified=True) for it in ("u1", "u2")]),
        event("long", "custom.page", context=EventContext(page="/" + "p" * 200), properties=json(text="微信" * 200)),
    ]  # fmt: skip
    expected = read(*_copies(ordinary)).rows
    monkeypatch.setattr(Reader, "_read_each", None)

    assert read(*ordinary).rows == expected
    assert len(expected) == len(ordinary)


def _copies(events: Sequence[TrackedEvent]) -> list[TrackedEvent]:
    return [TrackedEvent.FromString(it.SerializeToString()) for it in events]


def _reader() -> Reader:
    return Reader(Context("acme", "test"), microseconds(NOON))


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        TrackedEvent,
        message_id=TEXTS,
        source_key=TEXTS,
        event_type=st.sampled_from(["", "checkin", "button_clicked", "content_viewed", "nope", "custom.x"]),
        identifiers=st.lists(st.builds(Identifier, value=TEXTS), max_size=3),
        original_time=st.sampled_from([None, timestamp(NOON), timestamp(NOON - timedelta(days=40)), timestamp(NOON + timedelta(days=1))]),
        properties_json=st.sampled_from([b"", b"{", json(button_id="B"), json(button_id=1), json(email="x"), json(z=1)]),
        context=st.builds(EventContext, page=TEXTS, content_id=TEXTS, page_view_id=TEXTS),
        tz_offset_minutes=st.sampled_from([None, 0, 480, 5000]),
    )
)  # fmt: skip
def test_the_quick_way_says_what_the_thorough_way_says(tracked: TrackedEvent) -> None:
    copy = TrackedEvent()
    copy.CopyFrom(tracked)
    assert read(tracked).verdicts == [thorough(copy)]


def thorough(tracked: TrackedEvent) -> Verdict | None:
    """Every rule, one after the other."""
    kind = _reader()._kind(tracked.source_key, tracked.event_type)
    context, campaign = tracked.context, tracked.context.campaign
    texts = [tracked.message_id, context.channel, context.app, context.page, context.content_id, context.page_view_id]
    texts += [campaign.code_key, campaign.delivery_id, campaign.share_id, campaign.staff_code, ""]
    for it in tracked.identifiers:
        texts += [it.namespace, it.scope, it.value]
    properties = intake.read_properties(kind.event_type, tracked.properties_json)
    rejected = event_rules.malformed(tracked, texts, is_closed=False) or intake.rejection(properties)
    if rejected:
        return rejected
    age = microseconds(NOON) - tracked.original_time.seconds * intake.SECOND
    return event_rules.judged(kind.event_type, properties, texts, age)
