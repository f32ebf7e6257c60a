"""Menus of official accounts (TR-5): what each item stood for at each time, so that late clicks count for what was clicked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import BadFormat, FieldRequired, ValueOutOfRange
from services.tracking.domain.errors import DuplicateMenuKey, MenuTooLarge

MOST_TOP: Final = 3
MOST_BELOW: Final = 5


class MenuItemType(StrEnum):
    """What a click does."""

    CLICK = "CLICK"
    VIEW = "VIEW"
    MINIPROGRAM = "MINIPROGRAM"


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One item, below that of the key `parent` ("": at the top); `weight` is the interest that a click tells of."""

    key: str
    parent: str
    name: str
    type: MenuItemType
    url: str = ""
    interest_tag: str = ""
    product_category: str = ""
    weight: int = 1


class Menu(Aggregate):
    """One menu of an account: the one for everybody, or a personalised one with an id of its own; one version at a time."""

    TOPIC = "tracking.Menu"

    class Opened(InitialEvent):
        TOPIC = "tracking.MenuOpened"
        tenant: str
        app: str
        menu_id: str

    class Published(Event):
        """From `active_from` on the menu has these items."""

        TOPIC = "tracking.MenuPublished"
        app: str
        menu_id: str
        version: int
        items: tuple[MenuItem, ...]
        active_from: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, app: str, menu_id: str) -> None:
        self.tenant = tenant
        self.app = app
        self.menu_id = menu_id
        self.menu_version = 0
        self.items: tuple[MenuItem, ...] = ()
        self.active_from: datetime | None = None

    def publish(self, items: tuple[MenuItem, ...], active_from: datetime) -> None:
        """Raises MenuTooLarge, DuplicateMenuKey, FieldRequired, BadFormat, and OUT_OF_RANGE unless it comes after the one before."""
        check_items(items)
        if self.active_from is not None and active_from <= self.active_from:
            if (items, active_from) == (self.items, self.active_from):
                return
            raise ValueOutOfRange("after the version before", field="active_time")
        self._published(self.app, self.menu_id, self.menu_version + 1, items, active_from)

    @event(Published)
    def _published(
        self, app: str, menu_id: str, version: int, items: tuple[MenuItem, ...], active_from: datetime
    ) -> None:
        self.menu_version = version
        self.items = items
        self.active_from = active_from


def menu_key(tenant: str, app: str, menu_id: str) -> UUID:
    """The id of the one menu of this account with this id."""
    return natural_id(tenant, "menu", app, menu_id)


def check_items(items: Sequence[MenuItem]) -> None:
    """Raise MenuTooLarge, DuplicateMenuKey, FieldRequired, BadFormat for what no account can have."""
    keys = [it.key for it in items]
    if not keys:
        raise FieldRequired(field="items")
    if len(set(keys)) < len(keys):
        raise DuplicateMenuKey(field="items")
    sizes = Counter(it.parent for it in items)
    top = {it.key for it in items if not it.parent}
    if sizes[""] > MOST_TOP or any(size > MOST_BELOW for parent, size in sizes.items() if parent):
        raise MenuTooLarge(f"at most {MOST_TOP} items with {MOST_BELOW} below each", field="items")
    if not sizes.keys() - {""} <= top:
        raise BadFormat("items are below items of the top", field="items")
