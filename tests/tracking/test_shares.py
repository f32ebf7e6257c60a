"""The share graph (TR-11): trees of shares, who came back through them, and whose doing a purchase is."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.commands import CommandBus
from chassis.context import Context
from chassis.log import EventStore
from scrm.tracking.v1 import analysis_service_pb2 as pb
from scrm.tracking.v1 import events_pb2
from services.tracking.adapters.analysis_wire import share_tree
from services.tracking.application.analysis_handlers import analysis_handlers
from services.tracking.application.share_commands import CreateShare
from services.tracking.domain.errors import ShareExists, ShareNotFound
from services.tracking.domain.shares import Share
from services.tracking.read_models.customer_nodes import customer_of, nodes_of
from services.tracking.read_models.shares import Relation, relations_of, tree_of
from tests.tracking.analyst import Analyst, did, fact_book
from tests.tracking.caller import AnalysisServing, Caller
from tests.tracking.shop import NOON, Shop
from tests.tracking.test_analysis import created, merged, unmerged

DAY = timedelta(days=1)


def visit(share: str, person: str, at: datetime) -> Any:
    return did("content_viewed", at, person, content="H5-1", page_view=f"{share}/{person}/{at}", share=share)


def share(analyst: Analyst, share_id: str, person: str, parent: str = "") -> Share:
    command = CreateShare(share_id, analyst.node(person), "H5-1", "", parent)
    made: Share = analyst.shop.tell(command)  # type: ignore[assignment]
    analyst.follow()
    return made


def buy(analyst: Analyst, number: str, person: str, at: datetime) -> None:
    node = analyst.node(person)
    analyst.shop.tell(analyst.shop.placed(number, 100, at, node=node), analyst.shop.paid(number, 100, at, node=node))
    analyst.follow()


def tree(analyst: Analyst, share_id: str) -> pb.GetShareTreeResponse:
    return share_tree(analyst.ask(lambda rows: tree_of(rows, share_id)))


def levels(found: pb.GetShareTreeResponse) -> list[tuple[int, int, int]]:
    return [(it.shares, it.share_backs, it.conversions) for it in found.levels]


def relations(analyst: Analyst, person: str) -> list[Relation]:
    def read(rows: Any) -> list[Relation]:
        nodes = nodes_of(rows, customer_of(rows, analyst.node(person)))
        return relations_of(rows, nodes, None, 10)

    return analyst.ask(read)


def test_ac32_a_tree_of_two_shares_reaches_two_directly_and_three_indirectly(analyst: Analyst) -> None:
    share(analyst, "of-a", "A")
    analyst.track(*(visit("of-a", it, NOON - 3 * DAY) for it in "BC"))
    share(analyst, "of-b", "B", "of-a")
    analyst.track(*(visit("of-b", it, NOON - 2 * DAY) for it in "DEF"))
    buy(analyst, "1", "D", NOON - DAY)

    found = tree(analyst, "of-b")
    assert found.depth == 2
    assert [(it.share_id, it.depth, it.share_backs, it.indirect_reach) for it in found.shares] == [
        ("of-a", 1, 2, 3),
        ("of-b", 2, 3, 0),
    ]
    assert levels(found) == [(1, 2, 0), (1, 3, 1)]
    visits = analyst.told_of(events_pb2.ShareVisited)
    assert [(it.share_id, it.unique) for it in visits] == [("of-a", True)] * 2 + [("of-b", True)] * 3
    assert [it.weight for it in relations(analyst, "A")] == [1, 1]
    assert relations(analyst, "C") == []


def test_ac107_the_last_share_visited_gets_the_purchase_and_nobody_visits_their_own(analyst: Analyst) -> None:
    share(analyst, "of-a", "A")
    share(analyst, "of-b", "B", "of-a")
    analyst.track(
        visit("of-b", "E", NOON - 4 * DAY),
        visit("of-a", "E", NOON - 2 * DAY),
        visit("of-a", "A", NOON - DAY),
        visit("of-a", "E", NOON - 2 * DAY + timedelta(hours=1)),
    )
    buy(analyst, "1", "E", NOON - DAY)
    assert levels(tree(analyst, "of-a")) == [(1, 1, 1), (1, 1, 0)]
    assert [(it.visitor, it.weight) for it in relations(analyst, "A")] == [(analyst.node("E"), 1)]

    a, e = analyst.node("A"), analyst.node("E")
    analyst.hear(created(a), created(e), merged(a, e))
    assert levels(tree(analyst, "of-a")) == [(1, 0, 0), (1, 1, 1)]
    assert relations(analyst, "A") == []
    analyst.hear(unmerged(a, e))
    assert levels(tree(analyst, "of-a")) == [(1, 1, 1), (1, 1, 0)]


def test_a_purchase_more_than_thirty_days_after_the_visit_is_nobodys_doing(analyst: Analyst) -> None:
    share(analyst, "of-a", "A")
    analyst.at(NOON + 31 * DAY)
    analyst.track(visit("of-a", "D", NOON + 2 * DAY), visit("of-a", "E", NOON + 2 * DAY))
    analyst.at(NOON + 33 * DAY)
    buy(analyst, "in time", "D", NOON + 32 * DAY)
    buy(analyst, "late", "E", NOON + 32 * DAY + timedelta(seconds=1))
    assert levels(tree(analyst, "of-a")) == [(1, 2, 1)]


def test_a_behaviour_that_shares_makes_the_share_below_the_one_it_came_through(analyst: Analyst) -> None:
    analyst.track(did("content_shared", NOON - DAY, "A", content="H5-1", share_id="of-a", target="moments"))
    analyst.track(visit("of-a", "B", NOON - DAY))
    analyst.track(did("content_shared", NOON, "B", content="H5-1", share="of-a", share_id="of-b", target="friend"))
    analyst.track(did("content_shared", NOON, "B", content="H5-1", share="of-b", message_id="twice", share_id="of-b"))
    made = analyst.told_of(events_pb2.ShareCreated)
    assert [(it.share_id, it.parent_share_id, it.root_share_id, it.depth) for it in made] == [
        ("of-a", "", "of-a", 1),
        ("of-b", "of-a", "of-a", 2),
    ]
    assert levels(tree(analyst, "of-b")) == [(1, 1, 0), (1, 0, 0)]


def test_another_device_of_a_visitor_is_told_of_but_counts_once(analyst: Analyst) -> None:
    share(analyst, "of-a", "A")
    phone, desk = analyst.node("phone"), analyst.node("desk")
    analyst.hear(created(phone), created(desk), merged(desk, phone))
    analyst.track(visit("of-a", "phone", NOON - DAY))
    analyst.track(visit("of-a", "desk", NOON))
    assert [it.unique for it in analyst.told_of(events_pb2.ShareVisited)] == [True, False]
    assert levels(tree(analyst, "of-a")) == [(1, 1, 0)]


@pytest.fixture
def sharers(store: EventStore) -> Shop:
    """On both stores."""
    found = Shop(store)
    found.bus = CommandBus(store, found.clock, analysis_handlers(fact_book))
    return found


def test_a_share_is_made_once_and_its_parent_must_be_there(sharers: Shop) -> None:
    node = UUID(int=1)
    with pytest.raises(ShareNotFound):
        sharers.tell(CreateShare("s2", node, "H5-1", "", "s1"))
    sharers.tell(CreateShare("s1", node, "H5-1", "", ""))
    sharers.tell(CreateShare("s2", node, "H5-1", "", "s1"))
    sharers.tell(CreateShare("s2", node, "H5-1", "", "s1"))
    assert sharers.events == ["Created", "Created"]
    with pytest.raises(ShareExists):
        sharers.tell(CreateShare("s2", node, "H5-2", "", "s1"))
    with pytest.raises(ShareNotFound):
        sharers.bus.execute_now(CreateShare("s3", node, "H5-1", "", "s1"), Context("globex", "test"))


def test_shares_over_grpc(analyst: Analyst, serve_analysis: AnalysisServing) -> None:
    a, b = analyst.node("A"), analyst.node("B")
    analyst.hear(created(a), created(b))

    async def make(caller: Caller) -> None:
        request = pb.CreateShareRequest(request_id=str(uuid4()), customer_id=str(a), share_id="of-a", content_id="H5-1")
        made = (await caller.call("CreateShare", request)).share
        assert (made.share_id, made.customer_id, made.depth) == ("of-a", str(a), 1)
        assert (await caller.call("CreateShare", request)).share == made
        stranger = pb.CreateShareRequest(request_id=str(uuid4()), customer_id=str(uuid4()), share_id="x")
        assert await caller.refused("CreateShare", stranger) == "CUSTOMER_NOT_FOUND"
        orphan = pb.CreateShareRequest(request_id=str(uuid4()), customer_id=str(b), parent_share_id="nothing")
        assert await caller.refused("CreateShare", orphan) == "SHARE_NOT_FOUND"

    async def read(caller: Caller) -> None:
        found = await caller.call("GetShareTree", pb.GetShareTreeRequest(share_id="of-a"))
        assert levels(found) == [(1, 1, 0)]
        assert (
            await caller.refused("GetShareTree", pb.GetShareTreeRequest(share_id="of-a"), "globex") == "SHARE_NOT_FOUND"
        )
        edges = await caller.call("ListRelations", pb.ListRelationsRequest(customer_id=str(a), page_size=1))
        assert [(it.visitor_customer_id, it.weight) for it in edges.relations] == [(str(b), 1)]
        assert edges.next_page_token == ""

    serve_analysis(make)
    analyst.track(visit("of-a", "B", NOON))
    serve_analysis(read)
