"""The facts that are kept of customers, and the histories they make, in whatever order they came."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from google.protobuf.message import Message

from scrm.identity.v1 import attribute_pb2
from scrm.identity.v1 import events_pb2 as identity
from scrm.tracking.v1 import events_pb2 as tracking
from services.tagging.application.fact_messages import essence
from services.tagging.domain.history import Line
from services.tagging.domain.profile import (
    AttributeValue,
    Consent,
    FollowUp,
    GuideWord,
    agreed,
    attributes_of,
    guide_of,
)
from services.tagging.read_models.histories import histories
from tests.tagging.world import (
    START,
    World,
    behaved,
    consented,
    created_at,
    guided,
    in_group,
    knows,
    merged,
    paid,
    person,
    placed,
    refunded,
    unmerged,
)

A, B = person("A"), person("B")
GUIDE, OTHER, STORE = person("guide"), person("other guide"), person("store")
SERUM = Line("s1", "serum", "brand", 2, 3000, 2500)
DAY = timedelta(days=1)


def facts() -> list[Message]:
    return [
        created_at(A, START),
        created_at(B, START - DAY, known=False),
        behaved(A, START + DAY, offset=480, seconds=12, topic="serum"),
        behaved(B, START, kind="order_reviewed", stars=5),
        placed(A, 1, START, SERUM),
        paid(A, 1, START + DAY, 2500),
        refunded(A, 1, "r", START + 2 * DAY, 500),
        paid(B, 2, START, 900),
        knows(A, "city", "Shanghai", START, rank=15, source=7),
        knows(B, "city", "Beijing", START, rank=50),
        knows(A, "hobbies", '["dance"]', START),
        knows(B, "hobbies", '["sing", "dance"]', START + DAY),
        knows(B, "family.household_size", "3", START),
        knows(A, "region", "East", START),
        knows(A, "region", None, START + DAY),
        consented(A, "MARKETING", "GRANTED", START),
        consented(B, "MARKETING", "DENIED", START - DAY, channel="SMS"),
        consented(A, "PROFILING", "GRANTED", START),
        guided(A, GUIDE, START, store=STORE),
        guided(B, OTHER, START - DAY),
        in_group(A, "g1", START),
        in_group(B, "g2", START),
        in_group(B, "g2", START + DAY, joined=False),
    ]


def test_a_history_holds_what_is_known_of_all_nodes_of_a_customer(world: World) -> None:
    world.tell(*facts(), merged(A, B))
    it = world.history(A)
    assert (it.created_at, it.known_since) == (START - DAY, START)
    assert [(one.at, one.type, one.offset, dict(one.properties)) for one in it.behaviours] == [
        (START, "order_reviewed", None, {"stars": 5}),
        (START + DAY, "content_viewed", 480, {"seconds": 12, "topic": "serum"}),
    ]
    assert [(one.net, one.lines) for one in it.purchases] == [(900, ()), (2000, (SERUM,))]
    assert it.attributes == {"city": "Beijing", "hobbies": ("sing", "dance"), "family.household_size": 3.0}
    assert it.consents == {"MARKETING", "PROFILING"}
    assert it.relations == {"guide": str(GUIDE), "store": str(STORE)}
    assert it.groups == {"g1"}
    with world.engine.connect() as rows:
        assert histories(rows, "acme", (B,)) == histories(rows, "other", (A,)) == {}


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_facts_and_repeats_makes_the_same_histories(world: World, seed: int) -> None:
    random = Random(seed)
    world.tell(*facts(), merged(A, B))
    joined = world.history(A)
    world.tell(unmerged(A, B))
    apart = world.history(A), world.history(B)
    assert apart[1].attributes["city"] == "Beijing"

    messages = [*facts(), *facts()[2:], merged(A, B)]
    random.shuffle(messages)
    messages.sort(key=lambda it: isinstance(it, tracking.OrderRefunded))  # those of one order keep their order
    world.tell(*messages, tenant="other", batch=random.randint(1, 9))
    assert world.history(A, "other") == joined
    world.tell(unmerged(A, B), tenant="other")
    assert (world.history(A, "other"), world.history(B, "other")) == apart
    assert world.rebuild() == {}


def test_what_is_kept_for_a_rebuild_makes_the_same_rows(world: World) -> None:
    batch = [world.incoming(it) for it in facts()]
    world.absorb(batch)
    before = world.history(A)
    world.absorb([essence(it) for it in batch])
    assert world.history(A) == before
    assert world.rows("SELECT count(*) FROM behaviours") == [(2,)]


def test_attributes_that_a_brand_defined_are_read_by_their_type_and_policy(world: World) -> None:
    definition = attribute_pb2.AttributeDefinition(
        key="shoe_size", type=attribute_pb2.ATTRIBUTE_TYPE_NUMBER, merge_policy=attribute_pb2.MERGE_POLICY_NEWEST
    )
    world.tell(
        identity.AttributeDefined(definition=definition),
        created_at(A, START),
        knows(A, "shoe_size", "41", START, rank=50),
        knows(A, "shoe_size", "42.5", START + DAY, rank=5, source=8),
    )
    assert world.history(A).attributes == {"shoe_size": 42.5}
    assert world.rebuild() == {}


def test_an_attribute_whose_value_nobody_may_know_hides_what_worse_sources_say() -> None:
    said = [
        AttributeValue(A, "city", 4, 30, None, False, START),
        AttributeValue(A, "city", 7, 15, "Beijing", False, START),
    ]
    assert attributes_of(said, {}) == {}
    assert attributes_of([said[0]._replace(cleared=True), said[1]], {}) == {"city": "Beijing"}


def test_of_what_two_nodes_said_the_stricter_holds_unless_something_later_was_said_for_both() -> None:
    yes = Consent(A, "MARKETING", "", "GRANTED", START, ())
    no = Consent(B, "MARKETING", "", "WITHDRAWN", START - DAY, ())
    assert agreed([yes, no]) == frozenset()
    assert agreed([yes._replace(beside=(B,)), no]) == {"MARKETING"}
    assert agreed([yes, yes._replace(channel="SMS", state="DENIED", at=START + DAY)]) == {"MARKETING"}


def test_the_guide_is_who_followed_up_last_and_a_transfer_makes_nothing_newer() -> None:
    first = GuideWord(A, START, "ASSIGNED", GUIDE, STORE, ())
    second = GuideWord(B, START + DAY, "ASSIGNED", OTHER, None, ())
    assert guide_of([first, second], []) == (OTHER, None)
    assert guide_of([first, second], [FollowUp(A, GUIDE, START)]) == (GUIDE, STORE)
    handed_over = GuideWord(A, START + 2 * DAY, "TRANSFERRED", STORE, None, ())
    assert guide_of([first, second, handed_over], []) == (OTHER, None)
    assert guide_of([first, GuideWord(B, START + DAY, "UNASSIGNED", None, None, (A,))], []) is None


def test_what_had_happened_by_an_instant(world: World) -> None:
    world.tell(*facts())
    it = world.history(A).up_to(datetime(2025, 1, 1, tzinfo=UTC))
    assert (it.known_since, it.behaviours, it.purchases) == (None, [], [])
