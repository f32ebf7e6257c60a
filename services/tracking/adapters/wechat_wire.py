"""A callback of WeChat as events of ours: which, whose, when, and by what they are known again when the platform repeats itself.

Nothing is refused here. What cannot be read is left out, so that the intake rejects or puts aside the event by the rules it has for
all, and counts it. What people write, where they are and what they are called is not kept.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import orjson

from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from services.tracking.adapters.wechat_events import Row, rows_of, scene
from services.tracking.adapters.wechat_xml import Message
from services.tracking.domain.intake import LONGEST_TEXT, is_instant
from services.tracking.domain.source import WechatAccount, WechatPlatform

UNREADABLE: Final = "custom.wechat_unreadable"

_CHANNELS: Final = {WechatPlatform.OFFICIAL_ACCOUNT: "oa", WechatPlatform.WECOM: "wecom"}
# By what a callback differs from every other (TR-1): the sender, the second, the event and its key; and where one sender does several
# things in a second, what they are done to. A message has an id of its own.
_NAMING: Final = (
    "FromUserName", "CreateTime", "MsgType", "Event", "EventKey", "MsgId", "ChangeType", "UpdateDetail", "UserID",
    "ExternalUserID", "ChatId", "TagType", "Id", "LastMemVer", "CurMemVer",
)  # fmt: skip
# An openid has 28 characters, a unionid no fewer; what else stands there is a program of the platform.
_OPENID: Final = re.compile(r"[A-Za-z0-9_-]{20,64}")
# Members of a group are staff, or external contacts, whose ids begin so and are long.
_EXTERNAL: Final = re.compile(r"w[mo][A-Za-z0-9_-]{24,62}")
_LONGEST_TIME: Final = 12
_MEMBERSHIP: Final = ("group_joined", "group_left")


@dataclass(frozen=True, slots=True)
class _Identity:
    namespace: str
    scope: str
    value: str


def tracked_events(message: Message, source_key: str, account: WechatAccount) -> list[TrackedEvent]:
    """The events a callback is; at least one."""
    found = []
    for row in rows_of(message, account.platform):
        for member in _members(row, message):
            event = _event(row, message, source_key, account)
            event.message_id = _message_id(row, message, member)
            _identify(event, _identities(message, account, member))
            found.append(event)
    return found


def unreadable(source_key: str) -> TrackedEvent:
    """What counts a callback that is from the platform and yet no message; the intake rejects it, for it has no id."""
    return TrackedEvent(source_key=source_key, event_type=UNREADABLE)


def _event(row: Row, message: Message, source_key: str, account: WechatAccount) -> TrackedEvent:
    event = TrackedEvent(source_key=source_key, event_type=row.event_type)
    created = message.text("CreateTime")
    if len(created) <= _LONGEST_TIME and created.isascii() and created.isdecimal() and is_instant(int(created), 0):
        event.original_time.seconds = int(created)
    properties = row.properties(message, account.account_id)
    event.properties_json = orjson.dumps(properties) if properties else b""
    place = event.context
    place.channel, place.app = _CHANNELS[account.platform], account.account_id
    place.campaign.code_key = scene(message)[:LONGEST_TEXT]
    if account.platform is WechatPlatform.WECOM:
        place.campaign.staff_code = message.text("UserID")[:LONGEST_TEXT]
    return event


def _members(row: Row, message: Message) -> Sequence[str]:
    """Those who joined or left a group and are customers; one nobody for everything else, and where none is named."""
    if row.event_type not in _MEMBERSHIP:
        return [""]
    named = dict.fromkeys(message.lists.get("memchangelist", ()))
    return [it for it in named if _EXTERNAL.fullmatch(it)] or [""]


def _message_id(row: Row, message: Message, member: str) -> str:
    """What the platform repeats has the same. A digest: what names a person goes no further than identity."""
    parts = [*(message.text(it) for it in _NAMING), member, row.event_type]
    return f"wx:{blake2b(chr(0).join(parts).encode(), digest_size=16).hexdigest()}"


def _identities(message: Message, account: WechatAccount, member: str) -> list[_Identity]:
    """Who it was, by all the platform says."""
    scope, found = account.account_id, []
    if account.platform is WechatPlatform.WECOM:
        if external := member or message.text("ExternalUserID"):
            found.append(_Identity("wecom_external_userid", scope, external))
    elif _OPENID.fullmatch(sender := message.text("FromUserName")):
        found.append(_Identity("oa_openid", scope, sender))
    if _OPENID.fullmatch(union := message.text("UnionId")):
        found.append(_Identity("wechat_unionid", "", union))
    return found


def _identify(event: TrackedEvent, identities: Sequence[_Identity]) -> None:
    """The platform knows whom it speaks of: they are logged in with it."""
    for it in identities:
        event.identifiers.add(namespace=it.namespace, scope=it.scope, value=it.value, verified=True)
    event.authenticated = bool(identities)
