"""MenuService on the wire."""

from typing import Final

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.tracking.v1 import menu_pb2
from scrm.tracking.v1 import menu_service_pb2 as pb
from services.tracking.adapters import order_wire
from services.tracking.adapters.time_range import time_range
from services.tracking.application.menu_commands import PublishMenu
from services.tracking.application.published_touchpoints import menu_message
from services.tracking.domain.errors import MenuNotFound
from services.tracking.domain.menu import Menu, MenuItem, MenuItemType, menu_key
from services.tracking.read_models import menus

PREFIX: Final = "MENU_ITEM_TYPE_"


class MenuServicer:
    """Answers `scrm.tracking.v1.MenuService`."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def GetMenu(self, request: pb.GetMenuRequest, _: ServicerContext) -> pb.GetMenuResponse:
        try:
            menu = await self._bus.load(Menu, menu_key(current().tenant, request.appid, request.menu_id))
        except AggregateNotFound:
            raise MenuNotFound from None
        return pb.GetMenuResponse(menu=_message(menu))

    async def PublishMenu(self, request: pb.PublishMenuRequest, _: ServicerContext) -> pb.PublishMenuResponse:
        given = request.HasField("active_time")
        at = order_wire.required_instant(request.active_time, "active_time") if given else None
        items = tuple(_item(it) for it in request.items)
        command = PublishMenu(current().tenant, request.appid, request.menu_id, items, at)
        return await self._bus.execute(command, lambda menu: pb.PublishMenuResponse(menu=_message(menu)))  # type: ignore[no-any-return]

    async def GetMenuStats(self, request: pb.GetMenuStatsRequest, _: ServicerContext) -> pb.GetMenuStatsResponse:
        start, end = time_range(request)
        found = await self._read_models.query(
            lambda rows: menus.menu_clicks(rows, request.appid, request.menu_id, start, end)
        )
        return pb.GetMenuStatsResponse(
            items=[
                menu_pb2.MenuItemStats(
                    version=it.version,
                    key=it.key,
                    name=it.name,
                    parent_key=it.parent,
                    clicks=it.clicks,
                    unique_clickers=it.people,
                )
                for it in found
            ]
        )


def _item(item: menu_pb2.MenuItem) -> MenuItem:
    kind = MenuItemType(menu_pb2.MenuItemType.Name(item.type).removeprefix(PREFIX))
    weight = item.weight or 1
    return MenuItem(
        item.key, item.parent_key, item.name, kind, item.url, item.interest_tag, item.product_category, weight
    )


def _message(menu: Menu) -> menu_pb2.Menu:
    if menu.active_from is None:
        raise MenuNotFound
    return menu_message(menu.app, menu.menu_id, menu.menu_version, menu.items, menu.active_from)
