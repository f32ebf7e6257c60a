"""Publishing menus."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.menu import Menu, MenuItem, menu_key


@dataclass(frozen=True, slots=True)
class PublishMenu:
    """`tenant` is that of the caller; `active_from` is now where nothing is said."""

    tenant: str
    app: str
    menu_id: str
    items: tuple[MenuItem, ...]
    active_from: datetime | None


def publish_menu(command: PublishMenu, work: UnitOfWork) -> Menu:
    """Raises MenuTooLarge, DuplicateMenuKey, FieldRequired, BadFormat, OUT_OF_RANGE."""
    id = menu_key(work.context.tenant, command.app, command.menu_id)
    menu = work.find(Menu, id)
    if menu is None:
        menu = Menu(id, work.context.tenant, command.app, command.menu_id)
        work.add(menu)
    menu.publish(command.items, command.active_from or work.now)
    return menu


HANDLERS: Final[Handlers] = (
    handler(PublishMenu, publish_menu, loads=lambda it: [menu_key(it.tenant, it.app, it.menu_id)]),
)
