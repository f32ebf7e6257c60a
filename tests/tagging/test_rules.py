"""The night owl (AC-39, AC-40), and its course through time beside a naive evaluator."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.rules import NEVER, RULES, Course, Evidence, SessionHoursRule, Threshold, follow
from services.tagging.domain.sessions import Visit, event, join, sessions
from tests.tagging import reference

NIGHT_OWL = RULES[0]
SHANGHAI = Calendar.of("Asia/Shanghai")
NEW_YORK = Calendar.of("America/New_York")


def at(day: str, clock: str, calendar: Calendar = SHANGHAI) -> datetime:
    local = datetime.combine(date.fromisoformat(day), time.fromisoformat(clock), calendar.zone)
    return local.astimezone(UTC)


def visits(*moments: datetime) -> list[Visit]:
    return sessions([event("h5", it, None) for it in moments])


def course(moments: Sequence[datetime], now: datetime, calendar: Calendar = SHANGHAI) -> Course:
    return follow(NIGHT_OWL, visits(*moments), calendar, now)


NIGHTS = [
    at("2025-06-01", "23:30"),
    at("2025-06-02", "02:00"),  # same night
    at("2025-06-03", "23:45"),
    at("2025-06-05", "00:10"),
    at("2025-06-05", "03:00"),  # same night
    at("2025-06-08", "04:00"),
]
DAYS = [at(f"2025-06-{day:02}", "14:00") for day in (2, 4, 6, 8)]
TWO_WEEKS_LATER = [at(f"2025-06-{day}", "14:00") for day in (10, 13, 17, 20)]


def test_ac_39_comes_with_60_percent_stays_at_43_and_goes_at_36() -> None:
    ten = [*NIGHTS, *DAYS]
    tagged = course(ten, at("2025-06-09", "12:00"))
    assert tagged.assigned

    fourteen = [*ten, *TWO_WEEKS_LATER]
    still = course(fourteen, at("2025-06-21", "12:00"))
    assert still.assigned
    assert still.since == tagged.since

    fifteen = [*fourteen, at("2025-06-30", "14:00")]
    before = course(fifteen, at("2025-06-30", "23:59"))
    assert before.assigned  # 6 of 15 are 40 %
    assert before.next_change == at("2025-07-01", "00:00")
    gone = course(fifteen, at("2025-07-01", "00:00"))
    assert not gone.assigned
    assert gone.evidence == Evidence(sessions=14, matching=5, days=4)
    assert gone.first == tagged.since


def test_ac_40_a_session_after_the_skipped_hour_counts_once_for_the_same_night() -> None:
    def local(day: str, clock: str) -> datetime:
        return at(day, clock, NEW_YORK)

    moments = [
        local("2025-03-06", "23:30"),
        local("2025-03-07", "23:30"),
        local("2025-03-08", "23:30"),
        local("2025-03-09", "01:30"),
        local("2025-03-09", "03:10"),  # 40 minutes later: 02:00 to 03:00 is skipped
    ]
    assert moments[4] - moments[3] == timedelta(minutes=40)
    found = course(moments, local("2025-03-09", "12:00"), NEW_YORK)
    assert found.assigned
    assert found.evidence == Evidence(sessions=5, matching=5, days=3)
    assert found.since == moments[4]
    without = course(moments[:4], local("2025-03-09", "12:00"), NEW_YORK)
    assert without == NEVER


def test_the_offset_of_the_device_beats_the_zone_of_the_tenant() -> None:
    noon = [event("h5", at(f"2025-06-{day:02}", "12:00"), -8 * 60) for day in range(1, 6)]  # 20:00 there, 04:00Z
    assert not follow(NIGHT_OWL, sessions(noon), SHANGHAI, at("2025-06-06", "00:00")).assigned
    night = [it._replace(offset=-5 * 60) for it in noon]  # 23:00 there
    assert follow(NIGHT_OWL, sessions(night), SHANGHAI, at("2025-06-06", "00:00")).assigned


def test_23_00_is_night_and_05_00_is_not() -> None:
    def owl(clock: str) -> bool:
        return course([at(f"2025-06-{day:02}", clock) for day in range(1, 6)], at("2025-06-07", "12:00")).assigned

    assert [owl(it) for it in ("22:59", "23:00", "04:59", "05:00")] == [False, True, True, False]


def test_ac_21_sessions_end_after_more_than_30_minutes_and_do_not_split_at_midnight() -> None:
    found = visits(at("2025-06-01", "23:50"), at("2025-06-02", "00:10"), at("2025-06-02", "00:41"))
    assert [(it.start, it.end) for it in found] == [
        (at("2025-06-01", "23:50"), at("2025-06-02", "00:10")),
        (at("2025-06-02", "00:41"), at("2025-06-02", "00:41")),
    ]


def test_visits_of_nodes_joined_give_the_sessions_of_all_their_events() -> None:
    random = Random(1)
    for _ in range(300):
        events = [reference.random_event(random) for _ in range(random.randint(1, 25))]
        nodes: list[list[Visit]] = [[] for _ in range(3)]
        for it in events:
            node = random.randrange(3)
            nodes[node] = join([*nodes[node], it])
        assert sessions([it for node in nodes for it in node]) == reference.sessions(events)


def test_the_course_agrees_with_a_naive_evaluator_wherever_the_clock_jumps() -> None:
    random = Random(20)
    owls = 0
    for _ in range(120):
        zone = random.choice(("Asia/Shanghai", "America/New_York", "UTC"))
        events = reference.random_history(random)
        shuffled = random.sample(events, len(events))
        for now in sorted(reference.random_instant(random) for _ in range(4)):
            found = follow(NIGHT_OWL, sessions(shuffled), Calendar.of(zone), now)
            expected = reference.night_owl(events, ZoneInfo(zone), now)
            assert (found.assigned, found.first is not None) == (expected.now, expected.ever)
            owls += expected.ever
    assert 50 < owls < 430, "the histories must be neither all owls nor none"


def test_nothing_changes_before_next_change_and_then_it_does() -> None:
    random = Random(3)
    changes = 0
    for _ in range(200):
        events, now = sessions(reference.random_history(random)), reference.random_instant(random)
        found = follow(NIGHT_OWL, events, NEW_YORK, now)
        if found.next_change is None:
            later = follow(NIGHT_OWL, events, NEW_YORK, now + timedelta(days=4000))
            assert later.assigned == found.assigned
            continue
        changes += 1
        just_before = follow(NIGHT_OWL, events, NEW_YORK, found.next_change - timedelta(microseconds=1))
        assert just_before.assigned == found.assigned
        assert follow(NIGHT_OWL, events, NEW_YORK, found.next_change).assigned != found.assigned
    assert changes > 20


def test_the_naive_evaluator_would_notice_a_missing_hysteresis() -> None:
    """Negative control: a rule that leaves as soon as it could not enter differs somewhere."""
    events = [event("h5", it, None) for it in (*NIGHTS, *DAYS, *TWO_WEEKS_LATER)]
    now = at("2025-06-21", "12:00")
    assert reference.night_owl(events, SHANGHAI.zone, now).now
    assert not reference.night_owl(events, SHANGHAI.zone, now, hysteresis=False).now


def test_the_naive_evaluator_would_notice_nights_cut_at_midnight() -> None:
    """Negative control: without the hours after midnight belonging to the night before, AC-40 has four nights."""
    local = [at("2025-06-01", "23:30"), at("2025-06-02", "00:30"), at("2025-06-02", "23:30")]
    events = [event("h5", it, None) for it in (*local, at("2025-06-03", "00:30"), at("2025-06-03", "01:30"))]
    now = at("2025-06-04", "12:00")
    assert not follow(NIGHT_OWL, sessions(events), SHANGHAI, now).assigned
    assert reference.night_owl(events, SHANGHAI.zone, now, nights_by_date=True).now


def test_a_rule_for_other_hours_is_one_more_entry() -> None:
    lunch = SessionHoursRule(
        tag="lunch_break_reader",
        window_days=14,
        from_hour=12,
        to_hour=14,
        enter=Threshold(sessions=3, days=3, percent=60),
        stay=Threshold(sessions=1, days=0, percent=30),
    )
    moments = [at("2025-06-02", "12:10"), at("2025-06-03", "13:59"), at("2025-06-04", "12:00")]
    found = follow(lunch, visits(*moments), SHANGHAI, at("2025-06-05", "09:00"))
    assert found.assigned
    assert found.next_change == at("2025-06-18", "00:00")
    late = [*moments[:2], at("2025-06-04", "14:00")]
    assert not follow(lunch, visits(*late), SHANGHAI, at("2025-06-05", "09:00")).assigned
