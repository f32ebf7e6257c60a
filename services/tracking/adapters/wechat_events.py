"""What the callbacks of WeChat are to us: one table, which docs/wechat.md shows to people.

A row says which of our event types a callback becomes and how our properties are filled. Several rows of one callback are several events.
What is in no row becomes `custom.wechat_<event>` or `custom.wecom_<event>` and has no properties: of what we do not know, we keep
nothing but that it came.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from services.tracking.adapters.wechat_xml import Message
from services.tracking.domain.event_types import CUSTOM_PREFIX
from services.tracking.domain.intake import LONGEST_KEY
from services.tracking.domain.source import WechatPlatform

Properties: TypeAlias = dict[str, Any]

# Account | callback (Event, or Event/ChangeType/UpdateDetail; `message` is any other) | our type | ours=theirs, … (a row goes on where a
# line begins with |). In small letters: a value that is made of theirs (see _MADE). `!` in front of a type: only with a scene.
TABLE: Final = """
OA    | subscribe                                    | !qr_scanned                     | code_key=scene is_new_follow=true
OA    | subscribe                                    | oa_subscribed                   | appid=account code_key=scene
OA    | unsubscribe                                  | oa_unsubscribed                 | appid=account
OA    | SCAN                                         | qr_scanned                      | code_key=scene is_new_follow=false
OA    | CLICK                                        | menu_clicked                    | menu_key=EventKey kind=Event menu_id=MenuId
OA    | VIEW                                         | menu_clicked                    | menu_key=address kind=Event menu_id=MenuId
OA    | view_miniprogram                             | menu_clicked                    | menu_key=address kind=Event menu_id=MenuId
OA    | scancode_push                                | menu_clicked                    | menu_key=EventKey kind=Event
OA    | scancode_waitmsg                             | menu_clicked                    | menu_key=EventKey kind=Event
OA    | pic_sysphoto                                 | menu_clicked                    | menu_key=EventKey kind=Event
OA    | pic_photo_or_album                           | menu_clicked                    | menu_key=EventKey kind=Event
OA    | pic_weixin                                   | menu_clicked                    | menu_key=EventKey kind=Event
OA    | location_select                              | menu_clicked                    | menu_key=EventKey kind=Event
OA    | LOCATION                                     | custom.wechat_location_reported |
OA    | TEMPLATESENDJOBFINISH                        | custom.wechat_template_finished | msg_id=MsgID status=Status
OA    | message                                      | custom.wechat_message_sent      | kind=MsgType
WECOM | change_external_contact/add_external_contact | wecom_friend_added              | staff=UserID state=State
WECOM | change_external_contact/add_half_external_contact | wecom_friend_added         | staff=UserID state=State half=true
WECOM | change_external_contact/edit_external_contact | custom.wecom_friend_edited     | staff=UserID
WECOM | change_external_contact/del_external_contact | wecom_friend_deleted            | staff=UserID by_staff=true source=Source
WECOM | change_external_contact/del_follow_user      | wecom_friend_deleted            | staff=UserID by_staff=false
WECOM | change_external_contact/transfer_fail        | custom.wecom_transfer_failed    | staff=UserID reason=FailReason
WECOM | change_external_tag                          | custom.wecom_tag_changed        | tag_id=Id kind=TagType change=ChangeType
WECOM | change_external_chat/create                  | custom.wecom_group_created      | group_id=ChatId
WECOM | change_external_chat/dismiss                 | custom.wecom_group_dismissed    | group_id=ChatId
WECOM | change_external_chat/update/add_member       | group_joined                    | group_id=ChatId join_scene=JoinScene
WECOM | change_external_chat/update/del_member       | group_left                      | group_id=ChatId quit_scene=QuitScene
WECOM | change_external_chat/update                  | custom.wecom_group_changed      | group_id=ChatId change=UpdateDetail
WECOM | message                                      | custom.wecom_message_sent       | kind=MsgType
"""

_LONGEST_WORD: Final = 256
_SCENE_PREFIX: Final = "qrscene_"
_NAMES: Final = {WechatPlatform.OFFICIAL_ACCOUNT: "OA", WechatPlatform.WECOM: "WECOM"}
_PREFIXES: Final = {WechatPlatform.OFFICIAL_ACCOUNT: "wechat", WechatPlatform.WECOM: "wecom"}
_GAP: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Row:
    """What one callback is to us; `columns` are our properties and what they are filled with."""

    platform: str
    callback: str
    event_type: str
    columns: tuple[tuple[str, str], ...] = ()
    only_with_scene: bool = False

    def properties(self, message: Message, account_id: str) -> Properties:
        """Our properties, without those that have nothing to be filled with."""
        found = ((ours, _value(theirs, message, account_id)) for ours, theirs in self.columns)
        return {ours: it for ours, it in found if it not in ("", None)}


def rows_of(message: Message, platform: WechatPlatform) -> list[Row]:
    """What a callback becomes: at least one row, that of the most exact name there is."""
    names = callback_names(message)
    for end in range(len(names), 0, -1):
        found = _ROWS.get((_NAMES[platform], "/".join(names[:end]).lower()))
        if found:
            has_scene = bool(scene(message))
            return [it for it in found if has_scene or not it.only_with_scene]
    word = _GAP.sub("_", "_".join(names[:2]).lower()).strip("_") or "unknown"
    name = f"{CUSTOM_PREFIX}{_PREFIXES[platform]}_{word}"
    return [Row(_NAMES[platform], "/".join(names), name[:LONGEST_KEY])]


def callback_names(message: Message) -> list[str]:
    """What a callback is called, from the general to the particular."""
    if message.text("MsgType").lower() != "event":
        return ["message"]
    return [it for name in ("Event", "ChangeType", "UpdateDetail") if (it := message.text(name))]


def scene(message: Message) -> str:
    """The key of the channel code that led here; empty without one."""
    key = message.text("EventKey")
    match message.text("Event").lower():
        case "subscribe":
            return key.removeprefix(_SCENE_PREFIX) if key.startswith(_SCENE_PREFIX) else ""
        case "scan":
            return key
        case "change_external_contact":
            return message.text("State")
    return ""


def _address(message: Message) -> str:
    """Where a menu led, without its query, which may name people."""
    return message.text("EventKey").partition("?")[0].partition("#")[0]


_MADE: Final[Mapping[str, Callable[[Message], Any]]] = {
    "scene": scene,
    "address": _address,
    "true": lambda _: True,
    "false": lambda _: False,
}


def _value(theirs: str, message: Message, account_id: str) -> Any:
    if theirs == "account":
        return account_id
    if theirs in _MADE:
        made = _MADE[theirs](message)
        return made[:_LONGEST_WORD] if isinstance(made, str) else made
    return message.text(theirs)[:_LONGEST_WORD]


def _parse(line: str) -> Row:
    platform, callback, event_type, columns = (it.strip() for it in line.split("|"))
    pairs = [it.split("=") for it in columns.split()]
    filled = tuple((ours, theirs) for ours, theirs in pairs)
    return Row(platform, callback, event_type.removeprefix("!"), filled, event_type.startswith("!"))


def _by_callback() -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in ROWS:
        found.setdefault((row.platform, row.callback.lower()), []).append(row)
    return found


ROWS: Final = tuple(map(_parse, TABLE.strip().splitlines()))
_ROWS: Final = _by_callback()
