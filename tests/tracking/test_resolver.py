"""The resolver: every accepted event gets its node once, in order, whoever is down meanwhile."""

import asyncio
from datetime import timedelta

import pytest

from chassis.errors import Unavailable
from scrm.tracking.v1 import events_pb2
from scrm.tracking.v1.behaviour_pb2 import Identifier
from services.tracking.adapters.behaviour_log import BehaviourLog
from services.tracking.adapters.resolver import CursorMoved
from tests.tracking.touches import NOON, Tracking, event, view


def test_an_accepted_event_becomes_a_behaviour_of_its_node(tracking: Tracking) -> None:
    tracking.track(view("m1", "pv1", code="ST03"), event("m2", at=NOON - timedelta(days=3)))
    assert tracking.resolve() == 2

    found = tracking.rows(
        "SELECT message_id, node, category, content_id, page_view_id, code_key, late, properties FROM behaviours ORDER BY position"
    )
    node = tracking.identity.node("a:1")
    assert found == [
        ("m1", node, "I", "H5-1", "pv1", "ST03", False, "{}"),
        ("m2", node, "I", "", "", "", True, "{}"),
    ]


def test_properties_stand_in_for_what_the_context_does_not_say(tracking: Tracking) -> None:
    tracking.track(event("m1", "content_viewed", properties=b'{"content_id":"H5-2","page_view_id":"pv"}'))
    tracking.resolve()
    assert tracking.rows("SELECT content_id, page_view_id FROM behaviours") == [("H5-2", "pv")]


def test_behaviours_are_published_in_the_order_in_which_they_were_accepted(tracking: Tracking) -> None:
    for n in range(5):
        tracking.track(*(event(f"{n}.{m}", person=f"a:{m}", tz_offset_minutes=480) for m in range(30)))
    tracking.resolve()
    log = BehaviourLog(tracking.store.engine)

    first = log.read(0, 40)
    rest = log.read(first[-1].position, 1000)

    outgoing = [*first, *rest]
    messages = [events_pb2.BehaviourTracked.FromString(it.payload) for it in outgoing]
    assert [it.message_id for it in messages] == [f"{n}.{m}" for n in range(5) for m in range(30)]
    assert log.head() == outgoing[-1].position
    assert [it.position for it in outgoing] == sorted({it.position for it in outgoing})
    assert {it.name for it in outgoing} == {"behaviour_tracked"}
    assert all(str(it.partition_key) == message.node_id for it, message in zip(outgoing, messages, strict=True))
    assert messages[0].tz_offset_minutes == 480
    assert b"a:0" not in b"".join(it.payload for it in outgoing), "identifiers stay here"


def test_while_identity_is_down_events_are_accepted_and_wait(tracking: Tracking) -> None:
    tracking.identity.is_down = True
    assert tracking.track(event("m1"), event("m2")) == ["ACCEPTED", "ACCEPTED"]
    with pytest.raises(Unavailable):
        tracking.resolve()
    assert tracking.count("behaviours") == 0
    assert asyncio.run(tracking.resolver.progress())[0].backlog > 0

    tracking.identity.is_down = False
    tracking.resolve()
    assert tracking.count("behaviours") == 2
    assert asyncio.run(tracking.resolver.progress())[0].backlog == 0


def test_a_kill_between_acceptance_and_resolution_loses_and_doubles_nothing(tracking: Tracking) -> None:
    """A resolver that dies at any step leaves the events to the next one."""
    for n in range(10):
        tracking.track(*(event(f"{n}.{m}") for m in range(7)))
        dying = tracking.new_resolver(batch_limit=5)
        accepted = dying._read()
        asyncio.run(dying._nodes("acme", accepted))  # identity has answered, nothing is written: this one is gone
        tracking.resolver = tracking.new_resolver(batch_limit=5)
        if n % 2:
            tracking.resolve()
    tracking.resolve()
    names = tracking.rows("SELECT message_id FROM behaviours ORDER BY position")
    assert [it for (it,) in names] == [f"{n}.{m}" for n in range(10) for m in range(7)]


def test_of_two_resolvers_at_once_one_gives_way(tracking: Tracking) -> None:
    tracking.track(event("m1"))
    slow = tracking.new_resolver()
    accepted = slow._read()
    nodes = asyncio.run(slow._nodes("acme", accepted))
    tracking.resolve()
    with pytest.raises(CursorMoved):
        slow._write(accepted, nodes)
    assert tracking.count("behaviours") == 1


def test_control_without_the_cursor_the_event_would_be_written_twice(tracking: Tracking) -> None:
    tracking.track(event("m1"))
    slow = tracking.new_resolver()
    accepted = slow._read()
    nodes = asyncio.run(slow._nodes("acme", accepted))
    tracking.resolve()
    tracking.rows("UPDATE resolver_cursor SET position = 0 RETURNING 1")
    with pytest.raises(Exception, match="behaviours_pkey"):
        slow._write(accepted, nodes)


def test_whom_identity_cannot_tell_is_put_aside_and_counted_so(tracking: Tracking) -> None:
    tracking.identity.refused.add("shared")
    tracking.track(event("m1", person="shared", at=NOON - timedelta(days=2)), event("m2"))
    assert tracking.tallies() == {"ACCEPTED": 2}

    tracking.resolve()

    assert tracking.tallies() == {"ACCEPTED": 1, "QUARANTINED NO_IDENTITY": 1}
    assert tracking.rows("SELECT message_id, field FROM quarantine") == [("m1", "identifiers: NO_USABLE_IDENTIFIER")]
    assert tracking.rows("SELECT sum(late)::int FROM tallies WHERE outcome = 'ACCEPTED'") == [(0,)]
    assert tracking.count("behaviours") == 1


def test_identity_is_asked_without_the_identifiers_that_are_none(tracking: Tracking) -> None:
    identifiers = [Identifier(namespace="user_id", value="null"), Identifier(namespace="anonymous_id", value="a:1")]
    tracking.track(event("m1", identifiers=identifiers))
    tracking.resolve()
    assert tracking.identity.asked[0].identity == ((("anonymous_id", "", "a:1", False),), False)


def test_events_of_one_person_are_asked_about_once_per_batch(tracking: Tracking) -> None:
    tracking.track(*(event(f"m{n}", person=f"a:{n % 3}") for n in range(30)))
    tracking.resolve()
    assert len(tracking.identity.asked) == 3


def test_events_of_two_brands_get_the_nodes_of_their_brand(tracking: Tracking) -> None:
    tracking.track(event("m1"))
    tracking.track(event("m1"), tenant="globex")
    tracking.resolve()
    found = tracking.rows("SELECT tenant, node FROM behaviours ORDER BY position")
    assert found == [("acme", tracking.identity.node("a:1")), ("globex", tracking.identity.node("a:1", "globex"))]
