"""What was read out of paths, insights and shares, as messages."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.type.date_pb2 import Date

from scrm.tracking.v1 import activity_pb2, insight_pb2, path_pb2, share_pb2
from scrm.tracking.v1 import analysis_service_pb2 as pb
from services.tracking.application.published_analysis import insight_kind, mission_result, need_state, path_node
from services.tracking.application.wire_values import timestamp
from services.tracking.domain import missions as domain
from services.tracking.domain import shares as domain_shares
from services.tracking.domain.funnel import Funnel, StepCount
from services.tracking.domain.path_facts import OrderFact, Step
from services.tracking.domain.purchases import cycle, midnight, occasions
from services.tracking.domain.trail import Activity, Session
from services.tracking.read_models.shares import Relation, TreeShare


def mission(found: domain.Mission, tenant: str) -> path_pb2.Mission:
    return path_pb2.Mission(
        mission_id=str(found.id(tenant)),
        category=found.category,
        result=mission_result(found.result),
        need_state=need_state(found.need_state),
        open_time=timestamp(found.opening.at),
        close_time=timestamp(found.closed_at) if found.closed_at else None,
        visits=[_visit(it) for it in found.visits],
    )


def funnel(found: Funnel) -> pb.GetPathFunnelResponse:
    counts = found.steps()
    return pb.GetPathFunnelResponse(
        steps=[_step(counts, index) for index in range(len(counts))],
        entries=[
            path_pb2.FunnelEntry(path_node=path_node(step), missions=it.missions, loyal_missions=it.loyal)
            for step in Step
            if (it := found.entries.get(step))
        ],
        missions=found.missions,
        customers=found.customers,
    )


def activity(found: Activity, orders: Sequence[OrderFact]) -> pb.GetCustomerActivityResponse:
    days = occasions(orders)
    rhythm = cycle(days)
    expected = (midnight(days[-1]) + rhythm).date() if rhythm is not None else None
    return pb.GetCustomerActivityResponse(
        hours=found.hours,
        active_days=found.active_days,
        last_active_time=timestamp(found.last_at) if found.last_at else None,
        purchase_occasions=len(days),
        purchase_cycle=None if rhythm is None else _duration(rhythm),
        next_expected_date=None
        if expected is None
        else Date(year=expected.year, month=expected.month, day=expected.day),
    )


def session(it: Session) -> activity_pb2.Session:
    return activity_pb2.Session(
        family=it.family,
        session=it.number,
        start_time=timestamp(it.start),
        end_time=timestamp(it.end),
        events=it.events,
    )


def insight(row: Any) -> insight_pb2.Insight:
    known = insight_pb2.PERSON_STATE_KNOWN if row.known else insight_pb2.PERSON_STATE_ANONYMOUS
    return insight_pb2.Insight(
        insight_id=str(row.insight_id),
        customer_id=str(row.customer),
        node_id=str(row.node),
        person_state=known,
        kind=insight_kind(row.kind),
        subject=row.subject,
        evidence=row.evidence,
        detect_time=timestamp(row.detected_at),
    )


def share_tree(found: Sequence[TreeShare]) -> pb.GetShareTreeResponse:
    """Of a tree from its root down."""
    below = dict.fromkeys((it.share_id for it in found), 0)
    for it in reversed(found):
        if it.parent in below:
            below[it.parent] += it.share_backs + below[it.share_id]
    depths = sorted({it.depth for it in found})
    return pb.GetShareTreeResponse(
        shares=[_share(it, below[it.share_id]) for it in found],
        levels=[_level(depth, [it for it in found if it.depth == depth]) for depth in depths],
        depth=depths[-1],
    )


def new_share(share: domain_shares.Share, customer: UUID) -> share_pb2.Share:
    return share_pb2.Share(
        share_id=share.share_id,
        customer_id=str(customer),
        parent_share_id=share.parent,
        depth=share.depth,
        content_id=share.content_id,
        activity_id=share.activity_id,
        share_time=timestamp(share.shared_at),
    )


def relation(it: Relation) -> share_pb2.Relation:
    return share_pb2.Relation(
        visitor_customer_id=str(it.visitor), weight=it.weight, last_visit_time=timestamp(it.last_at)
    )


def _share(it: TreeShare, below: int) -> share_pb2.Share:
    return share_pb2.Share(
        share_id=it.share_id,
        customer_id=str(it.sharer),
        parent_share_id=it.parent,
        depth=it.depth,
        content_id=it.content_id,
        activity_id=it.activity_id,
        share_time=timestamp(it.shared_at),
        share_backs=it.share_backs,
        conversions=it.conversions,
        indirect_reach=below,
    )


def _level(depth: int, found: Sequence[TreeShare]) -> share_pb2.ShareLevel:
    return share_pb2.ShareLevel(
        depth=depth,
        shares=len(found),
        share_backs=sum(it.share_backs for it in found),
        conversions=sum(it.conversions for it in found),
    )


def _visit(it: domain.Visit) -> path_pb2.PathVisit:
    return path_pb2.PathVisit(
        path_node=path_node(it.step),
        visit_time=timestamp(it.at),
        sku=it.sku,
        order_id=str(it.order_id) if it.order_id else "",
        node_id=str(it.node),
    )


def _step(counts: list[StepCount], index: int) -> path_pb2.FunnelStep:
    it, before, first = counts[index], counts[max(0, index - 1)], counts[0]
    return path_pb2.FunnelStep(
        path_node=path_node(it.step),
        customers=it.customers,
        step_rate=_rate(it.customers, before.customers),
        overall_rate=_rate(it.customers, first.customers),
        dropped=before.customers - it.customers,
        median_time=None if it.median_time is None else _duration(it.median_time),
    )


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _duration(time: timedelta) -> Duration:
    found = Duration()
    found.FromTimedelta(time)
    return found
