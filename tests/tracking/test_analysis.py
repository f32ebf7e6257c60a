"""Purchase paths and insights as they are told and read: on PostgreSQL, with identity's merges and a clock set by hand."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import product
from random import Random
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from deploy.local import erasure_check
from deploy.local.canaries import Hunt, Snapshot, Words
from deploy.local.postgres import Database
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1.events_pb2 import (
    CustomerBecameKnown,
    CustomerCreated,
    CustomerErasing,
    CustomersMerged,
    CustomerUnmerged,
)
from scrm.tracking.v1 import events_pb2 as pb
from scrm.tracking.v1 import insight_pb2, path_pb2
from services.tracking.adapters import erasures
from services.tracking.application.commands import RecordOrderCancelled
from services.tracking.application.erasure_commands import BeginErasure
from services.tracking.application.share_commands import CreateShare
from services.tracking.domain.funnel import Funnel, Question
from services.tracking.domain.insights import Kind
from services.tracking.domain.missions import Result
from services.tracking.domain.order_facts import Line
from services.tracking.domain.path_facts import Step
from services.tracking.read_models.customer_nodes import customer_of, nodes_of
from services.tracking.read_models.histories import missions_of_all
from services.tracking.read_models.insights import list_insights
from services.tracking.read_models.shares import tree_of
from services.tracking.read_models.trail import trail_of
from tests.tracking.analyst import Analyst, did
from tests.tracking.shop import JANE, NOON
from tests.tracking.test_read_models import incoming

MERGE = "0192d3c4-0000-7000-8000-0000000000aa"


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def created(node: UUID, *, known: bool = False) -> Any:
    state = customer_pb2.CUSTOMER_STATE_KNOWN if known else customer_pb2.CUSTOMER_STATE_ANONYMOUS
    return about(CustomerCreated(customer_id=str(node), node_id=str(node), state=state))


def merged(survivor: UUID, loser: UUID) -> Any:
    return about(CustomersMerged(merge_id=MERGE, survivor_id=str(survivor), loser_id=str(loser), node_ids=[str(loser)]))


def unmerged(survivor: UUID, restored: UUID) -> Any:
    return about(
        CustomerUnmerged(merge_id=MERGE, survivor_id=str(survivor), restored_id=str(restored), node_ids=[str(restored)])
    )


def about(message: Message) -> Any:
    return incoming(message, "k")


def lines(cents: int) -> list[Line]:
    return [Line("S1", "skincare", "", 1, cents, cents)]


def reached(analyst: Analyst) -> list[Any]:
    return [it.path_node for it in analyst.told_of(pb.PathNodeReached)]


def test_a_purchase_is_told_node_by_node_and_closes_the_mission(analyst: Analyst) -> None:
    jane = analyst.node("a:1")
    analyst.track(
        did("product_viewed", NOON - hours(3), sku="S1", category="skincare"),
        did("cart_added", NOON - hours(2), sku="S1"),
        did("product_viewed", NOON - hours(2), sku="S1", message_id="again"),
    )
    analyst.shop.tell(analyst.shop.placed("1", 100, NOON - hours(1), node=jane, lines=lines(100)))
    analyst.shop.tell(analyst.shop.paid("1", 100, NOON - hours(0.9), node=jane))
    analyst.follow()

    names = [path_pb2.PathNode.Name(it).removeprefix("PATH_NODE_") for it in reached(analyst)]
    assert names == ["VIEW_PRODUCT", "ADD_TO_CART", "PLACE_ORDER", "PAY"]
    [closed] = analyst.told_of(pb.MissionClosed)
    assert closed.result == path_pb2.MISSION_RESULT_REALISED
    [mission] = analyst.missions(jane)
    assert {closed.mission_id} == {it.mission_id for it in analyst.told_of(pb.PathNodeReached)}
    assert closed.mission_id == str(mission.id("acme"))
    analyst.at(NOON + timedelta(days=30))
    assert analyst.told_of(pb.PathStalled) == []
    assert len(analyst.told_of(pb.MissionClosed)) == 1


def test_ac31_an_order_unpaid_for_half_an_hour_stalls_and_one_paid_a_second_before_does_not(analyst: Analyst) -> None:
    half = timedelta(minutes=30)
    shop = analyst.shop
    shop.tell(shop.placed("slow", 100, NOON, lines=lines(100)), shop.placed("quick", 100, NOON, node=analyst.node("q")))
    analyst.follow()
    analyst.at(NOON + half - timedelta(seconds=1))
    assert analyst.told_of(pb.PathStalled) == []
    shop.tell(shop.paid("quick", 100, NOON + half - timedelta(seconds=1), node=analyst.node("q")))
    analyst.at(NOON + half)

    [stalled] = analyst.told_of(pb.PathStalled)
    assert stalled.order_id == str(shop.key("slow").id)
    assert (stalled.path_node, stalled.after_seconds) == (path_pb2.PATH_NODE_PLACE_ORDER, 1800)
    assert path_pb2.PATH_NODE_HESITATE in reached(analyst)

    analyst.at(NOON + hours(23))
    assert [it.after_seconds for it in analyst.told_of(pb.PathStalled)] == [1800, 82800]
    shop.tell(RecordOrderCancelled(shop.key("slow"), NOON + hours(23)))
    analyst.follow()
    assert [it.result for it in analyst.missions(JANE)] == [Result.CANCELLED]


def test_a_cart_of_one_device_does_not_stall_when_the_same_customer_orders_on_another(analyst: Analyst) -> None:
    phone, desk = analyst.node("phone"), analyst.node("desk")
    analyst.hear(created(phone), created(desk))
    analyst.track(did("cart_added", NOON, "phone", sku="S1", category="skincare"))
    analyst.track(did("cart_added", NOON, "other", sku="S1", category="skincare"))
    shop = analyst.shop
    shop.tell(shop.placed("1", 100, NOON + timedelta(minutes=4), node=desk, lines=lines(100)))
    shop.tell(shop.paid("1", 100, NOON + timedelta(minutes=5), node=desk))
    analyst.hear(merged(desk, phone))
    analyst.at(NOON + hours(3))
    assert [it.node_id for it in analyst.told_of(pb.PathStalled)] == [str(analyst.node("other"))]


def test_a_mission_that_nothing_follows_on_is_told_as_abandoned_after_seven_days(analyst: Analyst) -> None:
    analyst.track(did("search_performed", NOON, keyword="cream"))
    analyst.at(NOON + timedelta(days=7) - timedelta(seconds=1))
    assert analyst.told_of(pb.MissionClosed) == []
    analyst.at(NOON + timedelta(days=7))
    [closed] = analyst.told_of(pb.MissionClosed)
    assert (closed.result, closed.category) == (path_pb2.MISSION_RESULT_ABANDONED, "UNKNOWN")


def funnel(analyst: Analyst, *steps: Step) -> Funnel:
    question = Question(NOON - timedelta(days=1), NOON + timedelta(days=1), steps)
    found = Funnel(question)

    def count(rows: Any) -> None:
        for it in missions_of_all(rows, question.start, question.until):
            found.add(it.missions)

    analyst.ask(count)
    return found


def test_ac30_step_rates_of_a_thousand_viewers_and_an_order_without_a_cart(analyst: Analyst) -> None:
    shop = analyst.shop
    people = [f"p{n}" for n in range(1000)]
    analyst.track(*(did("product_viewed", NOON - hours(8), it, sku="S1", category="skincare") for it in people))
    analyst.track(*(did("cart_added", NOON - hours(7), it, sku="S1") for it in people[:300]))
    buyers = [(it, analyst.node(it)) for it in people[:120]]
    shop.bring(*(shop.placed(it, 100, NOON - hours(6), node=node, lines=lines(100)) for it, node in buyers))
    shop.bring(*(shop.paid(it, 100, NOON - hours(5), node=node) for it, node in buyers[:90]))
    shop.bring(shop.placed("direct", 100, NOON - hours(6), lines=lines(100)), shop.paid("direct", 100, NOON - hours(5)))
    analyst.follow()

    found = funnel(analyst, Step.VIEW_PRODUCT, Step.ADD_TO_CART, Step.PLACE_ORDER, Step.PAY)
    counts = [it.customers for it in found.steps()]
    assert counts == [1000, 300, 120, 90]
    assert [counts[n + 1] / counts[n] for n in range(3)] == [0.30, 0.40, 0.75]
    assert counts[3] / counts[0] == 0.09
    assert [it.median_time for it in found.steps()] == [None, hours(1), hours(1), hours(1)]
    assert {step: it.missions for step, it in found.entries.items()} == {Step.VIEW_PRODUCT: 1000, Step.PLACE_ORDER: 1}

    alone = funnel(analyst, Step.PLACE_ORDER, Step.PAY)
    assert [it.customers for it in alone.steps()] == [121, 91]


def test_facts_in_any_order_and_merges_in_between_give_the_same_trail_missions_and_counts(
    analyst: Analyst,
) -> None:
    """A thousand events of one customer with three devices: against the trail and the missions of all facts at once."""
    random = Random(11)
    kinds = ["product_viewed", "cart_added", "search_performed", "content_viewed", "favourite_added"]
    events = []
    for n in range(1000):
        at = NOON - timedelta(minutes=random.randrange(0, 60 * 24 * 29))
        kind, sku = random.choice(kinds), random.choice(["S1", "S2"])
        properties = {"keyword": "k"} if kind == "search_performed" else {"sku": sku}
        if kind == "product_viewed":
            properties["category"] = {"S1": "skincare", "S2": "makeup"}[sku]
        view = {"content": "H5-1", "page_view": f"pv{n}"} if kind == "content_viewed" else {}
        person = random.choice(["a", "b", "c"])
        events.append(did(kind, at, person, message_id=str(n), **view, **({} if view else properties)))
    a, b, c = map(analyst.node, "abc")
    told = [created(a), created(b), created(c), merged(a, b), unmerged(a, b)]
    last = about(CustomersMerged(merge_id=str(UUID(int=5)), survivor_id=str(a), loser_id=str(b), node_ids=[str(b)]))
    other = about(CustomersMerged(merge_id=str(UUID(int=6)), survivor_id=str(a), loser_id=str(c), node_ids=[str(c)]))
    random.shuffle(events)
    messages = [*told, last, other]
    for start in range(0, 1000, 125):
        if messages:
            analyst.hear(messages.pop(0))
        analyst.track(*events[start : start + 125])

    found = analyst.ask(lambda rows: trail_of(rows, nodes_of(rows, customer_of(rows, c))))
    expected = analyst.ask(lambda rows: trail_of(rows, [a, b, c]))
    assert len(found.entries()) == 1000
    assert found.entries() == expected.entries()
    assert found.engagement() == expected.engagement()
    assert analyst.missions(b) == analyst.missions(a) != []
    everybody = analyst.ask(lambda rows: list(missions_of_all(rows, NOON - timedelta(days=40), NOON)))
    assert [it.customer for it in everybody] == [a]
    assert everybody[0].missions == analyst.missions(a)

    again = about(
        CustomerUnmerged(merge_id=str(UUID(int=5)), survivor_id=str(a), restored_id=str(b), node_ids=[str(b)])
    )
    analyst.hear(again)
    alone = analyst.ask(lambda rows: trail_of(rows, [b]))
    apart = analyst.ask(lambda rows: trail_of(rows, nodes_of(rows, customer_of(rows, b))))
    assert apart.entries() == alone.entries()
    assert len(apart.entries()) < 1000


def reading(person: str, count: int = 4, later: float = 0) -> list[Any]:
    """A content opened `count` times, 325 seconds each."""
    found = []
    for n in range(count):
        at = NOON - timedelta(days=4 - n) + hours(later)
        view = f"{person}{n}"
        found.append(did("content_viewed", at, person, content="H5-1", page_view=view))
        found.append(did("content_engaged", at + hours(0.1), person, page_view=view, active_buckets=33))
    return found


def test_ac_9_an_insight_of_an_anonymous_reader_is_on_the_known_profile_after_binding(analyst: Analyst) -> None:
    reader, jane = analyst.node("reader"), analyst.node("jane")
    analyst.hear(created(reader), created(jane, known=True))
    analyst.track(*reading("reader", count=3))
    assert analyst.insights() == []
    analyst.track(*reading("reader")[6:])

    [before] = analyst.insights(reader)
    assert (before.kind, before.subject, before.customer, before.known) == (
        Kind.REPEAT_READER_UNREGISTERED,
        "H5-1",
        reader,
        False,
    )
    assert before.evidence == {"opens": "4", "dwell_seconds": str(4 * 325)}

    analyst.hear(merged(jane, reader))
    [after] = analyst.insights(jane)
    assert (after.insight_id, after.customer, after.known) == (before.insight_id, jane, True)
    analyst.track(did("content_viewed", NOON, "jane", content="H5-1", page_view="later"))
    assert len(analyst.insights()) == 1  # once per customer, whatever node the next fact comes to


def test_an_anonymous_reader_who_becomes_known_by_itself_is_known(analyst: Analyst) -> None:
    reader = analyst.node("reader")
    analyst.hear(created(reader))
    analyst.track(*reading("reader"))
    analyst.hear(about(CustomerBecameKnown(customer_id=str(reader))))
    assert [it.known for it in analyst.insights()] == [True]


def test_two_readers_who_turn_out_to_be_one_are_noticed_after_the_merge(analyst: Analyst) -> None:
    phone, desk = analyst.node("phone"), analyst.node("desk")
    analyst.hear(created(phone), created(desk))
    analyst.track(*reading("phone", count=2), *reading("desk", count=2, later=1))
    analyst.at(NOON + hours(1))
    assert analyst.insights() == []
    analyst.hear(merged(desk, phone))
    analyst.at(NOON + hours(2))
    [found] = analyst.insights(phone)
    assert (found.customer, found.evidence["opens"]) == (desk, "4")


def test_d1_is_told_once_in_ninety_days(analyst: Analyst) -> None:
    analyst.track(*reading("reader"))
    analyst.track(did("content_viewed", NOON, "reader", content="H5-1", page_view="x"))
    assert len(analyst.told_of(pb.InsightDetected)) == 1
    analyst.at(NOON + timedelta(days=90) - timedelta(seconds=1))
    analyst.track(did("content_viewed", analyst.clock.now(), "reader", content="H5-1", page_view="y"))
    assert len(analyst.told_of(pb.InsightDetected)) == 1
    analyst.at(NOON + timedelta(days=91))
    analyst.track(did("content_viewed", analyst.clock.now(), "reader", content="H5-1", page_view="z"))
    first, second = analyst.told_of(pb.InsightDetected)
    assert first.insight_id != second.insight_id
    assert [it.insight_id for it in analyst.insights()] == [UUID(second.insight_id), UUID(first.insight_id)]


def buy_monthly(analyst: Analyst, count: int, who: Sequence[str] = ("c1",)) -> None:
    """`count` orders of each, 20 days apart, the last of them now."""
    shop = analyst.shop
    for name, n in product(who, range(count)):
        at, number, node = NOON - timedelta(days=20 * n), f"{name}/{n}", analyst.node(name)
        shop.tell(shop.placed(number, 100, at, node=node, lines=lines(100)), shop.paid(number, 100, at, node=node))
    analyst.follow()


def told_kinds(analyst: Analyst) -> list[str]:
    return [
        insight_pb2.InsightKind.Name(it.kind).removeprefix("INSIGHT_KIND_")
        for it in analyst.told_of(pb.InsightDetected)
    ]


def test_ac33_timers_tell_of_customers_who_stop_buying(analyst: Analyst) -> None:
    buy_monthly(analyst, 6)
    analyst.at(NOON.replace(hour=0) + timedelta(days=40))
    assert told_kinds(analyst) == []
    analyst.at(NOON + timedelta(days=40))
    assert told_kinds(analyst) == ["CHURN_RISK"]
    analyst.at(NOON.replace(month=8, hour=0) - timedelta(seconds=1))
    assert told_kinds(analyst) == ["CHURN_RISK"]
    analyst.at(NOON.replace(month=8, hour=0))
    assert told_kinds(analyst) == ["CHURN_RISK", "REPURCHASE_STOPPED"]
    stalled = [it.path_node for it in analyst.told_of(pb.PathStalled)]
    assert stalled == [path_pb2.PATH_NODE_REPURCHASE]


def test_customers_who_are_looked_at_together_are_told_of_each_for_themselves(analyst: Analyst) -> None:
    who = ["c1", "c2", "c3"]
    buy_monthly(analyst, 6, who)
    nodes = sorted(str(analyst.node(it)) for it in who)
    analyst.at(NOON.replace(month=8, hour=0))
    for kind in (insight_pb2.INSIGHT_KIND_CHURN_RISK, insight_pb2.INSIGHT_KIND_REPURCHASE_STOPPED):
        assert sorted(it.node_id for it in analyst.told_of(pb.InsightDetected) if it.kind == kind) == nodes
    assert sorted(it.node_id for it in analyst.told_of(pb.PathStalled)) == nodes


def test_who_buys_in_time_is_no_risk(analyst: Analyst) -> None:
    buy_monthly(analyst, 6)
    analyst.at(NOON + timedelta(days=30))
    shop, node, now = analyst.shop, analyst.node("c1"), NOON + timedelta(days=30)
    shop.tell(shop.placed("more", 100, now, node=node, lines=lines(100)), shop.paid("more", 100, now, node=node))
    analyst.follow()
    analyst.at(NOON + timedelta(days=60))
    assert told_kinds(analyst) == []


def test_d3_a_member_who_never_takes_part_is_noticed_after_thirty_days(analyst: Analyst) -> None:
    analyst.track(
        did("group_joined", NOON, "silent", group_id="G"),
        did("group_joined", NOON, "talker", group_id="G"),
        did("group_joined", NOON, "leaver", group_id="G"),
        did("group_message_sent", NOON + timedelta(minutes=1), "talker", group_id="G"),
        did("group_left", NOON + timedelta(minutes=2), "leaver", group_id="G"),
    )
    analyst.at(NOON + timedelta(days=30) - timedelta(seconds=1))
    assert told_kinds(analyst) == []
    analyst.at(NOON + timedelta(days=30))
    assert [(it.node_id, it.subject) for it in analyst.told_of(pb.InsightDetected)] == [
        (str(analyst.node("silent")), "G")
    ]


def test_d4_what_lies_in_the_cart_and_is_looked_at_again_is_forgotten_after_two_days(analyst: Analyst) -> None:
    names = ("forgets", "buys", "unseen", "removes")
    analyst.track(*(did("cart_added", NOON, it, sku="S1", category="skincare") for it in names))
    later = NOON + timedelta(minutes=2)
    analyst.track(*(did("product_viewed", later, it, sku="S1") for it in names if it != "unseen"))
    analyst.track(did("cart_removed", later, "removes", sku="S1"))
    shop = analyst.shop
    shop.tell(shop.placed("1", 100, later, node=analyst.node("buys"), lines=lines(100)))
    analyst.follow()
    analyst.at(NOON + timedelta(days=2) - timedelta(seconds=1))
    assert told_kinds(analyst) == []
    analyst.at(NOON + timedelta(days=2))
    assert [(it.node_id, it.subject) for it in analyst.told_of(pb.InsightDetected)] == [
        (str(analyst.node("forgets")), "S1")
    ]


def test_a_rebuild_gives_the_rows_of_live_running(analyst: Analyst) -> None:
    shop, random = analyst.shop, Random(5)
    reader = analyst.node("reader")
    analyst.hear(created(reader, known=True))
    analyst.track(*reading("reader"))
    for n in range(20):
        facts: list[Any] = [shop.paid(str(n), 900)]
        if random.random() < 0.7:
            facts.insert(random.randrange(2), shop.placed(str(n), 900, lines=lines(900)))
        shop.tell(*facts)
        if random.random() < 0.5:
            shop.tell(shop.refunded(str(n), "r", 900))
    analyst.follow()
    for name in ("order_paths", "insights", "known_nodes"):
        live = analyst.projector.canonical_hash(name)
        analyst.loop.run_until_complete(analyst.projector.rebuild(name))
        assert analyst.projector.canonical_hash(name) == live


def test_of_somebody_who_is_erased_the_analysis_keeps_nothing(analyst: Analyst, tables: Database) -> None:
    gone, stays = analyst.node("gone"), analyst.node("stays")
    analyst.hear(created(gone, known=True), created(stays, known=True))
    analyst.track(*reading("gone"), *reading("stays"), did("cart_added", NOON, "gone", sku="S1", category="skincare"))
    shop = analyst.shop
    shop.tell(CreateShare("of-gone", gone, "H5-1", "", ""), CreateShare("of-stays", stays, "H5-1", "", "of-gone"))
    shop.tell(shop.placed("1", 100, NOON, node=gone, lines=lines(100)), shop.paid("1", 100, NOON, node=gone))
    analyst.follow()
    assert {it.customer for it in analyst.insights()} == {gone, stays}

    case, tablet = UUID(int=77), analyst.node("tablet")
    analyst.hear(merged(gone, tablet))  # what is to be looked at again after merges is forgotten too
    nodes = [str(gone), str(tablet)]
    shop.tell(BeginErasure(case, gone, (gone, tablet)))
    analyst.hear(about(CustomerErasing(case_id=str(case), customer_id=str(gone), node_ids=nodes)))
    [due] = erasures.due(analyst.store.engine)
    removed = erasures.remove(analyst.store.engine, [due])[due.case_id]
    assert removed["node_orders"] == 1
    assert removed["timers"] > 0
    shop.tell(shop.refunded("1", "r", 100))
    analyst.follow()

    assert [it.customer for it in analyst.insights()] == [stays]
    marks = erasure_check.LOGS | erasure_check.MARKS["tracking"] | {"erasures"}
    with Snapshot.taken("tracking", tables.writer_dsn) as database:
        (left,) = database.look([Hunt(Words(nodes), {"tracking": marks})])
    assert not left
    tree = analyst.ask(lambda rows: tree_of(rows, "of-stays"))
    assert [(it.share_id, it.sharer == gone) for it in tree] == [("of-gone", False), ("of-stays", False)]


def test_nobody_sees_the_insights_of_another_brand(analyst: Analyst) -> None:
    analyst.track(*reading("reader"))
    assert len(analyst.insights()) == 1

    def read(rows: Any) -> list[Any]:
        return list_insights(rows, nodes=None, kind="", after=None, limit=10)

    assert analyst.read_models.query_now(read, "globex") == []
