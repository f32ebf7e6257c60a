"""What is removed after its time, and what is kept for ever."""

from datetime import timedelta

import pytest

from chassis.clock import ReplayClock
from services.tracking.adapters import retention
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.retention import Retention, Terms
from tests.tracking.touches import NOON, Tracking, event

DAY = timedelta(days=1)
TERMS = Terms(accepted=100, aside=90, behaviours=401)


def months(tracking: Tracking) -> list[str]:
    found = tracking.rows(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'accepted'::regclass ORDER BY 1"
    )
    return [it[0] for it in found if it[0] < "accepted_2026_" and it[0] <= "accepted_202704"]


def test_months_of_what_came_in_are_dropped_once_all_of_it_is_resolved(tracking: Tracking) -> None:
    tracking.writer = IngestWriter(tracking.store.engine)
    for month in range(3):
        at = NOON + month * 31 * DAY
        tracking.now = at
        tracking.track(event(f"m{month}", at=at))
    late = Retention(tracking.store.engine, TERMS, ReplayClock(NOON + 131 * DAY))
    assert late.sweep()["accepted_months"] == 0, "nothing is resolved yet"
    tracking.resolve()
    tracking.rows("UPDATE resolver_cursor SET position = (SELECT max(position) FROM behaviours) RETURNING 1")
    assert Retention(tracking.store.engine, TERMS, ReplayClock(NOON + 129 * DAY)).sweep()["accepted_months"] == 0
    assert late.sweep()["accepted_months"] >= 1
    assert "accepted_202605" not in months(tracking)
    assert "accepted_202606" in months(tracking)
    assert tracking.count("accepted") == 2
    assert tracking.count("behaviours") == 3
    tracking.now = NOON
    assert tracking.track(event("m0", at=NOON)) == ["DUPLICATE"], (
        "a message is known when everything else of it is gone"
    )


def test_behaviours_and_what_was_put_aside_go_after_their_days_in_pieces(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PIECE", 2)
    for number in range(5):
        tracking.track(event(f"old{number}"), event(f"odd{number}", "nosuch"), event(f"old{number}", person="other"))
    tracking.resolve()
    tracking.later(days=2)
    tracking.track(event("new", at=tracking.now), event("newer odd", "nosuch", at=tracking.now))
    tracking.resolve()
    clock = ReplayClock(NOON + 91 * DAY)
    sweeping = Retention(tracking.store.engine, TERMS, clock)
    assert sweeping.sweep() == {"accepted_months": 0, "behaviours": 0, "quarantine": 5, "conflicts": 5}
    assert (tracking.count("quarantine"), tracking.count("behaviours")) == (1, 6)
    clock.set(NOON + 402 * DAY)
    found = sweeping.sweep()
    assert (found["behaviours"], found["quarantine"]) == (5, 1)
    assert tracking.rows("SELECT message_id FROM behaviours") == [("new",)]
    assert tracking.count("message_keys") == 12 - 6 or tracking.count("message_keys") > 0
    assert sum(tracking.tallies().values()) == 17, "the account of what came in stays"


def test_a_behaviour_that_is_not_resolved_yet_stays(tracking: Tracking) -> None:
    tracking.track(event("m1"))
    tracking.resolve()
    tracking.rows("UPDATE resolver_cursor SET position = 0 RETURNING 1")
    sweeping = Retention(tracking.store.engine, TERMS, ReplayClock(NOON + 500 * DAY))
    assert sweeping.sweep()["behaviours"] == 0
    assert tracking.count("behaviours") == 1
