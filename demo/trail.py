"""What people do before they buy: they scan, see ads or subscribe, and read the pages they came to.

Nothing is random: every choice is a roll of `bucket`, so that each run tells the same story. Some reports come late, too
late or twice, because reports do.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final

from demo.buckets import bucket
from demo.calendar import instant
from demo.people import Person

_OF_10_000_TWICE: Final = 200
_OF_10_000_LATE: Final = 100
_OF_10_000_TOO_LATE: Final = 10
_LATE: Final = timedelta(days=3)
_TOO_LATE: Final = timedelta(days=40)

_NIGHT_OWLS: Final = 600
_SCANNERS: Final = 4_000
_SCANNERS_AND_AD_VIEWERS: Final = 7_500
_CLICKERS: Final = 5_000
_NIGHTS: Final = 6

_STRAY_REPORTS: Final = 10
_FIRST_STRAY_DAY: Final = date(1997, 1, 1)


@dataclass(frozen=True, slots=True)
class Touch:
    """One report of something somebody did: who (an anonymous id, or what a broken program sends), when, where and what."""

    message_id: str
    event_type: str
    channel: str
    occurred_at: datetime
    received_at: datetime
    value: str
    namespace: str = "anonymous_id"
    content: str = ""
    page_view: str = ""
    code: str = ""
    staff: str = ""
    properties: str = ""


def trail(people: Iterable[Person]) -> list[Touch]:
    """All reports in the order in which they are received; one that is sent twice is there twice."""
    touches = [twin for it in _everything(people) for twin in _deliveries(it)]
    touches.sort(key=lambda it: it.received_at)
    return touches


def first_day_of(person: Person) -> date:
    """The day on which a person first hears of the shop."""
    return person.first_day - timedelta(days=_Reader.of(person).lead)


@dataclass(frozen=True, slots=True)
class _Reader:
    """How a person reads: from `lead` days before the first order on, once a day for `visits` days, at `hour`."""

    lead: int
    visits: int
    hour: int

    @classmethod
    def of(cls, person: Person) -> "_Reader":
        lead = 1 + person.roll("lead") % 14
        if person.roll("night") < _NIGHT_OWLS:
            return cls(lead + _NIGHTS, _NIGHTS, 0)
        return cls(lead, min(1 + person.roll("opens") % 4, lead), 8 + person.roll("hr") % 14)


def _everything(people: Iterable[Person]) -> Iterator[Touch]:
    yield from _strays()
    for person in people:
        reader = _Reader.of(person)
        yield from _entry(person, reader)
        yield from _reading(person, reader)
        if person.has_second_device:
            yield _peek_on_second_device(person)


def _deliveries(touch: Touch) -> Iterator[Touch]:
    """`touch` as often, and as late, as it is delivered."""
    if bucket("toolate", touch.message_id) < _OF_10_000_TOO_LATE:
        touch = replace(touch, received_at=touch.occurred_at + _TOO_LATE)
    elif bucket("late", touch.message_id) < _OF_10_000_LATE:
        touch = replace(touch, received_at=touch.occurred_at + _LATE)
    yield touch
    if bucket("dup", touch.message_id) < _OF_10_000_TWICE:
        yield touch


def _entry(person: Person, reader: _Reader) -> Iterator[Touch]:
    """How a person first hears of the shop: by a code in a store, an ad, or the official account and its menu."""
    at = instant(person.first_day - timedelta(days=reader.lead), time(reader.hour, 30))
    entry, source = f"{person.key}:entry", person.roll("src")
    if source < _SCANNERS:
        code, staff = f"ST{person.roll('store') % 20}", f"G{person.roll('staff') % 60}"
        yield Touch(entry, "qr_scanned", "oa", at, at, person.anonymous_id(), code=code, staff=staff)
    elif source < _SCANNERS_AND_AD_VIEWERS:
        yield Touch(entry, "ad_exposed", "ad", at, at, person.anonymous_id())
    else:
        yield Touch(entry, "oa_subscribed", "oa", at, at, person.anonymous_id())
        menu = f'{{"menu_key":"{person.roll("menu") % 9}"}}'
        yield Touch(f"{person.key}:menu", "menu_clicked", "oa", at, at, person.anonymous_id(), properties=menu)


def _reading(person: Person, reader: _Reader) -> Iterator[Touch]:
    """A view and some engagement on each day of reading; many click the buy button on the last one."""
    anonymous_id, content = person.anonymous_id(), _content(person)
    start = person.first_day - timedelta(days=reader.lead)
    for visit in range(reader.visits):
        view = f"{person.key}:pv:{visit}"
        at = instant(start + timedelta(days=visit), time(reader.hour, 31))
        yield Touch(
            f"{person.key}:view:{visit}", "content_viewed", "h5", at, at, anonymous_id, content=content, page_view=view
        )
        later = at + timedelta(minutes=5)
        dwell = f'{{"active_buckets":{person.roll(f"dwell:{visit}") % 30}}}'
        yield Touch(
            f"{person.key}:eng:{visit}",
            "content_engaged",
            "h5",
            later,
            later,
            anonymous_id,
            content=content,
            page_view=view,
            properties=dwell,
        )
    if person.roll("btn") < _CLICKERS:
        yield _click(person, at + timedelta(minutes=2), view)


def _click(person: Person, at: datetime, view: str) -> Touch:
    return Touch(
        f"{person.key}:btn",
        "button_clicked",
        "h5",
        at,
        at,
        person.anonymous_id(),
        content=_content(person),
        page_view=view,
        properties='{"button_id":"BTN_BUY"}',
    )


def _peek_on_second_device(person: Person) -> Touch:
    at = instant(person.first_day - timedelta(days=1), time(15))
    return Touch(
        f"{person.key}:dev2",
        "content_viewed",
        "h5",
        at,
        at,
        person.anonymous_id(1),
        content=_content(person),
        page_view=f"{person.key}:pv:dev2",
    )


def _content(person: Person) -> str:
    return f"H5-{person.roll('cont') % 12}"


def _strays() -> Iterator[Touch]:
    """Reports of a program that lost its user and says "null"."""
    for number in range(_STRAY_REPORTS):
        at = instant(_FIRST_STRAY_DAY + timedelta(days=number), time(12))
        page_view = f"stray:pv:{number}"
        yield Touch(
            f"stray:{number}", "content_viewed", "h5", at, at, "null", "user_id", content="H5-0", page_view=page_view
        )
