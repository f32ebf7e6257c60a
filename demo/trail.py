"""The whole trail (G1 to G10), beginning with what people do before they buy: scan, see ads or subscribe, and read.

Nothing is random: every choice is a roll of `bucket`, so that each run tells the same story.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from typing import Final

from demo.buyers import purchase_days, reviews, sharers, shares, survey
from demo.calendar import instant
from demo.dataset import Order
from demo.people import Person, Sighting
from demo.prospects import Prospect, prospect_touches
from demo.touches import ACCOUNT, H5, Touch, deliveries

_NIGHT_OWLS: Final = 600
_SCANNERS: Final = 4_000
_SCANNERS_AND_AD_VIEWERS: Final = 7_500
_CLICKERS: Final = 5_000
_NIGHTS: Final = 6

_STRAY_REPORTS: Final = 10
_FIRST_STRAY_DAY: Final = date(1997, 1, 1)


def trail(people: Sequence[Person], orders: Sequence[Order], strangers: Iterable[Prospect]) -> list[Touch]:
    """All reports in the order in which they are received; one that is sent twice is there twice."""
    touches = list(deliveries(list(_everything(people, orders, strangers))))
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


def _everything(people: Sequence[Person], orders: Sequence[Order], strangers: Iterable[Prospect]) -> Iterator[Touch]:
    bought = purchase_days(orders)
    sharing = sharers(people, bought)
    yield from _strays()
    for person in people:
        reader = _Reader.of(person)
        yield from _entry(person, reader)
        yield from _reading(person, reader)
        if person.has_second_device:
            yield _peek_on_second_device(person)
    yield from reviews(orders)
    yield from survey(people)
    yield from shares(sharing, bought)
    yield from prospect_touches(strangers, sharing)


def _entry(person: Person, reader: _Reader) -> Iterator[Touch]:
    """How a person first hears of the shop: by a code in a store, an ad, or the official account and its menu."""
    at = instant(person.first_day - timedelta(days=reader.lead), time(reader.hour, 30))
    entry, source = f"{person.key}:entry", person.roll("src")
    if source < _SCANNERS:
        code, staff = f"ST{person.roll('store') % 20}", f"G{person.roll('staff') % 60}"
        yield Touch(entry, "qr_scanned", ACCOUNT, at, at, _browser(person), code=code, staff=staff)
    elif source < _SCANNERS_AND_AD_VIEWERS:
        yield Touch(entry, "ad_exposed", "ad", at, at, _browser(person))
    else:
        yield Touch(entry, "oa_subscribed", ACCOUNT, at, at, _browser(person))
        menu = f'{{"menu_key":"{person.roll("menu") % 9}"}}'
        yield Touch(f"{person.key}:menu", "menu_clicked", ACCOUNT, at, at, _browser(person), properties=menu)


def _reading(person: Person, reader: _Reader) -> Iterator[Touch]:
    """A view and some engagement on each day of reading; many click the buy button on the last one."""
    who, content = _browser(person), person.content
    start = person.first_day - timedelta(days=reader.lead)
    for visit in range(reader.visits):
        view = f"{person.key}:pv:{visit}"
        at = instant(start + timedelta(days=visit), time(reader.hour, 31))
        yield Touch(f"{person.key}:view:{visit}", "content_viewed", H5, at, at, who, content=content, page_view=view)
        later = at + timedelta(minutes=5)
        dwell = f'{{"active_buckets":{person.roll(f"dwell:{visit}") % 30}}}'
        yield Touch(
            f"{person.key}:eng:{visit}",
            "content_engaged",
            H5,
            later,
            later,
            who,
            content=content,
            page_view=view,
            properties=dwell,
        )
    if person.roll("btn") < _CLICKERS:
        at, button = at + timedelta(minutes=2), '{"button_id":"BTN_BUY"}'
        clicked = f"{person.key}:btn"
        yield Touch(clicked, "button_clicked", H5, at, at, who, content=content, page_view=view, properties=button)


def _peek_on_second_device(person: Person) -> Touch:
    at = instant(person.first_day - timedelta(days=1), time(15))
    return Touch(
        f"{person.key}:dev2",
        "content_viewed",
        H5,
        at,
        at,
        _browser(person, 1),
        content=person.content,
        page_view=f"{person.key}:pv:dev2",
    )


def _browser(person: Person, device: int = 0) -> tuple[Sighting, ...]:
    return (Sighting("anonymous_id", person.anonymous_id(device)),)


def _strays() -> Iterator[Touch]:
    """Reports of a program that lost its user and says "null"."""
    nobody = (Sighting("user_id", "null"),)
    for number in range(_STRAY_REPORTS):
        at = instant(_FIRST_STRAY_DAY + timedelta(days=number), time(12))
        page_view = f"stray:pv:{number}"
        yield Touch(f"stray:{number}", "content_viewed", H5, at, at, nobody, content="H5-0", page_view=page_view)
