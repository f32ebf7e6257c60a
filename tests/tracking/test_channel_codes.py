"""Channel codes (TR-4): made once, changed in part, scanned by people, and what came of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import orjson
import pytest

from chassis.errors import BadFormat, FieldRequired, FieldTooLong, ValueOutOfRange
from scrm.tracking.v1.behaviour_pb2 import EventContext, TrackedEvent
from scrm.tracking.v1.events_pb2 import ChannelScanned
from services.tracking.adapters.fact_recorder import FactsTaken
from services.tracking.application.channel_commands import (
    ArchiveChannelCode,
    BatchCreateChannelCodes,
    CreateChannelCode,
    RecordTouches,
    UpdateChannelCode,
)
from services.tracking.domain import channel_code
from services.tracking.domain.channel_code import CodeDesign, CodeKind, CodeTerms
from services.tracking.domain.errors import ChannelCodeArchived, ChannelCodeNotFound, CodeLimit, CodeTaken
from services.tracking.domain.touches import Touch
from services.tracking.read_models.code_stats import (
    CodeCounts,
    CodesWanted,
    code_stats,
    touches_of,
    unknown_scans,
)
from tests.tracking.audience import Audience
from tests.tracking.definitions import Studio
from tests.tracking.shop import JANE, NOON
from tests.tracking.touches import event, view

DESIGN = CodeDesign(CodeKind.OA_PERMANENT, "wx1", "store_poster", "spring", "ST-SH", None)


NOBODY = CodeTerms()


def code(key: str = "ST03", design: CodeDesign = DESIGN, terms: CodeTerms = NOBODY) -> CreateChannelCode:
    return CreateChannelCode("acme", key, design, terms)


def of_kind(kind: CodeKind, expires: timedelta | None = None) -> CodeDesign:
    return replace(DESIGN, kind=kind, expires_at=NOON + expires if expires else None)


LIVE = code("G", of_kind(CodeKind.WECOM_CONTACT), CodeTerms(("G1", "G2")))


def test_a_code_is_made_changed_and_archived(studio: Studio) -> None:
    studio.tell(code())
    changes = {"staff": ("G1",), "auto_tags": ("poster",), "welcome_template": "hello"}
    studio.tell(UpdateChannelCode("acme", "ST03", changes), UpdateChannelCode("acme", "ST03", changes))
    studio.tell(ArchiveChannelCode("acme", "ST03"), ArchiveChannelCode("acme", "ST03"))
    assert [type(it).__name__ for it in studio.published] == [
        "ChannelCodeCreated",
        "ChannelCodeUpdated",
        "ChannelCodeArchived",
    ]
    with pytest.raises(ChannelCodeArchived):
        studio.tell(UpdateChannelCode("acme", "ST03", {"staff": ()}))
    with pytest.raises(CodeTaken):
        studio.tell(code())
    with pytest.raises(ChannelCodeNotFound):
        studio.tell(ArchiveChannelCode("acme", "ST04"))


@pytest.mark.parametrize(
    ("draft", "error"),
    [
        (code("渠道"), BadFormat),
        (code("k" * 31), BadFormat),
        (code("a b"), BadFormat),
        (code(design=of_kind(CodeKind.OA_TEMP)), FieldRequired),
        (code(design=of_kind(CodeKind.OA_TEMP, timedelta(days=30, seconds=1))), ValueOutOfRange),
        (code(design=of_kind(CodeKind.H5, timedelta(seconds=-1))), ValueOutOfRange),
        (code(design=of_kind(CodeKind.WECOM_CONTACT)), FieldRequired),
        (code(terms=CodeTerms(tuple(map(str, range(101))))), FieldTooLong),
    ],
)
def test_what_no_platform_takes_is_refused(studio: Studio, draft: CreateChannelCode, error: type[Exception]) -> None:
    with pytest.raises(error):
        studio.tell(draft)
    assert studio.events == []


def test_control_what_platforms_take_is_made(studio: Studio) -> None:
    studio.tell(code("k" * 30), code("t", of_kind(CodeKind.OA_TEMP, timedelta(days=30))), LIVE)
    with pytest.raises(FieldRequired):
        studio.tell(UpdateChannelCode("acme", "G", {"staff": ()}))


def test_an_account_has_so_many_permanent_codes_and_no_more(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_code, "MOST_PERMANENT", 3)
    studio.tell(*(code(f"p{n}") for n in range(3)), ArchiveChannelCode("acme", "p0"))
    with pytest.raises(CodeLimit):
        studio.tell(code("p3"))
    studio.tell(code("p4", replace(DESIGN, app="wx2")), code("t", of_kind(CodeKind.H5)))


def test_of_many_codes_each_is_made_or_refused_by_itself(studio: Studio) -> None:
    items = (code("a"), code("a"), code("渠道"), FieldRequired(field="kind"), code("b"))
    found = studio.tell(BatchCreateChannelCodes(items))
    assert [type(it).__name__ for it in found] == [
        "ChannelCode",
        "CodeTaken",
        "BadFormat",
        "FieldRequired",
        "ChannelCode",
    ]


# What a scan means.


def scan(at: int = 0, *, new: bool = False, key: str = "ST03", staff: str = "") -> Touch:
    return Touch("qr_scanned", key, "wx1", staff, NOON + timedelta(minutes=at), new)


def touch(event_type: str, at: int = 0) -> Touch:
    return Touch(event_type, "", "wx1", "", NOON + timedelta(minutes=at))


def scanned(studio: Studio, *touches: Touch) -> list[tuple[bool, bool, int]]:
    """New follow, re-follow and number of each scan, touches becoming known in this order."""
    studio.tell(code(), *(RecordTouches("acme", JANE, (it,)) for it in touches))
    found = [it for it in studio.published if isinstance(it, ChannelScanned)]
    return [(it.new_follow, it.re_follow, it.nth_scan) for it in found]


NEW, AGAIN, NEITHER = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("touches", "expected"),
    [
        ((scan(new=True), touch("oa_subscribed"), scan(5)), [(*NEW, 1), (*NEITHER, 2)]),
        ((touch("oa_subscribed"), scan(new=True)), [(*NEW, 1)]),
        ((touch("oa_subscribed"), scan(5, new=True)), [(*NEITHER, 1)]),
        ((scan(new=True), touch("oa_unsubscribed", 5), scan(9, new=True)), [(*NEW, 1), (*AGAIN, 2)]),
        ((touch("oa_subscribed"), touch("oa_unsubscribed", 5), scan(9, new=True)), [(*AGAIN, 1)]),
        ((scan(),), [(*NEITHER, 1)]),
        ((scan(key="nobody_made_it", new=True),), []),
    ],
)
def test_somebody_follows_anew_once(
    studio: Studio, touches: Sequence[Touch], expected: list[tuple[bool, bool, int]]
) -> None:
    assert scanned(studio, *touches) == expected


def test_ac23_who_received_a_new_friend_is_told_with_the_scan(studio: Studio) -> None:
    """Whose turn it is, identity decides: G1 (2 a day), G2 (1 a day), G9 stands in. Here it is kept who it was."""
    studio.tell(LIVE)
    for number, staff in enumerate(("G1", "G2", "G1", "G9", "G9")):
        node = JANE if number == 0 else replace_last(number)
        friend = Touch("wecom_friend_added", "G", "corp", staff, NOON)
        studio.tell(RecordTouches("acme", node, (friend,)))
    found = [it for it in studio.published if isinstance(it, ChannelScanned)]
    assert [it.staff_code for it in found] == ["G1", "G2", "G1", "G9", "G9"]
    assert all(it.new_follow for it in found)


def replace_last(number: int) -> Any:
    return type(JANE)(int=JANE.int ^ number)


# What came of codes.


def qr(
    message: str, person: str, at: datetime = NOON, *, new: bool = False, key: str = "ST03", app: str = "wx1"
) -> TrackedEvent:
    properties = orjson.dumps({"code_key": key, "is_new_follow": new, "appid": app})
    return event(message, "qr_scanned", at, person, properties, source_key="oa")


def left(message: str, person: str, at: datetime) -> TrackedEvent:
    return event(message, "oa_unsubscribed", at, person, b'{"appid":"wx1"}', source_key="oa")


def subscribed(message: str, person: str, at: datetime) -> TrackedEvent:
    return event(message, "oa_subscribed", at, person, b'{"appid":"wx1"}', source_key="oa")


def counts(audience: Audience, by: str = "CODE", **wanted: Any) -> list[CodeCounts]:
    span = CodesWanted(NOON - timedelta(days=30), NOON + timedelta(days=30), **wanted)
    return audience.ask(lambda rows: code_stats(rows, span, by))


def test_ac22_a_code_with_a_hundred_scans(audience: Audience) -> None:
    """100 scans by 80 people, 60 not following before, 6 of the 60 unfollow within 24 h."""
    audience.studio.tell(code())
    start = NOON - timedelta(days=10)
    events = []
    for n in range(80):
        at = start + timedelta(minutes=n)
        events.append(qr(f"s{n}", f"p{n}", at, new=n < 60))
        if n < 60:
            events.append(subscribed(f"f{n}", f"p{n}", at))
    events += [qr(f"again{n}", f"p{n}", start + timedelta(days=2, minutes=n)) for n in range(20)]
    events += [left(f"u{n}", f"p{n}", start + timedelta(hours=20)) for n in range(6)]
    Random(4).shuffle(events)
    audience.do(*events, *events[:30])

    [found] = counts(audience)
    assert (found.scans, found.unique, found.new_follows) == (100, 80, 60)
    assert (found.left_in_day, found.new_follows - found.left_in_week) == (6, 54)
    told = [it for it in audience.studio.published if isinstance(it, ChannelScanned)]
    assert len(told) == 100
    assert len({it.node_id for it in told if it.new_follow}) == sum(it.new_follow for it in told)


def test_people_who_turn_out_to_be_one_are_counted_once_and_apart_again_when_that_was_wrong(
    audience: Audience,
) -> None:
    audience.studio.tell(code())
    audience.do(qr("1", "ann", new=True), qr("2", "bob", NOON + timedelta(hours=1), new=True), qr("3", "eve", new=True))
    before = counts(audience)
    assert (before[0].unique, before[0].new_follows, before[0].acquired) == (3, 3, 3)
    merge = audience.merge("ann", "bob")
    [found] = counts(audience)
    assert (found.scans, found.unique, found.new_follows, found.re_follows, found.acquired) == (3, 2, 2, 0, 2)
    audience.unmerge(merge, "ann", "bob")
    assert counts(audience) == before


def test_who_leaves_and_comes_back_follows_anew_and_is_no_new_follower(audience: Audience) -> None:
    audience.studio.tell(code(), code("ST04"))
    day = timedelta(days=1)
    audience.do(
        qr("3", "ann", NOON + 9 * day, new=True, key="ST04"),
        left("2", "ann", NOON + 8 * day),
        qr("1", "ann", new=True),
    )
    first, second = counts(audience)
    assert (first.new_follows, first.re_follows, first.left_in_week) == (1, 0, 0)
    assert (second.new_follows, second.re_follows, second.acquired) == (0, 1, 0)


def test_codes_are_added_up_by_what_they_are_for(audience: Audience) -> None:
    audience.studio.tell(
        code("a"), code("b"), code("c", replace(DESIGN, store="ST-BJ")), ArchiveChannelCode("acme", "b")
    )
    audience.do(
        *(qr(f"{key}{n}", f"p{n}", key=key) for key in "abc" for n in range(3)),
        qr("u", "p1", key="nobody_made_it"),
        view("v", "pv", code="a"),
    )
    assert [(it.key, it.scans, it.unique) for it in counts(audience)] == [("a", 3, 3), ("b", 3, 3), ("c", 3, 3)]
    by_store = [(it.key, it.scans, it.unique) for it in counts(audience, "STORE")]
    assert by_store == [("ST-BJ", 3, 3), ("ST-SH", 6, 3)]
    assert [it.key for it in counts(audience, "CHANNEL")] == ["store_poster"]
    assert [it.key for it in counts(audience, "STAFF")] == [""]
    assert [it.key for it in counts(audience, store="ST-BJ")] == ["c"]
    assert [it.key for it in counts(audience, keys=["a", "nobody_made_it"])] == ["a"]
    assert audience.ask(lambda rows: unknown_scans(rows, NOON, NOON + timedelta(days=1))) == 1
    assert audience.ask(lambda rows: unknown_scans(rows, NOON, NOON + timedelta(days=1)), "globex") == 0


def test_what_the_people_of_a_code_did_since(audience: Audience) -> None:
    audience.studio.tell(code("a"), code("b"))
    hour = timedelta(hours=1)
    audience.do(
        qr("1", "ann", NOON - 9 * hour, key="a"),
        qr("2", "ann", NOON - 8 * hour, key="b"),
        qr("3", "bob", NOON - 9 * hour, key="a"),
        event("4", "registered", NOON - 7 * hour, "ann"),
        event("5", "registered", NOON - 10 * hour, "bob"),
    )
    shop = audience.shop
    shop.tell(shop.paid("1", 1200, NOON - hour, node=audience.node("ann")))
    shop.tell(shop.paid("2", 700, NOON - 20 * hour, node=audience.node("bob")))
    shop.tell(shop.paid("3", 500, NOON - hour, node=audience.node("bob")))
    shop.tell(shop.refunded("1", "r", 200))
    audience.settle()
    first, second = counts(audience)
    assert (first.acquired, first.registered, first.first_orders, first.revenue) == (2, 1, 1, {"USD": 1500})
    assert (second.unique, second.acquired, second.registered) == (1, 0, 0)


def test_a_customer_came_first_by_one_code_and_last_by_another(audience: Audience) -> None:
    audience.studio.tell(code("a"), LIVE)
    friend = event(
        "2",
        "wecom_friend_added",
        NOON + timedelta(hours=1),
        "ann",
        b'{"state":"G","staff":"G1"}',
        context=EventContext(channel="wecom", app="corp"),
    )
    audience.do(friend, qr("1", "ann", key="a"))
    found = audience.ask(lambda rows: touches_of(rows, [audience.node("ann")]))
    assert found is not None
    assert [(it.code_key, it.channel, it.staff) for it in found] == [
        ("a", "store_poster", ""),
        ("G", "store_poster", "G1"),
    ]
    assert audience.ask(lambda rows: touches_of(rows, [audience.node("eve")])) is None
    assert audience.ask(lambda rows: touches_of(rows, [audience.node("ann")]), "globex") is None


def test_each_behaviour_counts_once_whoever_looks_at_it(audience: Audience) -> None:
    audience.studio.tell(code())
    audience.tracking.track(qr("1", "ann", new=True))
    audience.tracking.resolve()
    was, facts = audience.recorder.read()
    audience.settle()
    with pytest.raises(FactsTaken):
        audience.bus.run_now(audience.recorder._unit(was, facts))
    assert [type(it).__name__ for it in audience.studio.published].count("ChannelScanned") == 1


def test_a_rebuild_gives_the_codes_of_live_running(audience: Audience) -> None:
    audience.studio.tell(code("a"), UpdateChannelCode("acme", "a", {"staff": ("G1",)}))
    audience.settle()
    audience.studio.tell(LIVE, ArchiveChannelCode("acme", "a"), UpdateChannelCode("acme", "G", {"auto_tags": ("x",)}))
    audience.settle()
    live = audience.projector.canonical_hash("channel_codes")
    audience.rebuild("channel_codes")
    assert audience.projector.canonical_hash("channel_codes") == live
