"""The analysis as its callers meet it, over gRPC."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration

from scrm.tracking.v1 import analysis_service_pb2 as pb
from scrm.tracking.v1 import insight_pb2, path_pb2
from services.tracking.application.wire_values import timestamp
from tests.tracking.analyst import Analyst, did
from tests.tracking.caller import AnalysisServing, Caller
from tests.tracking.shop import NOON
from tests.tracking.test_analysis import created, hours, lines, reading


def funnel_request(days: float = 1, **more: Any) -> pb.GetPathFunnelRequest:
    nodes = [path_pb2.PATH_NODE_VIEW_PRODUCT, path_pb2.PATH_NODE_PLACE_ORDER, path_pb2.PATH_NODE_PAY]
    start = NOON - timedelta(days=1)
    fields = {"start_time": timestamp(start), "end_time": timestamp(start + timedelta(days=days)), "path_nodes": nodes}
    return pb.GetPathFunnelRequest(**{**fields, **more})


def test_missions_and_their_funnel_are_read(analyst: Analyst, serve_analysis: AnalysisServing) -> None:
    jane, other = analyst.node("jane"), analyst.node("other")
    analyst.hear(created(jane), created(other))
    analyst.track(
        *(did("product_viewed", NOON - hours(9), it, sku="S1", category="skincare") for it in ("jane", "other"))
    )
    shop = analyst.shop
    shop.tell(shop.placed("1", 100, NOON - hours(8), node=jane, lines=lines(100)))
    shop.tell(shop.paid("1", 100, NOON - hours(7), node=jane))
    analyst.follow()

    async def check(caller: Caller) -> None:
        found = await caller.call("ListMissions", pb.ListMissionsRequest(customer_id=str(jane)))
        [mission] = found.missions
        assert (mission.category, mission.result) == ("skincare", path_pb2.MISSION_RESULT_REALISED)
        assert [path_pb2.PathNode.Name(it.path_node)[10:] for it in mission.visits] == [
            "VIEW_PRODUCT", "PLACE_ORDER", "HESITATE", "PAY",
        ]  # fmt: skip
        funnel = await caller.call("GetPathFunnel", funnel_request())
        assert [(it.customers, it.step_rate, it.dropped) for it in funnel.steps] == [
            (2, 1.0, 0),
            (1, 0.5, 1),
            (1, 1.0, 0),
        ]
        assert [it.median_time.seconds for it in funnel.steps] == [0, 3600, 3600]
        assert [(it.path_node, it.missions) for it in funnel.entries] == [(path_pb2.PATH_NODE_VIEW_PRODUCT, 2)]
        narrow = await caller.call("GetPathFunnel", funnel_request(window=Duration(seconds=3599)))
        assert [it.customers for it in narrow.steps] == [2, 0, 0]
        nothing = await caller.call("GetPathFunnel", funnel_request(category="makeup"))
        assert [it.customers for it in nothing.steps] == [0, 0, 0]
        strangers = await caller.call("GetPathFunnel", funnel_request(), "globex")
        assert strangers.customers == 0

    serve_analysis(check)


def test_what_makes_no_sense_is_refused(analyst: Analyst, serve_analysis: AnalysisServing) -> None:
    jane = analyst.node("jane")
    analyst.hear(created(jane))

    async def check(caller: Caller) -> None:
        assert await caller.refused("GetPathFunnel", funnel_request(days=401)) == "OUT_OF_RANGE"
        assert await caller.refused("GetPathFunnel", funnel_request(days=-1)) == "OUT_OF_RANGE"
        assert (
            await caller.refused("ListMissions", pb.ListMissionsRequest(customer_id=str(uuid4())))
            == "CUSTOMER_NOT_FOUND"
        )
        mine = pb.ListMissionsRequest(customer_id=str(jane))
        assert await caller.refused("ListMissions", mine, "globex") == "CUSTOMER_NOT_FOUND"
        assert (await caller.call("ListMissions", mine)).missions == []

    serve_analysis(check)


def test_insights_are_listed_page_by_page_newest_first(analyst: Analyst, serve_analysis: AnalysisServing) -> None:
    names = ["a", "b", "c"]
    analyst.hear(*(created(analyst.node(it)) for it in names))
    for minutes, name in enumerate(names):
        analyst.at(NOON + timedelta(minutes=minutes))
        analyst.track(*reading(name))

    async def check(caller: Caller) -> None:
        first = await caller.call("ListInsights", pb.ListInsightsRequest(page_size=2))
        second = await caller.call(
            "ListInsights", pb.ListInsightsRequest(page_size=2, page_token=first.next_page_token)
        )
        found = [*first.insights, *second.insights]
        assert [it.customer_id for it in found] == [str(analyst.node(it)) for it in reversed(names)]
        assert {it.person_state for it in found} == {insight_pb2.PERSON_STATE_ANONYMOUS}
        assert second.next_page_token == ""
        mine = await caller.call("ListInsights", pb.ListInsightsRequest(customer_id=str(analyst.node("b"))))
        assert [(it.kind, it.subject, dict(it.evidence)["opens"]) for it in mine.insights] == [
            (insight_pb2.INSIGHT_KIND_REPEAT_READER_UNREGISTERED, "H5-1", "4")
        ]
        others = pb.ListInsightsRequest(kind=insight_pb2.INSIGHT_KIND_CHURN_RISK)
        assert (await caller.call("ListInsights", others)).insights == []

    serve_analysis(check)


def test_sessions_and_activity_of_a_customer(analyst: Analyst, serve_analysis: AnalysisServing) -> None:
    jane = analyst.node("jane")
    analyst.hear(created(jane))
    analyst.track(*(did("checkin", NOON - timedelta(minutes=it), "jane") for it in (100, 80, 0)))
    shop = analyst.shop
    for days in (0, 10, 30):
        at = NOON - timedelta(days=days)
        shop.tell(shop.placed(str(days), 100, at, node=jane), shop.paid(str(days), 100, at, node=jane))
    analyst.follow()

    async def check(caller: Caller) -> None:
        first = await caller.call("ListSessions", pb.ListSessionsRequest(customer_id=str(jane), page_size=1))
        assert [(it.session, it.events) for it in first.sessions] == [(1, 2)]
        token = first.next_page_token
        second = await caller.call(
            "ListSessions", pb.ListSessionsRequest(customer_id=str(jane), page_size=1, page_token=token)
        )
        assert [(it.session, it.events) for it in second.sessions] == [(2, 1)]
        found = await caller.call("GetCustomerActivity", pb.GetCustomerActivityRequest(customer_id=str(jane)))
        assert (found.hours[10], found.hours[12], found.active_days, found.purchase_occasions) == (2, 1, 1, 3)
        assert found.purchase_cycle.seconds == 15 * 86400
        assert (found.next_expected_date.month, found.next_expected_date.day) == (5, 16)
        wrong = pb.GetCustomerActivityRequest(customer_id=str(jane), time_zone="Mars/Base")
        assert await caller.refused("GetCustomerActivity", wrong) == "UNKNOWN_TIME_ZONE"

    serve_analysis(check)
