"""What other services are told of menus and content."""

from datetime import datetime
from typing import Final

from google.protobuf.message import Message

from chassis.log import Recorded
from scrm.tracking.v1 import content_pb2, menu_pb2
from scrm.tracking.v1 import events_pb2 as pb
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.content import Content, ContentDesign
from services.tracking.domain.menu import Menu, MenuItem

PRIVATE: Final = frozenset[type]({Menu.Opened})


def of_touchpoints(recorded: Recorded) -> Message | None:
    """The message for an event of a menu or a content."""
    match recorded.event:
        case Menu.Published(app=app, menu_id=menu_id, version=version, items=items, active_from=at):
            return pb.MenuPublished(menu=menu_message(app, menu_id, version, items, at))
        case Content.Registered(content_id=id, design=design) | Content.Changed(content_id=id, design=design):
            return pb.ContentRegistered(content=content_message(id, design))
    return None


def menu_message(
    app: str, menu_id: str, version: int, items: tuple[MenuItem, ...], active_from: datetime
) -> menu_pb2.Menu:
    return menu_pb2.Menu(
        appid=app,
        menu_id=menu_id,
        version=version,
        items=[_item(it) for it in items],
        active_time=timestamp(active_from),
    )


def content_message(content_id: str, design: ContentDesign) -> content_pb2.Content:
    return content_pb2.Content(
        content_id=content_id,
        kind=content_pb2.ContentKind.Value(f"CONTENT_KIND_{design.kind}"),
        title=design.title,
        topics=design.topics,
        products=design.products,
        buttons=[
            content_pb2.ContentButton(button_id=it.button_id, label=it.label, intent=it.intent) for it in design.buttons
        ],
    )


def _item(item: MenuItem) -> menu_pb2.MenuItem:
    return menu_pb2.MenuItem(
        key=item.key,
        parent_key=item.parent,
        name=item.name,
        type=menu_pb2.MenuItemType.Value(f"MENU_ITEM_TYPE_{item.type}"),
        url=item.url,
        interest_tag=item.interest_tag,
        product_category=item.product_category,
        weight=item.weight,
    )
