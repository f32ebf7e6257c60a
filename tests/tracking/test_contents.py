"""Content (TR-6): registered or not, and how it is read."""

from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import orjson
import pytest

from scrm.tracking.v1.behaviour_pb2 import CampaignContext, EventContext, TrackedEvent
from services.tracking.application.content_commands import RegisterContent
from services.tracking.domain.content import Button, ContentDesign, ContentKind, View, reading_of
from services.tracking.domain.errors import DuplicateButton
from services.tracking.domain.trail import Behaviour, Trail
from services.tracking.read_models.content_stats import ButtonClicks, ContentCounts, ContentsWanted, content_stats
from services.tracking.read_models.contents import buttons_of, unregistered, viewers
from tests.tracking.audience import Audience
from tests.tracking.definitions import Studio
from tests.tracking.touches import NOON, event

DESIGN = ContentDesign(ContentKind.H5, "Spring", ("skin",), ("SKU1",), (Button("BTN_BUY", "Buy", intent=True),))
SECOND = timedelta(seconds=1)


def register(design: ContentDesign = DESIGN, content_id: str = "H5-1") -> RegisterContent:
    return RegisterContent("acme", content_id, design)


def viewed(
    message: str, person: str, page_view: str, at: datetime = NOON, *, content: str = "H5-1", share: str = ""
) -> TrackedEvent:
    campaign = CampaignContext(share_id=share) if share else None
    context = EventContext(content_id=content, page_view_id=page_view, campaign=campaign)
    return event(message, "content_viewed", at, person, context=context)


def engaged(message: str, person: str, page_view: str, buckets: Any, **more: Any) -> TrackedEvent:
    properties = orjson.dumps({"page_view_id": page_view, "active_buckets": buckets, **more})
    return event(message, "content_engaged", NOON + 60 * SECOND, person, properties)


def on_content(message: str, event_type: str, person: str, at: datetime = NOON, **properties: Any) -> TrackedEvent:
    return event(message, event_type, at, person, orjson.dumps({"content_id": "H5-1", **properties}))


def stats(audience: Audience, *ids: str, zone: str = "") -> list[ContentCounts]:
    wanted = ContentsWanted(ids or ("H5-1",), NOON - timedelta(days=20), NOON + timedelta(days=20), zone)
    return audience.ask(lambda rows: content_stats(rows, wanted))


def test_what_is_said_of_a_content_last_counts(studio: Studio) -> None:
    other = ContentDesign(ContentKind.H5, "Summer")
    studio.tell(register(), register(), register(other))
    assert studio.events == ["Registered", "Changed"]
    assert [it.content.title for it in studio.published] == ["Spring", "Summer"]  # type: ignore[attr-defined]


def test_two_buttons_with_one_id_are_refused(studio: Studio) -> None:
    with pytest.raises(DuplicateButton):
        studio.tell(register(ContentDesign(ContentKind.H5, "x", buttons=(Button("B", "1"), Button("B", "2")))))
    assert studio.events == []


def test_ac25_clicks_and_the_share_of_viewers_who_clicked(audience: Audience) -> None:
    """10 viewers, 3 click BTN_BUY, one of them twice."""
    audience.studio.tell(register())
    audience.do(
        *(viewed(f"v{n}", f"p{n}", f"pv{n}") for n in range(10)),
        *(on_content(f"c{n}", "button_clicked", f"p{n % 3}", button_id="BTN_BUY") for n in range(4)),
    )
    [found] = stats(audience)
    assert found.buttons == [ButtonClicks("BTN_BUY", 4, 3)]
    assert found.buttons[0].people / found.reading.viewers == 0.3
    assert audience.ask(lambda rows: buttons_of(rows, ["H5-1"])) == {"H5-1": {"BTN_BUY": "Buy"}}


def test_ac104_how_long_it_was_read_and_how_many_came_by_shares(audience: Audience) -> None:
    """5 opens by 3 people, dwell 0/5/35/65/305 s; a share visited back by 4 others."""
    audience.do(
        *(viewed(f"v{n}", f"p{n % 3}", f"pv{n}", NOON + n * 60 * SECOND) for n in range(5)),
        engaged("e1", "p1", "pv1", 1),
        engaged("e2", "p2", "pv2", [1, 2, 3]),
        engaged("e3", "p2", "pv2", [3, 4]),
        engaged("e4", "p0", "pv3", [0, 1, 2], wall_ms=900_000),
        engaged("e5", "p0", "pv3", 7),
        engaged("e6", "p1", "pv4", 31),
        engaged("e7", "p1", "pv0", 31),  # of somebody else's page view
    )
    [found] = stats(audience)
    reading = found.reading
    assert (reading.viewers, reading.opens, reading.average_dwell, reading.median_dwell) == (3, 5, 82, 35)

    audience.do(
        on_content("s1", "content_shared", "p0", share_id="S1"),
        *(viewed(f"b{n}", f"q{n}", f"bv{n}", NOON + timedelta(hours=1), share="S1") for n in range(4)),
        viewed("again", "q0", "bv9", NOON + timedelta(hours=2), share="S1"),
        viewed("self", "p0", "bv8", NOON + timedelta(hours=2), share="S1"),
    )
    [found] = stats(audience)
    assert (found.shares, found.share_backs) == (1, 4)
    merge = audience.merge("p0", "q0")
    assert stats(audience)[0].share_backs == 3, "who shared it does not count"
    audience.unmerge(merge, "p0", "q0")
    assert stats(audience)[0].share_backs == 4


def test_dwell_and_opens_are_those_of_the_trail(audience: Audience) -> None:
    """The sums of PostgreSQL against the one way in which a trail is counted."""
    random, events = Random(7), []
    for n in range(60):
        page_view, person = f"pv{n // 2}", f"p{n // 2 % 4}"
        at = NOON + random.randrange(400) * SECOND
        events.append(viewed(f"v{n}", person, page_view, at))
        buckets = random.choice([random.randrange(9), random.sample(range(12), 4)])
        more = {"wall_ms": random.randrange(90_000)} if random.random() < 0.5 else {}
        events.append(engaged(f"e{n}", person, page_view, buckets, **more))
        if random.random() < 0.3:
            left = orjson.dumps({"page_view_id": page_view, "duration_ms": random.randrange(60_000), "scroll_pct": 95})
            events.append(event(f"l{n}", "content_left", at, person, left))
    random.shuffle(events)
    audience.do(*events)
    [found] = stats(audience)
    opens = dwell = 0
    for n in range(4):
        rows = audience.tracking.rows(
            "SELECT message_id, source_key, event_type, category, node, occurred_at, received_at, channel, app, page,"
            " content_id, page_view_id, properties FROM behaviours WHERE node = %s",
            audience.node(f"p{n}"),
        )
        engagement = Trail(Behaviour(*it) for it in rows).engagement()["H5-1"]
        opens += engagement.opens
        dwell += engagement.dwell_seconds
    assert (found.reading.opens, round(found.reading.average_dwell * opens)) == (opens, dwell)
    assert found.reading.page_views == 30
    assert found.reading.completions > 0


def test_each_day_by_itself_as_the_calendar_of_a_place_has_it(audience: Audience) -> None:
    late = datetime.fromisoformat("2026-05-01T17:00:00+00:00")  # the second of May in Shanghai
    audience.do(
        viewed("1", "ann", "a", late),
        viewed("2", "ann", "b", late - timedelta(hours=3)),
        on_content("3", "button_clicked", "ann", late, button_id="B"),
        on_content("4", "content_forwarded", "ann", late),
    )
    days = [(it.day, it.reading.viewers, len(it.buttons), it.shares) for it in stats(audience, zone="Asia/Shanghai")]
    assert days == [("2026-05-01", 1, 0, 0), ("2026-05-02", 1, 1, 1)]
    assert [(it.day, it.reading.viewers) for it in stats(audience)] == [("", 1)]


def test_viewers_who_pay_within_a_week_are_conversions(audience: Audience) -> None:
    audience.do(*(viewed(f"v{n}", f"p{n}", f"pv{n}", NOON - timedelta(days=9)) for n in range(3)))
    shop = audience.shop
    shop.tell(shop.paid("1", 1200, NOON - timedelta(days=3), node=audience.node("p0")))
    shop.tell(shop.paid("2", 1200, NOON - timedelta(days=1), node=audience.node("p1")))
    shop.tell(shop.paid("3", 1200, NOON - timedelta(days=10), node=audience.node("p2")))
    audience.settle()
    assert stats(audience)[0].conversions == 1


def test_what_nobody_registered_is_counted_and_listed(audience: Audience) -> None:
    audience.studio.tell(register())
    audience.do(*(viewed(f"v{n}", "ann", f"pv{n}", content=f"H5-{n}") for n in range(4)))
    found = audience.ask(lambda rows: unregistered(rows, "", 2))
    assert [it.content_id for it in found] == ["H5-0", "H5-2"]
    assert [it.content_id for it in audience.ask(lambda rows: unregistered(rows, "H5-2", 2))] == ["H5-3"]
    assert audience.ask(lambda rows: unregistered(rows, "", 2), "globex") == []
    assert [it.content_id for it in stats(audience, "H5-1", "H5-3")] == ["H5-1", "H5-3"]


def test_who_viewed_it_can_be_compared_with_segments(audience: Audience) -> None:
    audience.do(*(viewed(f"v{n}", f"p{n % 3}", f"pv{n}") for n in range(6)))
    nodes = sorted(audience.node(f"p{n}") for n in range(3))

    def page(after: UUID, limit: int) -> list[UUID]:
        return audience.ask(lambda rows: viewers(rows, "H5-1", NOON, NOON + SECOND, after, limit))

    assert page(UUID(int=0), 2) == nodes[:2]
    assert page(nodes[1], 2) == nodes[2:]
    audience.merge("p0", "p1")
    assert len(page(UUID(int=0), 9)) == 2


def test_a_reload_within_ten_seconds_is_part_of_the_open_before() -> None:
    ann, bob = UUID(int=1), UUID(int=2)

    def view(who: UUID, at: int, dwell: int = 0) -> View:
        return View(who, NOON + at * SECOND, dwell, 0)

    found = reading_of([view(ann, 8, 5), view(ann, 0, 15), view(ann, 16), view(bob, 9)])
    assert (found.page_views, found.opens, found.viewers, found.average_dwell) == (4, 3, 2, 20 / 3)
    assert reading_of([]).median_dwell == 0


def test_a_rebuild_gives_the_contents_of_live_running(audience: Audience) -> None:
    audience.studio.tell(register(), register(content_id="H5-2"))
    audience.settle()
    audience.studio.tell(register(ContentDesign(ContentKind.VIDEO, "Summer")))
    audience.settle()
    live = audience.projector.canonical_hash("contents")
    audience.rebuild("contents")
    assert audience.projector.canonical_hash("contents") == live
