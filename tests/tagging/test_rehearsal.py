"""A draft over the recorded past says who would have come and gone on which day, as the letter of the specification does (TG-6)."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from google.type.date_pb2 import Date

from scrm.tagging.v1 import segment_pb2
from services.tagging.adapters.condition_wire import condition_message
from services.tagging.application.tag_commands import AssignTags, RemoveTags
from services.tagging.domain.conditions import Condition, HasTag, LookedUp, Universe
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.errors import RehearsalTooLarge
from services.tagging.domain.history import History
from services.tagging.read_models import rehearsal
from services.tagging.read_models.rehearsal import Draft, rehearse
from tests.tagging.calling import Caller, Serve
from tests.tagging.naive_conditions import Naive
from tests.tagging.world import TENANT, ZONE, World, behaved, created_at, knows, paid, person

PEOPLE = [person(f"rehearsed {number}") for number in range(16)]
FIRST, LAST = 1, 9
HOUR = timedelta(hours=1)
DRAFTS = (
    'event("content_viewed") count >= 2 in last 2 days',
    'event("content_viewed") count = 0 in last 3 days',
    'order net >= 100 in last 3 days or event("cart_added") without event("content_viewed") within 1 day',
    'tag("vip") and event("content_viewed") count >= 1 in last 24 hours',
    'city = "Shanghai" and not event("content_viewed") streak 2 days in last 4 days',
)


def local(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 3, day, hour, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


class Past(NamedTuple):
    """Some people, and from when to when they were tagged "vip"."""

    histories: Mapping[UUID, History]
    tagged: Mapping[UUID, tuple[datetime, datetime]]

    def members(self, what: Condition, universe: Universe, at: datetime) -> set[UUID]:
        """Who was in by the letter at an instant."""
        return {who for who in self.histories if self._in_universe(who, universe, at) and self._is_in(who, what, at)}

    def _in_universe(self, who: UUID, universe: Universe, at: datetime) -> bool:
        since = self.histories[who].known_since
        return universe is Universe.ALL or (since is not None and since <= at)

    def _is_in(self, who: UUID, what: Condition, at: datetime) -> bool:
        def held(leaf: LookedUp) -> bool:
            since, until = self.tagged.get(who, (at, at))
            return leaf == HasTag("vip") and since <= at < until

        return Naive(self.histories[who], ZoneInfo(ZONE), held).holds(what, at)


def lived(world: World, random: Random) -> Past:
    """Some days, with everything at full hours."""
    messages: list[Any] = []
    for number, who in enumerate(PEOPLE):
        messages.append(created_at(who, local(random.randint(1, 8), random.randint(0, 23)), known=number % 4 != 0))
        if random.random() < 0.5:
            messages.append(knows(who, "city", "Shanghai", local(1)))
        for _ in range(random.randint(0, 9)):
            kind = random.choice(("content_viewed", "content_viewed", "cart_added"))
            messages.append(behaved(who, local(random.randint(1, 9), random.randint(0, 23)), kind=kind))
        if random.random() < 0.4:
            messages.append(paid(who, f"o{number}", local(random.randint(1, 9), 12), random.choice((5_000, 20_000))))
    world.tell(*messages)
    tagged = {who: (local(3 + number, 10), local(8 + number % 2, 9)) for number, who in enumerate(PEOPLE[:5])}
    for at, who, comes in sorted((at, who, at == span[0]) for who, span in tagged.items() for at in span):
        world.at(at)
        world.do(AssignTags(who, [("vip", "")]) if comes else RemoveTags(who, ["vip"]))
    world.at(local(10))
    world.project()
    return Past({who: world.history(who) for who in PEOPLE}, tagged)


async def rehearsed(caller: Caller, text: str, universe: Universe) -> Any:
    return await caller.call(
        "RehearseSegment",
        definition=segment_pb2.SegmentDefinition(dynamic=condition_message(read(text))),
        universe=segment_pb2.Universe.Value(f"UNIVERSE_{universe}"),
        from_day=Date(year=2025, month=3, day=FIRST),
        to_day=Date(year=2025, month=3, day=LAST),
    )


def counted(past: Past, text: str, universe: Universe) -> list[tuple[int, int, int]]:
    """Of each day, who came and went and was in at its end, looking at every hour."""
    days, before = [], past.members(read(text), universe, local(FIRST) - timedelta.resolution)
    for day in range(FIRST, LAST + 1):
        came = went = 0
        for hour in range(24):
            now = past.members(read(text), universe, local(day, hour))
            came, went = came + len(now - before), went + len(before - now)
            before = now
        days.append((came, went, len(before)))
    return days


@pytest.mark.parametrize("universe", Universe)
def test_a_draft_is_rehearsed_as_the_letter_says_and_nothing_is_written(serve: Serve, universe: Universe) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        past = lived(world, Random(7))
        before = world.fingerprint(), world.rows("SELECT count(*) FROM stored_events")
        for text in DRAFTS:
            found = await rehearsed(caller, text, universe)
            expected = counted(past, text, universe)
            assert [(it.entered, it.exited, it.members) for it in found.days] == expected, text
            assert len(found.sample) == min(20, sum(came + went for came, went, _ in expected))
            for one in found.sample:
                at = one.move_time.ToDatetime(UTC)
                assert (UUID(one.customer_id) in past.members(read(text), universe, at)) == one.entered
        assert (world.fingerprint(), world.rows("SELECT count(*) FROM stored_events")) == before
        assert list(found.known_now_leaves) == ['city = "Shanghai"']
        few = await rehearsed(caller, 'event("checkin") count >= 1', universe)
        assert (few.followed_customers, few.members_before, {it.members for it in few.days}) == (0, 0, {0})

        # The negative control: who does not look at one customer counts otherwise.
        lacking = past._replace(histories={who: it for who, it in past.histories.items() if it.behaviours[3:]})
        assert any(counted(lacking, text, universe) != counted(past, text, universe) for text in DRAFTS)

    serve(check)


def test_what_is_too_much_or_no_past_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.at(local(10))
        world.tell(*(created_at(it, local(1)) for it in PEOPLE))
        draft = Draft(read('city = "Shanghai"'), Universe.ALL, date(2025, 3, FIRST), date(2025, 3, LAST), local(10))
        with monkeypatch.context() as patched, world.engine.connect() as rows:
            patched.setattr(rehearsal, "MOST_COST", 31)
            with pytest.raises(RehearsalTooLarge):
                rehearse(rows, TENANT, draft)
            patched.setattr(rehearsal, "MOST_COST", 32)
            assert rehearse(rows, TENANT, draft).looked_at == len(PEOPLE)

        static = segment_pb2.SegmentDefinition(static=segment_pb2.StaticList())
        dynamic = segment_pb2.SegmentDefinition(dynamic=condition_message(read('city = "Shanghai"')))

        def day(number: int, month: int = 3, year: int = 2025) -> Date:
            return Date(year=year, month=month, day=number)

        for reason, definition, first, last in (
            ("MALFORMED_CONDITION", static, day(1), day(2)),
            ("OUT_OF_RANGE", dynamic, day(2), day(1)),
            ("OUT_OF_RANGE", dynamic, day(1), day(11)),
            ("OUT_OF_RANGE", dynamic, day(1, 3, 2024), day(2)),
        ):
            fields = {"definition": definition, "from_day": first, "to_day": last}
            assert (await caller.refused("RehearseSegment", **fields)).reason == reason

    serve(check)
