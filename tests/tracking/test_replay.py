"""Events that were put aside come into the trail after all: as they came, each once, and counted right."""

from datetime import timedelta
from typing import Any

import orjson
import psycopg
import pytest

from deploy.local.postgres import Database
from services.tracking.application.plan_commands import RegisterEventType
from services.tracking.application.quarantine_commands import Replayed, ReplayQuarantined
from services.tracking.domain.intake import Reason
from services.tracking.domain.plan import Category, EventTypeDef, PropertyDef, PropertyType
from tests.tracking.definitions import Studio
from tests.tracking.touches import NOON, Tracking, event

TASTED = EventTypeDef("tasted", Category.I, (PropertyDef("wine", PropertyType.TEXT, required=True),))


def replay(tracking: Tracking, **wanted: Any) -> Replayed:
    studio = Studio(tracking.store)
    studio.clock.set(tracking.now)
    done: Replayed = studio.tell(ReplayQuarantined(**wanted))
    return done


def test_a_type_that_was_unknown_is_taken_in_once_it_is_registered(tracking: Tracking) -> None:
    wine = orjson.dumps({"wine": "Merlot", "glass": "big"})
    tracking.track(event("m1", "tasted", properties=wine), event("m2", "tasted"), event("m3", "unheard_of"))
    Studio(tracking.store).tell(RegisterEventType("acme", TASTED))
    tracking.later(days=60)

    assert replay(tracking) == Replayed(1, {Reason.SCHEMA: 1, Reason.UNKNOWN_TYPE: 1}, 3, False)
    assert tracking.tallies() == {"ACCEPTED": 1, "QUARANTINED UNKNOWN_TYPE": 2}
    tracking.resolve()
    [(at, received, kept)] = tracking.rows("SELECT occurred_at, received_at, properties FROM behaviours")
    assert (at, received) == (NOON, NOON)
    assert orjson.loads(kept) == {"wine": "Merlot", "extra": {"glass": "big"}}


def test_each_is_taken_in_once_however_often_it_is_asked_for(tracking: Tracking) -> None:
    tracking.track(event("m1", "tasted", properties=b'{"wine":"Merlot"}'))
    Studio(tracking.store).tell(RegisterEventType("acme", TASTED))
    assert replay(tracking).accepted == 1
    assert replay(tracking) == Replayed(0, {}, 0, False)
    assert tracking.count("accepted") == 1
    assert tracking.track(event("m1", "tasted", properties=b'{"wine":"Merlot"}')) == ["DUPLICATE"]
    assert tracking.count("quarantine") == 1, "the row stays as it came"


def test_what_came_too_late_is_taken_in_only_if_that_is_said(tracking: Tracking) -> None:
    tracking.track(event("m1", at=NOON - timedelta(days=31)))
    assert replay(tracking) == Replayed(0, {Reason.TOO_LATE: 1}, 1, False)
    assert replay(tracking, accept_late=True).accepted == 1
    tracking.resolve()
    assert tracking.rows("SELECT occurred_at, late FROM behaviours") == [(NOON - timedelta(days=31), True)]


def test_what_was_in_the_future_is_taken_in_when_that_has_come(tracking: Tracking) -> None:
    tracking.track(event("m1", at=NOON + timedelta(hours=2)))
    assert replay(tracking).accepted == 0
    tracking.later(hours=2)
    assert replay(tracking).accepted == 1


def test_a_filter_says_which(tracking: Tracking) -> None:
    late = NOON - timedelta(days=31)
    tracking.track(event("m1", at=late), event("m2", at=late, source_key="oa"), event("m3", "login", at=late))
    tracking.later(days=1)
    tracking.track(event("m4", at=late), event("m5", identifiers=[]))
    assert replay(tracking, accept_late=True, source_key="oa").accepted == 1
    assert replay(tracking, accept_late=True, event_type="login").accepted == 1
    assert replay(tracking, accept_late=True, start=NOON + timedelta(hours=1)) == Replayed(
        1, {Reason.NO_IDENTITY: 1}, 5, False
    )
    assert replay(tracking, accept_late=True, message_id="m9") == Replayed(0, {}, 0, False)
    assert replay(tracking, accept_late=True, reason=Reason.TOO_LATE, end=NOON + timedelta(hours=1)).accepted == 1
    assert tracking.tallies() == {"ACCEPTED": 4, "QUARANTINED NO_IDENTITY": 1}


def test_a_page_at_a_time(tracking: Tracking) -> None:
    tracking.track(*(event(f"m{n}", identifiers=[]) for n in range(5)))
    first = replay(tracking, limit=3)
    assert (first.last, first.more) == (3, True)
    assert replay(tracking, limit=3, after=first.last) == Replayed(0, {Reason.NO_IDENTITY: 2}, 5, False)


def test_what_was_put_aside_after_it_was_accepted_is_none_of_it(tracking: Tracking) -> None:
    tracking.track(event("m1", at=NOON - timedelta(days=31)))
    with tracking.store.engine.begin() as rows:
        rows.exec_driver_sql(
            "INSERT INTO quarantine (tenant, received_at, source_key, message_id, event_type, reason, field, payload)"
            " SELECT tenant, received_at, source_key, message_id, event_type, 'ORDER_REFUSED', '', payload FROM quarantine"
        )
    assert replay(tracking, accept_late=True).accepted == 1


def test_another_brand_has_a_quarantine_of_its_own(tracking: Tracking) -> None:
    tracking.track(event("m1", at=NOON - timedelta(days=31)), tenant="globex")
    assert replay(tracking, accept_late=True) == Replayed(0, {}, 0, False)


def test_that_an_event_was_released_can_be_undone_by_nobody_who_writes(tracking: Tracking, tables: Database) -> None:
    forbidden = pytest.raises(psycopg.errors.InsufficientPrivilege)
    with psycopg.connect(tables.writer_dsn, autocommit=True) as connection, forbidden:
        connection.execute(b"DELETE FROM released")
