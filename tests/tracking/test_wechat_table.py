"""What callbacks become: by the table, which the page for people shows as it is, and without what people write, or where they are."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from services.tracking.adapters.wechat_events import ROWS
from services.tracking.adapters.wechat_wire import tracked_events
from services.tracking.adapters.wechat_xml import Unreadable, read_message
from services.tracking.domain import event_types
from services.tracking.domain.source import WechatAccount, WechatPlatform
from tests.tracking.wechat import EXTERNAL, OPENID, SENT, oa_xml, wecom_xml, xml

PAGE = Path(__file__).parents[2] / "docs" / "wechat.md"
OA = WechatAccount(WechatPlatform.OFFICIAL_ACCOUNT, "wx1", True, "1", b"")
WECOM = WechatAccount(WechatPlatform.WECOM, "ww1", True, "1", b"")
OTHER = "wmAJ2GCAAAXtWyujaWJHDDGi0mACH72x"
STAFF = {"UserID": "li", "ExternalUserID": EXTERNAL}
SAYS = "who reads this"  # in whatever people write

Expected = list[tuple[str, dict[str, Any]]]


def test_the_page_shows_the_table_of_the_code() -> None:
    shown = [it for it in PAGE.read_text().splitlines() if it.startswith("| ")]
    for row in ROWS:
        columns = "; ".join(f"{ours} = {theirs}" for ours, theirs in row.columns)
        when = ", with a scene" if row.only_with_scene else ""
        assert f"| {row.platform} | {row.callback}{when} | {row.event_type} | {columns} |" in shown
    assert len([it for it in shown if it.startswith(("| OA |", "| WECOM |"))]) == len(ROWS)


def test_every_row_fills_what_its_type_needs() -> None:
    for row in ROWS:
        kind = event_types.find(row.event_type)
        assert kind is not None, row
        assert set(kind.required) <= {ours for ours, _ in row.columns}, row


def event(name: str, **fields: Any) -> bytes:
    return oa_xml(Event=name, **fields)


def menu(key: str, kind: str, **more: str) -> Expected:
    return [("menu_clicked", {"menu_key": key, "kind": kind, **more})]


# The callback, and the types and properties of the events it is.
OFFICIAL: list[tuple[bytes, Expected]] = [
    (event("subscribe"), [("oa_subscribed", {"appid": "wx1"})]),
    (event("subscribe", EventKey="last_trade_no_1"), [("oa_subscribed", {"appid": "wx1"})]),
    (
        event("subscribe", EventKey="qrscene_ST03", Ticket="t"),
        [
            ("qr_scanned", {"code_key": "ST03", "is_new_follow": True}),
            ("oa_subscribed", {"appid": "wx1", "code_key": "ST03"}),
        ],
    ),
    (event("unsubscribe", EventKey=""), [("oa_unsubscribed", {"appid": "wx1"})]),
    (event("SCAN", EventKey="ST03"), [("qr_scanned", {"code_key": "ST03", "is_new_follow": False})]),
    (event("scan", EventKey=123), [("qr_scanned", {"code_key": "123", "is_new_follow": False})]),
    (event("CLICK", EventKey="P1"), menu("P1", "CLICK")),
    (
        event("VIEW", EventKey="https://h5.example.org/tea?openid=x#y", MenuId=7),
        menu("https://h5.example.org/tea", "VIEW", menu_id="7"),
    ),
    (event("view_miniprogram", EventKey="pages/tea?u=1"), menu("pages/tea", "view_miniprogram")),
    *(
        (event(name, EventKey="K", ScanCodeInfo={"ScanResult": SAYS}), menu("K", name))
        for name in (
            "scancode_push",
            "scancode_waitmsg",
            "pic_sysphoto",
            "pic_photo_or_album",
            "pic_weixin",
            "location_select",
        )
    ),
    (event("LOCATION", Latitude="23.13", Longitude="113.35"), [("custom.wechat_location_reported", {})]),
    (
        event("TEMPLATESENDJOBFINISH", MsgID=200163836, Status="failed:user block"),
        [("custom.wechat_template_finished", {"msg_id": "200163836", "status": "failed:user block"})],
    ),
    (event("Some-New Thing", EventKey=SAYS), [("custom.wechat_some_new_thing", {})]),
    (event("é"), [("custom.wechat_unknown", {})]),
    (event("x" * 300), [("custom.wechat_" + "x" * 50, {})]),
    *(
        (oa_xml(MsgType=kind, MsgId=n, Content=SAYS), [("custom.wechat_message_sent", {"kind": kind})])
        for n, kind in enumerate(["text", "image", "voice", "video", "shortvideo", "location", "link", "hologram"])
    ),
]
WITH_CONTACTS: list[tuple[bytes, Expected]] = [
    (
        wecom_xml("add_external_contact", State="ST03", WelcomeCode=SAYS, **STAFF),
        [("wecom_friend_added", {"staff": "li", "state": "ST03"})],
    ),
    (wecom_xml("add_external_contact", **STAFF), [("wecom_friend_added", {"staff": "li"})]),
    (
        wecom_xml("add_half_external_contact", State="ST03", **STAFF),
        [("wecom_friend_added", {"staff": "li", "state": "ST03", "half": True})],
    ),
    (wecom_xml("edit_external_contact", **STAFF), [("custom.wecom_friend_edited", {"staff": "li"})]),
    (
        wecom_xml("del_external_contact", Source="DELETE_BY_TRANSFER", **STAFF),
        [("wecom_friend_deleted", {"staff": "li", "by_staff": True, "source": "DELETE_BY_TRANSFER"})],
    ),
    (wecom_xml("del_follow_user", **STAFF), [("wecom_friend_deleted", {"staff": "li", "by_staff": False})]),
    (
        wecom_xml("transfer_fail", FailReason="customer_refused", **STAFF),
        [("custom.wecom_transfer_failed", {"staff": "li", "reason": "customer_refused"})],
    ),
    (
        wecom_xml("update", "change_external_chat", ChatId="G", UpdateDetail="add_member", JoinScene=3,
                  MemChangeList=[EXTERNAL, "li", OTHER, OTHER]),
        [("group_joined", {"group_id": "G", "join_scene": "3"})] * 2,
    ),
    (
        wecom_xml("update", "change_external_chat", ChatId="G", UpdateDetail="del_member", QuitScene=1, MemChangeList=[EXTERNAL]),
        [("group_left", {"group_id": "G", "quit_scene": "1"})],
    ),
    (wecom_xml("msg_audit_approved", **STAFF), [("custom.wecom_change_external_contact_msg_audit_approved", {})]),
]  # fmt: skip
WITHOUT_CONTACTS: list[tuple[bytes, Expected]] = [
    *(
        (
            wecom_xml(change, "change_external_tag", Id="t1", TagType="tag"),
            [("custom.wecom_tag_changed", {"tag_id": "t1", "kind": "tag", "change": change})],
        )
        for change in ("create", "update", "delete", "shuffle")
    ),
    (wecom_xml("create", "change_external_chat", ChatId="G"), [("custom.wecom_group_created", {"group_id": "G"})]),
    (wecom_xml("dismiss", "change_external_chat", ChatId="G"), [("custom.wecom_group_dismissed", {"group_id": "G"})]),
    (
        wecom_xml("update", "change_external_chat", ChatId="G", UpdateDetail="change_owner"),
        [("custom.wecom_group_changed", {"group_id": "G", "change": "change_owner"})],
    ),
    (
        wecom_xml("update", "change_external_chat", ChatId="G", UpdateDetail="add_member", MemChangeList=["li"]),
        [("group_joined", {"group_id": "G"})],
    ),
    (
        wecom_xml("update_user", "change_contact", UserID="li", Name=SAYS),
        [("custom.wecom_change_contact_update_user", {})],
    ),
    (
        xml({"FromUserName": "li", "CreateTime": SENT, "MsgType": "text", "Content": SAYS, "MsgId": 1}),
        [("custom.wecom_message_sent", {"kind": "text"})],
    ),
]


def read(content: bytes, account: WechatAccount) -> list[TrackedEvent]:
    found = tracked_events(read_message(content), "s", account)
    assert SAYS.encode() not in b"".join(it.SerializeToString() for it in found)
    for it in found:
        assert OPENID not in it.message_id
        assert it.original_time.seconds == SENT
        assert (it.source_key, it.context.app) == ("s", account.account_id)
    assert len({it.message_id for it in found}) == len(found)
    return found


def content(events: list[TrackedEvent]) -> Expected:
    return [(it.event_type, orjson.loads(it.properties_json or b"{}")) for it in events]


@pytest.mark.parametrize(("callback", "expected"), OFFICIAL)
def test_a_callback_of_an_official_account(callback: bytes, expected: Expected) -> None:
    events = read(callback, OA)
    assert content(events) == expected
    for it in events:
        [identifier] = it.identifiers
        assert (identifier.namespace, identifier.scope, identifier.value) == ("oa_openid", "wx1", OPENID)
        assert identifier.verified
        assert it.authenticated
        assert it.context.channel == "oa"
        assert it.context.campaign.code_key == orjson.loads(it.properties_json or b"{}").get("code_key", "")


@pytest.mark.parametrize(("callback", "expected"), WITH_CONTACTS)
def test_a_callback_about_external_contacts(callback: bytes, expected: Expected) -> None:
    events = read(callback, WECOM)
    assert content(events) == expected
    people = [(it.namespace, it.scope, it.value) for event in events for it in event.identifiers]
    assert people == [("wecom_external_userid", "ww1", it) for it in (EXTERNAL, OTHER)][: len(expected)]
    for it in events:
        properties = orjson.loads(it.properties_json or b"{}")
        assert it.context.campaign.code_key == properties.get("state", "")
        assert it.context.channel == "wecom"


@pytest.mark.parametrize(("callback", "expected"), WITHOUT_CONTACTS)
def test_a_callback_that_is_about_no_customer_has_no_identifier(callback: bytes, expected: Expected) -> None:
    events = read(callback, WECOM)
    assert content(events) == expected
    assert not any(it.identifiers or it.authenticated for it in events)


def test_every_row_is_tried() -> None:
    tried = {("OA", kind) for _, expected in OFFICIAL for kind, _ in expected}
    tried |= {("WECOM", kind) for _, expected in WITH_CONTACTS + WITHOUT_CONTACTS for kind, _ in expected}
    assert {(it.platform, it.event_type) for it in ROWS} <= tried


def test_a_unionid_is_told_along_and_programs_of_the_platform_are_nobody() -> None:
    [known] = tracked_events(
        read_message(event("CLICK", EventKey="a", UnionId="o6_bmasdasdsad6_2sgVt7hMZOPfL")), "s", OA
    )
    assert [(it.namespace, it.scope) for it in known.identifiers] == [("oa_openid", "wx1"), ("wechat_unionid", "")]
    [sent] = tracked_events(read_message(event("MASSSENDJOBFINISH", FromUserName="mphelper")), "s", OA)
    assert not sent.identifiers


def test_what_differs_has_another_id_and_what_is_repeated_has_the_same() -> None:
    callbacks = [
        event("CLICK", EventKey="a"),
        event("CLICK", EventKey="b"),
        event("VIEW", EventKey="a"),
        event("CLICK", EventKey="a", CreateTime=SENT + 1),
        event("CLICK", EventKey="a", FromUserName=OPENID[::-1]),
        oa_xml(MsgType="text", MsgId=1),
        oa_xml(MsgType="text", MsgId=2),
        event("TEMPLATESENDJOBFINISH", MsgID=1, Status="success"),
        event("TEMPLATESENDJOBFINISH", MsgID=2, Status="success"),
        wecom_xml("add_external_contact", **STAFF),
        wecom_xml("del_follow_user", **STAFF),
        wecom_xml("add_external_contact", UserID="wang", ExternalUserID=EXTERNAL),
        wecom_xml("add_external_contact", UserID="li", ExternalUserID=OTHER),
    ]

    def ids() -> list[str]:
        return [it.message_id for content in callbacks for it in tracked_events(read_message(content), "s", OA)]

    assert len(set(ids())) == len(callbacks)
    assert ids() == ids()


NO_TIMES = ["", "x", "-5", "99999999999999999999", "1e9", "１７７７６３６８００"]


@pytest.mark.parametrize("time", NO_TIMES)
def test_a_time_that_is_none_is_left_out(time: str) -> None:
    [found] = tracked_events(read_message(event("CLICK", EventKey="a", CreateTime=time)), "s", OA)
    assert not found.HasField("original_time")


HARMFUL = [
    b'<!DOCTYPE xml [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xml><MsgType>&b;</MsgType></xml>',
    b'<!DOCTYPE xml [<!ENTITY a SYSTEM "file:///etc/passwd">]><xml><MsgType>&a;</MsgType></xml>',
    b'<!DOCTYPE xml SYSTEM "http://example.org/x.dtd"><xml/>',
    b"<!DOCTYPE xml><xml/>",
    b"<xml>&unknown;</xml>",
    b"<xml><a>\0</a></xml>",
    b"<xml><a>\xff</a></xml>",
    b"<xml>" + b"<a>" * 10_000 + b"</a>" * 10_000 + b"</xml>",
    b"<xml>" + b"<a/>" * 10_000 + b"</xml>",
    b"<xml><a></xml>",
    b"",
    b"{}",
]


@pytest.mark.parametrize("content", HARMFUL, ids=range(len(HARMFUL)))
def test_what_could_do_harm_in_xml_is_not_read(content: bytes) -> None:
    with pytest.raises(Unreadable):
        read_message(content)


def test_a_message_is_read_in_any_order_and_case() -> None:
    found = read_message(
        '<?xml version="1.0" encoding="gbk"?><xml a="b">\n <B> 你好 </B><C><D>x</D></C><L><Item>1</Item></L></xml>'.encode()
    )
    assert (found.text("b"), found.text("C"), found.text("nothing")) == ("你好", "", "")
    assert found.lists == {"l": ("1",)}
