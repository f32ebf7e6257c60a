"""What people allow, and where they can be reached, holds when a message is about to go, whenever it was planned."""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from chassis.envelope import Incoming
from scrm.campaigns.v1 import campaigns_service_pb2 as rpc
from scrm.identity.v1 import consent_pb2 as consents
from scrm.identity.v1.events_pb2 import ConsentChanged, ReachabilityChanged
from services.campaigns.adapters.capture_channel import CaptureChannel
from services.campaigns.adapters.order_book import SqlIntake
from services.campaigns.adapters.permission_book import SqlPermissionBook
from services.campaigns.application.permission_facts import EVENTS
from services.campaigns.domain.delivery_batch import DeliveryBatch
from services.campaigns.domain.design import Arm, BucketRange, Design
from services.campaigns.domain.flow_definition import Definition, Fact, FactKind, Reentry, Step, StepKind
from services.campaigns.domain.flow_instance import FlowInstance
from services.campaigns.domain.permissions import NO_CONSENT, UNREACHABLE, Consent, MessageClass, Reachability
from services.campaigns.service import absorb_permissions
from tests.campaigns.flow_world import DAY, HOUR, MINUTE, REMINDER, SMS, UNPAID, Flows
from tests.campaigns.test_erasure import erasing
from tests.campaigns.test_read_models import Reading, reading  # noqa: F401 (a fixture)
from tests.campaigns.world import START, TENANT, ListedAudience, World, customer, people

_WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
SEGMENT = Fact(FactKind.SEGMENT_ENTERED, str(customer("vips")))
OFFER = "20 % off"
OFFERS = Definition(
    SEGMENT,
    (
        Step("wait", StepKind.WAIT, seconds=3600),
        Step("offer", StepKind.SEND, text=OFFER, message_class=MessageClass.MARKETING, channel="SMS"),
    ),
)
REMINDERS = replace(UNPAID, steps=tuple(replace(it, channel="SMS" if it.text else "") for it in UNPAID.steps))
"""Both messages of it go by text message, and serve."""


@pytest.fixture
def flows(world: World) -> Flows:
    return Flows(world)


def said(
    world: World, who: str, state: str, at: datetime, channel: str = "SMS", beside: Iterable[str] = ()
) -> Incoming:
    """Of marketing on a channel somebody said yes, no, or no longer."""
    message = ConsentChanged(node_id=str(customer(who)), beside_node_ids=[str(customer(it)) for it in beside])
    message.consent.purpose = consents.CONSENT_PURPOSE_MARKETING
    message.consent.channel, message.consent.state = channel, consents.ConsentState.Value(f"CONSENT_STATE_{state}")
    message.consent.make_time.FromDatetime(at)
    return world._incoming("identity", message, at, who)


def reaches(world: World, who: str, reachable: bool, at: datetime, channel: str = "SMS") -> Incoming:
    """A platform says whether messages of a channel come through to somebody."""
    message = ReachabilityChanged(node_id=str(customer(who)))
    told = message.reachability
    told.channel, told.reachable, told.reason = channel, reachable, "STOPPED"
    told.since_time.FromDatetime(at)
    return world._incoming("identity", message, at, who)


def offered(flows: Flows, *who: str) -> None:
    """These come into the segment now, and an hour later are to get an offer."""
    now = flows.world.clock.now()
    flows.world.tell(*(flows.world.entered_segment(it, "vips", now) for it in who))
    flows.pass_to(now + 2 * HOUR)


def reasons(world: World) -> list[tuple[str, str]]:
    """The steps that were left out, with why, in order."""
    return [(it.step, it.reason) for it in world.events(FlowInstance.StepExecuted) if it.result == "SUPPRESSED"]


def test_ac_14_who_replied_stop_gets_no_offer_that_is_queued_already_and_is_still_reminded(flows: Flows) -> None:
    world = flows.world
    flows.publish(OFFERS)
    flows.publish(REMINDERS)
    world.tell(*(said(world, it, "GRANTED", START) for it in ("ann", "bob", "carol")))
    flows.pass_to(START + 30 * MINUTE)
    world.tell(*(world.entered_segment(it, "vips", START + 30 * MINUTE) for it in ("ann", "bob", "carol")))
    world.tell(*(world.stalled(it, f"{it} order", START) for it in ("ann", "carol")))
    flows.pass_to(START + HOUR)
    world.tell(said(world, "ann", "WITHDRAWN", START + HOUR), reaches(world, "carol", False, START + HOUR))
    flows.pass_to(START + DAY)
    assert flows.texts("ann") == [REMINDER, SMS], "what serves goes without consent"
    assert flows.texts("bob") == [OFFER], "nobody took anything back"
    assert flows.texts("carol") == [REMINDER], "nothing reaches who cannot be reached, whatever it is"
    assert Counter(reasons(world)) == {("offer", NO_CONSENT): 1, ("offer", UNREACHABLE): 1, ("sms", UNREACHABLE): 1}
    assert flows.ends() == {"COMPLETED": 5}, "what is not sent is a step like any other"
    assert {it.channel for it in world.provider.calls} == {"SMS"}


def test_ac_14_a_message_between_planning_and_sending_is_still_stopped(flows: Flows) -> None:
    world = flows.world
    flows.publish(replace(OFFERS, steps=OFFERS.steps[1:]))
    world.tell(said(world, "ann", "GRANTED", START), world.entered_segment("ann", "vips", START))
    world.tell(said(world, "ann", "WITHDRAWN", START + MINUTE))
    world.settle()
    assert (flows.texts("ann"), reasons(world)) == ([], [("offer", NO_CONSENT)])


def test_ac_14_who_says_yes_again_or_comes_back_gets_offers_again(flows: Flows) -> None:
    world = flows.world
    flows.publish(OFFERS)
    world.tell(said(world, "ann", "WITHDRAWN", START), reaches(world, "bob", False, START))
    world.tell(said(world, "ann", "GRANTED", START + MINUTE), reaches(world, "bob", True, START + MINUTE))
    world.tell(said(world, "ann", "DENIED", START), reaches(world, "bob", False, START))  # older, and told late
    offered(flows, "ann", "bob")
    assert flows.results()["offer", "SENT"] == 2


@pytest.mark.parametrize(
    ("told", "refused"),
    [
        ((), NO_CONSENT),  # never said anything, and the platform never told of them
        (((True, "SMS"),), None),  # added the channel
        (((False, "SMS"),), UNREACHABLE),
        (((True, "OA"),), NO_CONSENT),
        ((("GRANTED", ""),), None),
        ((("GRANTED", "OA"),), NO_CONSENT),
        ((("DENIED", ""), (True, "SMS")), NO_CONSENT),
        ((("GRANTED", "SMS"), ("WITHDRAWN", "")), NO_CONSENT),  # for all channels, later
        ((("WITHDRAWN", ""), ("GRANTED", "SMS")), None),  # for this one, later
        ((("GRANTED", "SMS"), (False, "OA")), None),
    ],
)
def test_what_was_said_last_for_the_channel_or_for_all_counts(memory_world: World, told: Any, refused: str) -> None:
    flows, world = Flows(memory_world), memory_world
    flows.publish(OFFERS)
    for n, (word, channel) in enumerate(told):
        tell = said if isinstance(word, str) else reaches
        world.tell(tell(world, "ann", word, START + n * MINUTE, channel))
    offered(flows, "ann")
    assert reasons(world) == ([("offer", refused)] if refused else [])


def test_of_two_nodes_of_one_person_the_strictest_word_counts_and_both_have_their_own_again(flows: Flows) -> None:
    world = flows.world
    flows.publish(replace(OFFERS, reentry=Reentry.AFTER_EXIT))
    world.tell(said(world, "ann", "GRANTED", START), said(world, "bob", "WITHDRAWN", START))
    world.tell(world.merged("ann", "bob", START))
    offered(flows, "ann")
    assert flows.texts("ann") == []
    world.tell(world.unmerged("ann", "bob", START))
    offered(flows, "ann", "bob")
    assert (flows.texts("ann"), flows.texts("bob")) == ([OFFER], [])
    world.tell(world.merged("ann", "bob", START))
    world.tell(said(world, "ann", "GRANTED", START + DAY, beside=("bob",)))  # by the one person that they are
    offered(flows, "ann")
    assert flows.texts("ann") == [OFFER, OFFER]


def test_who_can_be_reached_by_one_node_can_be_reached(flows: Flows) -> None:
    world = flows.world
    flows.publish(replace(REMINDERS, trigger=SEGMENT, reentry=Reentry.AFTER_EXIT))
    world.tell(reaches(world, "ann", True, START), reaches(world, "bob", False, START + MINUTE))
    world.tell(world.merged("ann", "bob", START), world.entered_segment("ann", "vips", START))
    world.settle()
    assert flows.texts("ann") == [REMINDER]
    world.tell(world.unmerged("ann", "bob", START), world.entered_segment("bob", "vips", START))
    world.settle()
    assert flows.texts("bob") == []


def test_ac_14_a_broadcast_leaves_out_who_allows_none_and_every_count_adds_up(reading: Reading) -> None:  # noqa: F811
    """Of a hundred, ten took back their consent, ten never said anything, ten cannot be reached, and two are one."""
    audience = people(100)
    keys, world = [key for _, key in audience], reading.world
    world.audience = ListedAudience(audience)
    world.tell(*(said(world, it, "GRANTED", START) for it in keys[10:]))
    world.tell(*(said(world, it, "WITHDRAWN", START, "") for it in keys[10:20]))
    world.tell(*(reaches(world, it, False, START) for it in keys[20:30]), world.merged(keys[30], keys[31], START))
    id = world.dispatched(Design.plain(OFFER, "SMS"), experiment=None)
    reading.catch_up()
    counts = reading.ask("GetBroadcastStatistics", rpc.GetBroadcastStatisticsRequest(broadcast_id=str(id))).statistics
    by_reason = dict(counts.suppressed)
    assert set(by_reason) == {NO_CONSENT, UNREACHABLE, "MERGED"}
    assert counts.assigned == counts.sent + sum(by_reason.values())
    assert counts.targeted == counts.assigned + counts.global_control == 100
    written_to = {it.customer for it in world.provider.calls}
    assert len(written_to) == counts.sent
    assert written_to <= {customer(it) for it in (keys[30], *keys[32:])}
    world.run(CaptureChannel(reading.engine, world.clock).send(TENANT, world.provider.calls))
    kept = reading.ask("ListCapturedMessages", rpc.ListCapturedMessagesRequest(broadcast_id=str(id))).messages
    assert {it.channel for it in kept} == {"SMS"}
    assert reading.ask("GetBroadcast", rpc.GetBroadcastRequest(broadcast_id=str(id))).broadcast.message.channel == "SMS"


def test_what_an_arm_goes_by_and_what_is_said_of_it_is_its_own(world: World) -> None:
    arms = (Arm("sms", BucketRange(0, 5000), OFFER, "SMS"), Arm("plain", BucketRange(5000, 10_000), OFFER))
    world.tell(*(said(world, key, "DENIED", START) for _, key in people(200)))
    world.dispatched(Design(arms))
    suppressed = Counter(reason for it in world.events(DeliveryBatch.Reserved) for reason in it.suppressed)
    assert set(suppressed) == {NO_CONSENT}
    assert {it.arm for it in world.provider.calls} == {"plain"}


def test_nobody_of_whom_nothing_was_said_is_left_out_by_a_channel_without_a_name(world: World) -> None:
    world.dispatched()
    assert all(not it.suppressed for it in world.events(DeliveryBatch.Reserved))
    assert world.provider.calls


def test_of_who_is_erased_nothing_is_left_and_nothing_is_heard(reading: Reading) -> None:  # noqa: F811
    world = reading.world
    world.tell(said(world, "ann", "WITHDRAWN", START), reaches(world, "ann", False, START))
    world.tell(said(world, "bob", "GRANTED", START, beside=("ann", "carol")), reaches(world, "bob", True, START))
    world.tell(erasing(world, "ann"))
    world.tell(said(world, "ann", "GRANTED", START + DAY), reaches(world, "ann", True, START + DAY))
    world.tell(said(world, "bob", "GRANTED", START + DAY, beside=("ann", "carol")))
    with reading.engine.connect() as rows:
        assert [tuple(it) for it in rows.exec_driver_sql("SELECT node, beside FROM consents")] == [
            (customer("bob"), [customer("carol")])
        ]
        assert rows.exec_driver_sql("SELECT node FROM reachability").scalars().all() == [customer("bob")]


def test_what_is_said_while_somebody_is_being_erased_is_not_kept(reading: Reading) -> None:  # noqa: F811
    """Two consumers hear of the two; whoever comes second waits for the first."""
    ann = customer("ann")

    def note() -> None:
        with reading.engine.begin() as rows:
            word = Consent(ann, "MARKETING", "SMS", "GRANTED", START)
            SqlPermissionBook(rows, TENANT).note([word], [Reachability(ann, "SMS", True, START)])

    with ThreadPoolExecutor(1) as threads, reading.engine.connect() as looking:
        with reading.engine.begin() as rows:
            SqlIntake(rows).erase(TENANT, {ann: customer("nobody")})
            noting = threads.submit(note)
            while not looking.exec_driver_sql(_WAITING).scalar():
                assert not noting.done(), "it did not wait"
        noting.result(10)
        for table in ("consents", "reachability"):
            assert looking.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_the_consumer_keeps_what_it_hears(reading: Reading) -> None:  # noqa: F811
    world, bob = reading.world, customer("bob")
    batch = [
        said(world, "bob", "GRANTED", START),
        said(world, "bob", "DENIED", START),
        reaches(world, "bob", True, START),
    ]
    world.run(world.bus.effect(lambda work: absorb_permissions(batch, work), world.context))
    with reading.engine.begin() as rows:
        held = SqlPermissionBook(rows, TENANT).of([bob, customer("ann")])
    assert set(held) == {bob}
    assert held[bob].refusal(MessageClass.MARKETING, "SMS") == NO_CONSENT
    assert held[bob].refusal(MessageClass.SERVICE, "SMS") is None


def test_facts_of_other_kinds_ask_the_tables_of_permissions_nothing(memory_world: World) -> None:
    """Two more names in the subscription are all that it costs a tenant of whom nothing is said."""
    assert EVENTS == ("consent_changed", "reachability_changed")
    world = memory_world

    def untouched(work: Any) -> Any:
        raise AssertionError("asked")

    world.tables = replace(world.tables, permissions=untouched)
    world.tell(world.paid("ann", "o1", START), world.seen("bob", START), world.merged("ann", "bob", START))
