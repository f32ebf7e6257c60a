"""Community groups (TR-8): who is in them, from facts in any order, and how much of them takes part."""

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import orjson
import pytest

from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from scrm.tracking.v1.events_pb2 import GroupMembershipChanged
from services.tracking.application.group_commands import (
    GroupFact,
    RecordGroupFacts,
    RecordGroupMembership,
    UpsertGroup,
)
from services.tracking.domain.errors import FutureTimestamp
from services.tracking.domain.group import Change, GroupTerms
from services.tracking.read_models.groups import GroupCounts, group_stats
from tests.tracking.audience import Audience
from tests.tracking.definitions import Studio
from tests.tracking.shop import JANE
from tests.tracking.touches import NOON, event

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def in_group(
    message: str, event_type: str, person: str, at: datetime = NOON, group: str = "G", **more: Any
) -> TrackedEvent:
    return event(message, event_type, at, person, orjson.dumps({"group_id": group, **more}), source_key="wecom")


def stats(audience: Audience, *ids: str, start: datetime = NOON - DAY, end: datetime = NOON + DAY) -> list[GroupCounts]:
    return audience.ask(lambda rows: group_stats(rows, ids or ("G",), start, end))


def joined(*people: str, at: datetime = NOON - 3 * DAY) -> list[TrackedEvent]:
    return [in_group(f"j{it}", "group_joined", it, at) for it in people]


def test_what_is_said_of_a_group_last_counts(studio: Studio) -> None:
    first, second = GroupTerms("G1", "SH"), GroupTerms("G2", "SH")
    studio.tell(UpsertGroup("acme", "G", first), UpsertGroup("acme", "G", first), UpsertGroup("acme", "G", second))
    assert [it.group.owner_staff_id for it in studio.published] == ["G1", "G2"]  # type: ignore[attr-defined]


def move(change: Change, at: datetime = NOON) -> RecordGroupMembership:
    return RecordGroupMembership("acme", "G", JANE, change, at)


def test_a_change_is_recorded_once(studio: Studio) -> None:
    assert studio.tell(move(Change.JOINED), move(Change.JOINED)).is_in
    assert not studio.tell(move(Change.LEFT, NOON + timedelta(minutes=1))).is_in
    assert studio.events == ["Begun", "Moved", "Moved"]
    with pytest.raises(FutureTimestamp):
        studio.tell(move(Change.JOINED, NOON + HOUR))


def test_who_takes_part_is_in_the_group(studio: Studio) -> None:
    facts = (GroupFact(None, NOON), GroupFact(None, NOON + HOUR), GroupFact(Change.JOINED, NOON - DAY))
    studio.tell(RecordGroupFacts("acme", "G", JANE, facts))
    found = [it for it in studio.published if isinstance(it, GroupMembershipChanged)]
    assert [it.inferred for it in found] == [True, False]


def test_ac27_eight_of_fifty_speak(audience: Audience) -> None:
    audience.do(
        *joined(*(f"p{n}" for n in range(50))),
        *(in_group(f"m{n}", "group_message_sent", f"p{n % 8}") for n in range(20)),
        in_group("old", "group_message_sent", "p20", NOON - 2 * DAY),
    )
    [found] = stats(audience)
    assert (found.size, found.active, found.active / found.size) == (50, 8, 0.16)


def test_ac106_who_leaves_and_joins_again_within_an_hour(audience: Audience) -> None:
    """The size is as before, there is 1 leave and 1 join, and the last join is what silence is counted from."""
    audience.do(
        *joined("ann", "bob"),
        in_group("back", "group_joined", "ann", NOON + HOUR / 2),
        in_group("away", "group_left", "ann", NOON),
    )
    assert stats(audience) == [GroupCounts("G", 2, 1, 1, 0)]
    told = [it for it in audience.studio.published if isinstance(it, GroupMembershipChanged)]
    anns = [it for it in told if it.node_id == str(audience.node("ann"))]
    assert max(it.change_time.seconds for it in anns) == (NOON + HOUR / 2).timestamp()


def test_a_message_of_somebody_who_is_not_in_the_group_is_a_join(audience: Audience) -> None:
    audience.do(in_group("m1", "group_message_sent", "ann"))
    assert stats(audience) == [GroupCounts("G", 1, 1, 0, 1)]
    [told] = [it for it in audience.studio.published if isinstance(it, GroupMembershipChanged)]
    assert told.inferred
    audience.do(in_group("j1", "group_joined", "ann", NOON - HOUR))
    assert stats(audience) == [GroupCounts("G", 1, 1, 0, 1)], "the join itself comes late"


def test_whatever_order_facts_come_in_the_counts_are_the_same(audience: Audience) -> None:
    facts = (("group_joined", 0), ("group_left", 1), ("group_joined", 2), ("group_left", 3))
    for number, order in enumerate(permutations(facts)):
        events = [in_group(f"{number}.{n}", kind, "ann", NOON + n * HOUR / 4, group=f"G{number}") for kind, n in order]
        audience.tracking.track(*events)
    audience.settle()
    found = stats(audience, *(f"G{n}" for n in range(24)))
    assert {(it.size, it.joins, it.leaves) for it in found} == {(0, 2, 2)}
    assert len(found) == 24


def test_what_is_done_elsewhere_than_in_a_group_is_no_membership(audience: Audience) -> None:
    audience.do(
        event("1", "checkin", person="ann"),
        in_group("2", "checkin", "bob"),
        in_group("3", "activity_joined", "eve", activity_id="A"),
    )
    assert [(it.size, it.active) for it in stats(audience)] == [(2, 2)]
    assert audience.ask(lambda rows: group_stats(rows, ["G"], NOON - DAY, NOON + DAY), "globex") == []


def test_two_members_who_turn_out_to_be_one_are_counted_once_and_apart_again(audience: Audience) -> None:
    audience.do(*joined("ann", "bob", "eve"), in_group("m", "group_message_sent", "bob"))
    before = stats(audience)
    merge = audience.merge("ann", "bob")
    assert [(it.size, it.active) for it in stats(audience)] == [(2, 1)]
    audience.unmerge(merge, "ann", "bob")
    assert stats(audience) == before == [GroupCounts("G", 3, 0, 0, 1)]


def test_a_rebuild_gives_the_groups_of_live_running(audience: Audience) -> None:
    audience.do(*joined("ann", "bob"))
    audience.do(in_group("l", "group_left", "ann"), in_group("m", "group_message_sent", "eve"))
    live = audience.projector.canonical_hash("groups")
    audience.rebuild("groups")
    assert audience.projector.canonical_hash("groups") == live
