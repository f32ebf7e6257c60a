"""The night owl by the letter of the specification: slow, and without a line of the product's evaluation."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.tagging.domain.sessions import Visit, event

START = datetime(2025, 2, 20, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Answer(NamedTuple):
    """Whether the customer is a night owl, and whether there ever was an instant at which it was one."""

    now: bool
    ever: bool


def sessions(events: Sequence[Visit]) -> list[Visit]:
    """Sessions one event at a time: each event belongs to the session of another one within 30 minutes, or opens one."""
    found: list[Visit] = []
    for it in sorted(events, key=lambda it: (it.start, it.offset is None, it.offset or 0)):
        mine = [k for k, s in enumerate(found) if s.family == it.family and it.start - s.end <= 30 * MINUTE]
        if mine:
            found[mine[-1]] = found[mine[-1]]._replace(end=it.start)
        else:
            found.append(it)
    return sorted(found, key=lambda it: (it.start, it.family))


def night_owl(
    events: Sequence[Visit], zone: ZoneInfo, now: datetime, *, hysteresis: bool = True, nights_by_date: bool = False
) -> Answer:
    """Goes through every instant at which anything could change, counting the window from scratch each time."""
    opened = [it for it in sessions(events) if it.start <= now]
    instants = {it.start for it in opened} | {now}
    for it in opened:
        local = it.start.astimezone(zone).date() + timedelta(days=30)
        instants.add(datetime.combine(local, time(), zone).astimezone(UTC))
    tagged = ever = False
    for instant in sorted(it for it in instants if it <= now):
        first = datetime.combine(instant.astimezone(zone).date() - timedelta(days=29), time(), zone)
        inside = [it for it in opened if first <= it.start <= instant]
        nights = [n for n in (_night(it, zone, nights_by_date) for it in inside) if n]
        share = len(nights) / len(inside) if inside else 0
        enters = len(nights) >= 5 and len(set(nights)) >= 3 and share >= 0.5
        leaves = not enters and (not hysteresis or len(nights) < 3 or share < 0.4)
        tagged = enters or (tagged and not leaves)
        ever = ever or tagged
    return Answer(tagged, ever)


def _night(it: Visit, zone: ZoneInfo, by_date: bool) -> str | None:
    if it.offset is None:
        local = it.start.astimezone(zone).replace(tzinfo=None)
    else:
        local = it.start.replace(tzinfo=None) + timedelta(minutes=it.offset)
    if local.time() >= time(23):
        return str(local.date())
    if local.time() < time(5):
        return str(local.date() if by_date else local.date() - timedelta(days=1))
    return None


def random_event(random: Random) -> Visit:
    """Somewhere in two days, so that many are near each other."""
    at = START + random.randint(0, 2 * 24 * 12) * 5 * MINUTE
    return event(random.choice(("h5", "web")), at, random.choice((None, None, 480)))


def random_history(random: Random) -> list[Visit]:
    """A person with habits over some months, across the change to daylight saving time."""
    hours = random.choices(range(24), k=3) + random.choices((22, 23, 0, 1, 2, 4, 5), k=random.randint(0, 6))
    events = []
    for _ in range(random.randint(0, 60)):
        day = random.choice((random.randint(0, 90), random.randint(10, 30)))
        at = START + timedelta(days=day, hours=random.choice(hours) + random.choice((0, 5, -8)))
        at += random.randint(0, 59) * MINUTE
        events.append(event(random.choice(("h5", "h5", "web")), at, random.choice((None, None, None, 480, -300))))
    return events


def random_instant(random: Random) -> datetime:
    return START + timedelta(minutes=random.randint(0, 150 * 24 * 60))
