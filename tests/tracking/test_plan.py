"""The tracking plan (TR-2): types of a brand's own, which only grow, and what the intake makes of them."""

import asyncio
from typing import Any

import orjson
import pytest

from chassis.context import Context
from chassis.errors import BadFormat, FieldTooLong
from chassis.event_store import MemoryEventStore
from scrm.tracking.v1.tracking_service_pb2 import TrackBatchRequest
from services.tracking.adapters.ingest_rows import microseconds
from services.tracking.adapters.plan_book import FRESH_SECONDS, PlanBook
from services.tracking.adapters.submission import Reader
from services.tracking.application.plan_commands import (
    DecideUnplanned,
    DeprecateEventType,
    RegisterEventType,
    UpdateEventType,
)
from services.tracking.domain.errors import EventTypeExists, EventTypeLimit, EventTypeNotFound, IncompatibleSchema
from services.tracking.domain.plan import (
    MOST_TYPES,
    Category,
    EventTypeDef,
    Plan,
    PropertyDef,
    PropertyType,
    Unplanned,
)
from tests.tracking.definitions import Studio
from tests.tracking.touches import NOON, Tracking, event

TEXT, INT, NUMBER = PropertyType.TEXT, PropertyType.INT, PropertyType.NUMBER

TASTING = EventTypeDef(
    "tasting_booked",
    Category.N,
    (
        PropertyDef("wine", TEXT, required=True),
        PropertyDef("seats", INT),
        PropertyDef("mood", TEXT, enum=("dry", "sweet")),
        PropertyDef("phone", TEXT, pii=True, required=True),
    ),
)
GOOD: dict[str, Any] = {"wine": "Merlot", "phone": "13800000001"}


def registered(*definitions: EventTypeDef) -> list[RegisterEventType]:
    return [RegisterEventType("acme", it) for it in definitions]


def updated(*properties: PropertyDef, category: Category = Category.N) -> UpdateEventType:
    return UpdateEventType("acme", TASTING.name, category, properties)


def said_of(plan: Plan, event_type: str, properties: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The outcome by that plan, and the properties as they are kept."""
    reader = Reader(Context("acme", "test"), microseconds(NOON), plan=plan)
    tracked = event("m", event_type, properties=orjson.dumps(properties))
    read = reader.read(TrackBatchRequest(events=[tracked]))
    [verdict] = read.verdicts
    said = "ACCEPTED" if verdict is None else " ".join(filter(None, (verdict.outcome, verdict.reason, verdict.field)))
    return said, orjson.loads(read.events[0].properties_json)


PLAN = Plan({TASTING.name: TASTING})


def test_a_type_is_registered_added_to_and_given_up(studio: Studio) -> None:
    studio.tell(*registered(TASTING))
    more = (*TASTING.properties, PropertyDef("glass", TEXT))
    assert studio.tell(updated(*more)).version == 2
    assert studio.tell(DeprecateEventType("acme", TASTING.name)).deprecated
    assert studio.events == ["Opened", "EventTypeRegistered", "EventTypeUpdated", "EventTypeDeprecated"]
    assert [type(it).__name__ for it in studio.published] == studio.events[1:]


def test_what_is_said_again_changes_nothing(studio: Studio) -> None:
    studio.tell(*registered(TASTING, TASTING), updated(*TASTING.properties))
    studio.tell(DeprecateEventType("acme", TASTING.name), DeprecateEventType("acme", TASTING.name))
    assert studio.events == ["Opened", "EventTypeRegistered", "EventTypeDeprecated"]


WINE, SEATS, MOOD, PHONE = TASTING.properties


@pytest.mark.parametrize(
    "change",
    [
        updated(SEATS, MOOD, PHONE),  # one is gone
        updated(WINE, PropertyDef("seats", NUMBER), MOOD, PHONE),
        updated(WINE, PropertyDef("seats", INT, required=True), MOOD, PHONE),
        updated(WINE, SEATS, PropertyDef("mood", TEXT, enum=("dry",)), PHONE),
        updated(PropertyDef("wine", TEXT, required=True, enum=("Merlot",)), SEATS, MOOD, PHONE),
        updated(WINE, SEATS, MOOD, PropertyDef("phone", TEXT, required=True)),
        updated(*TASTING.properties, PropertyDef("glass", TEXT, required=True)),
        updated(*TASTING.properties, category=Category.B),
    ],
)
def test_what_would_make_good_events_bad_is_refused(studio: Studio, change: UpdateEventType) -> None:
    studio.tell(*registered(TASTING))
    with pytest.raises(IncompatibleSchema):
        studio.tell(change)


def test_control_what_only_allows_more_is_taken(studio: Studio) -> None:
    studio.tell(*registered(TASTING))
    wider = PropertyDef("mood", TEXT, enum=("dry", "sweet", "sour"))
    assert studio.tell(updated(PropertyDef("wine", TEXT), SEATS, wider, PHONE)).version == 2
    assert studio.tell(updated(PropertyDef("wine", TEXT), SEATS, PropertyDef("mood", TEXT), PHONE)).version == 3


def test_names_and_definitions_are_checked(studio: Studio) -> None:
    with pytest.raises(EventTypeExists):
        studio.tell(*registered(EventTypeDef("content_viewed", Category.I, ())))
    studio.tell(*registered(TASTING))
    with pytest.raises(EventTypeExists):
        studio.tell(*registered(EventTypeDef(TASTING.name, Category.I, ())))
    with pytest.raises(EventTypeNotFound):
        studio.tell(DeprecateEventType("acme", "unheard_of"))
    for wrong in (PropertyDef("n", INT, enum=("1",)), PropertyDef("n", INT, pii=True)):
        with pytest.raises(BadFormat):
            studio.tell(*registered(EventTypeDef("a", Category.I, (wrong,))))
    with pytest.raises(BadFormat):
        studio.tell(*registered(EventTypeDef("a", Category.I, (WINE, WINE))))
    many = tuple(PropertyDef(f"p{n}", TEXT) for n in range(201))
    with pytest.raises(FieldTooLong):
        studio.tell(*registered(EventTypeDef("a", Category.I, many)))


def test_a_brand_has_so_many_types_and_no_more() -> None:
    studio = Studio(MemoryEventStore())
    studio.tell(*registered(*(EventTypeDef(f"t{n}", Category.I, ()) for n in range(MOST_TYPES))))
    with pytest.raises(EventTypeLimit):
        studio.tell(*registered(EventTypeDef("one_more", Category.I, ())))


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (GOOD, "ACCEPTED"),
        ({**GOOD, "seats": "2"}, "QUARANTINED SCHEMA properties.seats"),
        ({**GOOD, "mood": "sour"}, "QUARANTINED SCHEMA properties.mood"),
        ({**GOOD, "mood": "dry", "seats": 2}, "ACCEPTED"),
        ({"phone": "1"}, "QUARANTINED SCHEMA properties.wine"),
        ({"wine": "Merlot"}, "QUARANTINED SCHEMA properties.phone"),
        ({**GOOD, "phone": 1}, "QUARANTINED SCHEMA properties.phone"),
    ],
)
def test_events_are_judged_by_the_type_their_brand_registered(properties: dict[str, Any], expected: str) -> None:
    assert said_of(PLAN, TASTING.name, properties)[0] == expected


def test_what_is_declared_personal_is_checked_and_not_kept() -> None:
    said, kept = said_of(PLAN, TASTING.name, {**GOOD, "email": "jane@example.org", "glass": "big"})
    assert said == "ACCEPTED"
    assert kept == {"wine": "Merlot", "phone": "[personal]", "extra": {"glass": "big"}}


def test_control_what_is_not_declared_personal_is_stripped() -> None:
    plain = EventTypeDef("plain", Category.N, (PropertyDef("wine", TEXT),))
    assert said_of(Plan({"plain": plain}), "plain", GOOD)[1] == {"wine": "Merlot"}


def test_what_is_put_aside_stays_as_it_came_but_for_what_is_personal() -> None:
    said, kept = said_of(PLAN, TASTING.name, {"seats": "x", "phone": "138", "email": "jane@example.org", "glass": 1})
    assert said == "QUARANTINED SCHEMA properties.seats"
    assert kept == {"seats": "x", "phone": "[personal]", "glass": 1}


def test_other_types_are_put_aside_unless_the_brand_decided_otherwise() -> None:
    assert said_of(PLAN, "teleported", {})[0] == "QUARANTINED UNKNOWN_TYPE event_type"
    assert said_of(PLAN, "custom.teleported", {"to": 1}) == ("ACCEPTED", {"to": 1})
    open_plan = Plan({}, Unplanned.ACCEPT_UNPLANNED)
    assert said_of(open_plan, "teleported", {"to": 1}) == ("ACCEPTED", {"to": 1})


def test_a_registered_custom_type_is_judged_like_any_other() -> None:
    custom = EventTypeDef("custom.tasted", Category.N, (WINE,))
    assert said_of(Plan({custom.name: custom}), custom.name, {})[0] == "QUARANTINED SCHEMA properties.wine"


def test_a_change_holds_everywhere_after_two_seconds() -> None:
    store, now = MemoryEventStore(), [0.0]
    studio, book = Studio(store), PlanBook(store, lambda: now[0])
    assert asyncio.run(book.of("acme")).find(TASTING.name) is None
    studio.tell(*registered(TASTING), DecideUnplanned("acme", Unplanned.ACCEPT_UNPLANNED))
    assert asyncio.run(book.of("acme")).find(TASTING.name) is None
    now[0] += FRESH_SECONDS
    found = asyncio.run(book.of("acme"))
    assert found.find(TASTING.name) is not None
    assert found.accepts_unplanned
    assert asyncio.run(book.of("globex")).find(TASTING.name) is None
    now[0] += FRESH_SECONDS
    assert asyncio.run(book.of("acme")) is found, "what was found out about properties hangs on it"


def test_an_event_has_the_category_of_its_type_whoever_accepted_it(tracking: Tracking) -> None:
    """The resolver looks again where it does not know the type of what was accepted."""
    book = PlanBook(tracking.store, lambda: 0.0)
    assert asyncio.run(book.of("acme")).find(TASTING.name) is None
    Studio(tracking.store).tell(*registered(TASTING))
    tracking.plan = PLAN
    tracking.resolver._plans = book
    assert tracking.track(event("m1", TASTING.name, properties=orjson.dumps(GOOD))) == ["ACCEPTED"]
    tracking.resolve()
    [(category, properties)] = tracking.rows("SELECT category, properties FROM behaviours")
    assert (category, orjson.loads(properties)) == ("N", {"wine": "Merlot", "phone": "[personal]"})
