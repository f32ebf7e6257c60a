"""Menus (TR-5): versions that follow one another, and clicks that count for what was shown when they happened."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from chassis.errors import BadFormat, FieldRequired, ValueOutOfRange
from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from services.tracking.application.menu_commands import PublishMenu
from services.tracking.domain.errors import DuplicateMenuKey, MenuTooLarge
from services.tracking.domain.menu import MenuItem, MenuItemType
from services.tracking.read_models.menus import ItemClicks, menu_clicks
from tests.tracking.audience import Audience
from tests.tracking.definitions import Studio
from tests.tracking.touches import NOON, event


def item(key: str, parent: str = "", name: str = "") -> MenuItem:
    return MenuItem(key, parent, name or key, MenuItemType.CLICK)


def menu(*items: MenuItem, menu_id: str = "", at: datetime | None = None) -> PublishMenu:
    return PublishMenu("acme", "wx1", menu_id, items, at)


def click(message: str, person: str, key: str, at: datetime = NOON, **more: Any) -> TrackedEvent:
    properties = orjson.dumps({"menu_key": key, "appid": "wx1", **more})
    return event(message, "menu_clicked", at, person, properties, source_key="oa")


def clicks(audience: Audience, menu_id: str = "") -> list[ItemClicks]:
    start, end = NOON - timedelta(days=60), NOON + timedelta(days=60)
    return audience.ask(lambda rows: menu_clicks(rows, "wx1", menu_id, start, end))


def test_versions_follow_one_another(studio: Studio) -> None:
    studio.tell(menu(item("a")), menu(item("b"), at=NOON + timedelta(days=1)))
    assert studio.tell(menu(item("b"), at=NOON + timedelta(days=1))).menu_version == 2, "the same again"
    with pytest.raises(ValueOutOfRange):
        studio.tell(menu(item("c"), at=NOON + timedelta(hours=1)))
    assert [type(it).__name__ for it in studio.published] == ["MenuPublished", "MenuPublished"]


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([item(str(n)) for n in range(4)], MenuTooLarge),
        ([item("top"), *(item(str(n), "top") for n in range(6))], MenuTooLarge),
        ([item("a"), item("a")], DuplicateMenuKey),
        ([item("a"), item("b", "a"), item("c", "b")], BadFormat),
        ([item("a", "nowhere")], BadFormat),
        ([], FieldRequired),
    ],
)
def test_what_no_account_can_have_is_refused(studio: Studio, items: list[MenuItem], error: type[Exception]) -> None:
    with pytest.raises(error):
        studio.tell(menu(*items))
    assert studio.events == []


def test_control_the_largest_menu_is_taken(studio: Studio) -> None:
    tops = [item(f"t{n}") for n in range(3)]
    studio.tell(menu(*tops, *(item(f"{top.key}.{n}", top.key) for top in tops for n in range(5))))


def test_ac24_a_late_click_counts_for_what_was_shown_when_it_happened(audience: Audience) -> None:
    june = datetime(2026, 6, 1, tzinfo=UTC)
    audience.studio.tell(menu(item("P1", name="skincare")), menu(item("P1", name="makeup"), at=june))
    audience.tracking.now = june + timedelta(days=2)
    audience.do(click("late", "ann", "P1", june - timedelta(days=2)), click("new", "ann", "P1", june))
    assert [(it.version, it.name, it.clicks) for it in clicks(audience)] == [(1, "skincare", 1), (2, "makeup", 1)]


def test_ac103_the_item_above_has_the_clicks_of_those_below(audience: Audience) -> None:
    """40 clicks on 3 children (20/15/5) by 31 people; personalised menu 2 keeps its own counts."""
    items = (item("Products"), item("A", "Products"), item("B", "Products"), item("C", "Products"), item("About"))
    audience.studio.tell(menu(*items), menu(*items, menu_id="2"))
    keys = ["A"] * 20 + ["B"] * 15 + ["C"] * 5
    events = [click(f"m{n}", f"p{n % 31}", key) for n, key in enumerate(keys)]
    audience.do(
        *events,
        *events[:7],
        *(click(f"two{n}", f"p{n}", "A", menu_id="2") for n in range(3)),
        click("opened", "p1", "Products"),
        click("unknown", "p1", "Z"),
    )
    found = {it.key: (it.clicks, it.people) for it in clicks(audience)}
    assert found == {"Products": (40, 31), "A": (20, 20), "B": (15, 15), "C": (5, 5), "About": (0, 0)}
    assert {it.key: it.clicks for it in clicks(audience, "2")}["Products"] == 3
    merge = audience.merge("p0", "p1")
    assert next(it for it in clicks(audience) if it.key == "Products").people == 30
    audience.unmerge(merge, "p0", "p1")
    assert {it.key: (it.clicks, it.people) for it in clicks(audience)} == found


def test_a_rebuild_gives_the_menus_of_live_running(audience: Audience) -> None:
    audience.studio.tell(menu(item("a")), menu(item("b"), at=NOON + timedelta(days=1)))
    audience.settle()
    audience.studio.tell(menu(item("c"), item("d"), at=NOON + timedelta(days=2)), menu(item("a"), menu_id="2"))
    audience.settle()
    live = audience.projector.canonical_hash("menus")
    audience.rebuild("menus")
    assert audience.projector.canonical_hash("menus") == live
