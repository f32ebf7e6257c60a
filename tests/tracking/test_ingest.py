"""Ingestion on PostgreSQL (TR-1): each message once for ever, every event accounted for."""

import asyncio
from datetime import timedelta
from random import Random
from threading import Thread
from time import monotonic

import psycopg
import pytest

from chassis.context import Context
from chassis.errors import RequestIdReused
from chassis.event_store import PostgresEventStore
from chassis.read_models import ReadModels
from deploy.local.postgres import Database
from scrm.tracking.v1.behaviour_pb2 import Identifier, TrackedEvent
from scrm.tracking.v1.tracking_service_pb2 import TrackBatchRequest
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.message_keys import FEWEST_TO_TRY
from services.tracking.adapters.submission import Reader
from services.tracking.read_models.ingest_statistics import ingest_counts
from tests.tracking.touches import NOON, Tracking, event, view

NOBODY = [Identifier(namespace="user_id", value="null")]


def test_ac16_a_message_sent_three_times_is_accepted_once(tracking: Tracking) -> None:
    assert tracking.track(event("m1"), event("m1")) == ["ACCEPTED", "DUPLICATE"]
    assert tracking.track(event("m1")) == ["DUPLICATE"]
    assert tracking.count("accepted") == 1
    assert tracking.tallies() == {"ACCEPTED": 1, "DUPLICATE": 2}


def test_the_same_id_of_another_source_or_brand_is_another_message(tracking: Tracking) -> None:
    assert tracking.track(event("m1"), event("m1", source_key="oa")) == ["ACCEPTED", "ACCEPTED"]
    assert tracking.track(event("m1"), tenant="globex") == ["ACCEPTED"]


def test_another_body_under_the_same_id_is_a_conflict_that_is_kept(tracking: Tracking) -> None:
    first, second = event("m1"), event("m1", person="a:2")
    assert tracking.track(first, second) == ["ACCEPTED", "DUPLICATE CONTENT_CONFLICT"]
    assert tracking.track(event("m1", person="a:3"), event("m1")) == ["DUPLICATE CONTENT_CONFLICT", "DUPLICATE"]

    kept = tracking.rows("SELECT message_id, payload FROM conflicts ORDER BY number")
    assert [TrackedEvent.FromString(payload).identifiers[0].value for _, payload in kept] == ["a:2", "a:3"]
    assert tracking.count("accepted") == 1


def test_a_message_is_known_when_everything_else_of_it_is_gone(tracking: Tracking, tables: Database) -> None:
    tracking.track(event("m1"))
    with psycopg.connect(tables.owner_dsn) as connection:
        connection.execute("DROP TABLE accepted_202605")
    tracking.later(days=400)
    assert tracking.track(event("m1")) == ["DUPLICATE"]


def test_ac18_one_malformed_event_costs_the_others_of_its_batch_nothing(tracking: Tracking) -> None:
    events = [event(f"m{n}") for n in range(1000)]
    events[500].event_type = ""

    results = tracking.results(*events)

    assert [n for n, it in enumerate(results) if it.outcome != 1] == [500]
    assert results[500].field == "event_type"
    assert tracking.count("accepted") == 999


def test_in_a_large_batch_too_each_message_is_accepted_once(tracking: Tracking) -> None:
    """Its keys are written without asking first; where that fails nothing of the try is left."""
    assert FEWEST_TO_TRY <= 400
    first = [event(f"m{n}") for n in range(400)]
    assert tracking.track(*first) == ["ACCEPTED"] * 400
    more = [event(f"n{n}") for n in range(399)]
    assert tracking.track(*more[:200], event("m7"), *more[200:], event("m8", person="a:2")) == [
        *["ACCEPTED"] * 200,
        "DUPLICATE",
        *["ACCEPTED"] * 199,
        "DUPLICATE CONTENT_CONFLICT",
    ]
    assert tracking.track(*first) == ["DUPLICATE"] * 400
    assert tracking.count("accepted") == tracking.count("message_keys") == 799
    assert tracking.tallies() == {"ACCEPTED": 799, "DUPLICATE": 401, "DUPLICATE CONTENT_CONFLICT": 1}


def test_what_is_put_aside_is_kept_as_it_came_with_the_reason(tracking: Tracking) -> None:
    late = event("late", at=NOON - timedelta(days=31))
    nobody = event("nobody", identifiers=NOBODY)
    unknown = event("unknown", "teleported")
    broken = event("broken", "button_clicked")
    assert tracking.track(late, nobody, unknown, broken) == [
        "QUARANTINED TOO_LATE",
        "QUARANTINED NO_IDENTITY",
        "QUARANTINED UNKNOWN_TYPE",
        "QUARANTINED SCHEMA",
    ]
    kept = tracking.rows("SELECT message_id, reason, field, payload FROM quarantine ORDER BY number")
    assert [row[:2] for row in kept] == [
        ("late", "TOO_LATE"),
        ("nobody", "NO_IDENTITY"),
        ("unknown", "UNKNOWN_TYPE"),
        ("broken", "SCHEMA"),
    ]
    assert [TrackedEvent.FromString(row[3]) for row in kept] == [late, nobody, unknown, broken]
    assert tracking.count("accepted") == 0
    assert tracking.track(late) == ["DUPLICATE"]


def test_every_event_submitted_is_accounted_for_by_source_and_type(tracking: Tracking, tables: Database) -> None:
    random, submitted = Random(3), 0
    kinds = (
        lambda n: event(f"m{n}"),
        lambda n: view(f"v{n}", f"pv{n}"),
        lambda n: event(f"late{n}", at=NOON - timedelta(days=3)),
        lambda n: event(f"too{n}", at=NOON - timedelta(days=40)),
        lambda n: event(f"nobody{n}", identifiers=NOBODY),
        lambda n: event("", source_key="oa"),
    )
    sent: list[TrackedEvent] = []
    for _ in range(12):
        batch = [random.choice(kinds)(random.randrange(60)) for _ in range(40)]
        submitted += len(batch)
        sent += batch
        tracking.track(*batch)
    read_models = ReadModels(tables.reader_dsn)
    counts = read_models.query_now(ingest_counts, "acme")
    foreign = read_models.query_now(ingest_counts, "globex")
    read_models.close()

    assert sum(it.count for it in counts) == submitted
    assert foreign == []
    unique = {it.message_id for it in sent if it.message_id}
    accepted = {it for it in unique if it.startswith(("m", "v", "late"))}
    outcomes = ("ACCEPTED", "QUARANTINED", "REJECTED")
    by_outcome = {name: sum(it.count for it in counts if it.outcome == name) for name in outcomes}
    assert by_outcome["ACCEPTED"] == len(accepted) == tracking.count("accepted")
    assert by_outcome["QUARANTINED"] == len(unique - accepted) == tracking.count("quarantine")
    assert by_outcome["REJECTED"] == sum(not it.message_id for it in sent)
    late = sum(it.late for it in counts if it.outcome == "ACCEPTED")
    assert late == sum(it.startswith("late") for it in accepted)
    views = [it.count for it in counts if it.event_type == "content_viewed" and it.outcome == "ACCEPTED"]
    assert views == [sum(it.startswith("v") for it in accepted)]


def test_a_repeated_request_gets_the_same_answer_and_is_counted_once(tracking: Tracking) -> None:
    first = tracking.track(event("m1"), event("m1"), request_id="r1")
    again = tracking.track(event("m1"), event("m1"), request_id="r1")
    assert first == again == ["ACCEPTED", "DUPLICATE"]
    assert tracking.tallies() == {"ACCEPTED": 1, "DUPLICATE": 1}


def test_control_without_a_request_id_the_repetition_is_counted_as_what_it_is(tracking: Tracking) -> None:
    tracking.track(event("m1"))
    assert tracking.track(event("m1")) == ["DUPLICATE"]
    assert tracking.tallies() == {"ACCEPTED": 1, "DUPLICATE": 1}


def test_a_request_id_for_another_batch_is_refused(tracking: Tracking) -> None:
    tracking.track(event("m1"), request_id="r1", body=b"one")
    with pytest.raises(RequestIdReused):
        tracking.track(event("m2"), request_id="r1", body=b"other")
    assert tracking.count("accepted") == 1


def test_batches_that_wait_together_commit_together(tracking: Tracking, loop: asyncio.AbstractEventLoop) -> None:
    """Two of them under one request id, and all with a message in common."""
    tracking.writer.start()

    async def submit() -> list[bytes]:
        submissions = [
            Reader(Context("acme" if n < 6 else "globex", "test"), microseconds(NOON)).read(
                TrackBatchRequest(events=[event("common"), event(f"m{n}")])
            )
            for n in range(8)
        ]
        return await asyncio.gather(*map(tracking.writer.submit, submissions))

    loop.run_until_complete(submit())
    tracking.writer.stop()
    assert tracking.count("accepted") == 8 + 2
    assert tracking.tallies() == {"ACCEPTED": 10, "DUPLICATE": 6}


def test_a_caller_who_goes_away_disturbs_nobody(tracking: Tracking, loop: asyncio.AbstractEventLoop) -> None:
    async def submit() -> None:
        reader = [Reader(Context("acme", "test"), microseconds(NOON)) for _ in range(3)]
        batches = [it.read(TrackBatchRequest(events=[event(f"m{n}")])) for n, it in enumerate(reader)]
        impatient = asyncio.create_task(tracking.writer.submit(batches[0]))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(*map(tracking.writer.submit, batches[1:]))

    tracking.writer.start()
    loop.run_until_complete(submit())
    last = Reader(Context("acme", "test"), microseconds(NOON)).read(TrackBatchRequest(events=[event("last")]))
    loop.run_until_complete(tracking.writer.submit(last))
    tracking.writer.stop()
    names = {it for (it,) in tracking.rows("SELECT message_id FROM accepted")}
    assert names >= {"m1", "m2", "last"}


def test_two_writers_at_once_accept_each_message_once(
    tracking: Tracking, tables: Database, loop: asyncio.AbstractEventLoop
) -> None:
    other = PostgresEventStore(tables.writer_dsn)
    writers = [tracking.writer, IngestWriter(other.engine)]
    for it in writers:
        it.start()

    async def submit() -> None:
        random, waiting = Random(1), []
        for n in range(40):
            names = [f"m{random.randrange(100)}" for _ in range(20)]
            submission = Reader(Context("acme", "test"), microseconds(NOON)).read(
                TrackBatchRequest(events=[event(it) for it in names])
            )
            waiting.append(writers[n % 2].submit(submission))
        await asyncio.gather(*waiting)

    loop.run_until_complete(submit())
    for it in writers:
        it.stop()
    other.close()
    names = tracking.rows("SELECT message_id FROM accepted ORDER BY position")
    assert len(names) == len(set(names)) == tracking.tallies()["ACCEPTED"]
    assert sum(tracking.tallies().values()) == 800


def test_each_month_of_receipt_has_a_partition_of_its_own(tracking: Tracking) -> None:
    for _ in range(3):
        tracking.track(event(f"{tracking.now}", at=tracking.now))
        tracking.later(days=31)
    tracking.now = NOON.replace(year=1997, month=12, day=31)
    tracking.track(event("then", at=tracking.now))
    found = tracking.rows("SELECT tableoid::regclass::text FROM accepted ORDER BY position")
    assert [it for (it,) in found] == ["accepted_202605", "accepted_202606", "accepted_202607", "accepted_199712"]


def test_a_month_that_another_writer_makes_at_the_same_moment_is_no_error(tracking: Tracking, tables: Database) -> None:
    tracking.now = NOON.replace(year=2031)
    with psycopg.connect(tables.writer_dsn) as other, psycopg.connect(tables.writer_dsn, autocommit=True) as watch:
        other.execute("SELECT ensure_accepted_month(%s)", [tracking.now])
        tracked = Thread(target=lambda: tracking.track(event(at=tracking.now)))
        tracked.start()
        give_up = monotonic() + 20
        while watch.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone() is None:
            assert monotonic() < give_up
        other.commit()
        tracked.join()
    assert tracking.count("accepted") == 1


def test_nobody_who_answers_callers_can_read_what_was_submitted(tracking: Tracking, tables: Database) -> None:
    tracking.track(event("m1"))
    with psycopg.connect(tables.reader_dsn, autocommit=True) as connection:
        for table in ("accepted", "accepted_202605", "message_keys", "quarantine", "conflicts"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SELECT * FROM {table}".encode())
        assert connection.execute("SELECT * FROM tallies").fetchall() == []


def test_what_is_accepted_can_be_changed_by_nobody_who_writes(tracking: Tracking, tables: Database) -> None:
    tracking.track(event("m1"))
    with psycopg.connect(tables.writer_dsn, autocommit=True) as connection:
        for statement in (b"UPDATE accepted SET late = true", b"DELETE FROM message_keys", b"TRUNCATE behaviours"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
