"""Boards as messages: sums over buckets, the biggest subjects, and a course over time."""

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from scrm.tracking.v1 import analysis_service_pb2 as pb
from scrm.tracking.v1 import board_pb2
from services.tracking.application.wire_values import timestamp
from services.tracking.read_models.boards import DAY, MINUTE, Bucket, Customers, Tally, floor

HOUR: Final = timedelta(hours=1)

K = TypeVar("K", bound=Hashable)


def board(found: Sequence[Bucket], customers: Customers, width: timedelta, top: int) -> pb.GetBoardResponse:
    """`width` is that of a point in time, `top` how many subjects to show of each metric."""
    totals = _sums(found, lambda it: it.metric)
    net = totals.get("oa_subscribed", Tally()).count - totals.get("oa_unsubscribed", Tally()).count
    points = _sums(found, lambda it: (floor(it.start, width), it.metric))
    return pb.GetBoardResponse(
        totals=[_metric(metric, "", it, customers) for metric, it in sorted(totals.items())],
        subjects=_subjects(found, customers, top),
        points=[_point(*key, points[key], customers) for key in sorted(points)],
        net_followers=net,
    )


def width_of(span: timedelta) -> timedelta:
    """Minutes up to two hours, hours up to two days, days beyond."""
    if span <= 2 * HOUR:
        return MINUTE
    return HOUR if span <= 2 * DAY else DAY


def _sums(found: Sequence[Bucket], key: Callable[[Bucket], K]) -> dict[K, Tally]:
    sums: dict[K, Tally] = {}
    for it in found:
        sums.setdefault(key(it), Tally()).add(it.count, it.nodes)
    return sums


def _subjects(found: Sequence[Bucket], customers: Customers, top: int) -> list[board_pb2.BoardMetric]:
    sums = _sums(found, lambda it: (it.metric, it.subject))
    shown: list[board_pb2.BoardMetric] = []
    for metric in sorted({metric for metric, _ in sums}):
        mine = [(subject, it) for (other, subject), it in sums.items() if other == metric]
        mine.sort(key=lambda it: (-it[1].count, it[0]))
        shown += [_metric(metric, subject, it, customers) for subject, it in mine[:top]]
    return shown


def _metric(metric: str, subject: str, it: Tally, customers: Customers) -> board_pb2.BoardMetric:
    return board_pb2.BoardMetric(metric=metric, subject=subject, count=it.count, customers=customers.count(it.nodes))


def _point(start: datetime, metric: str, it: Tally, customers: Customers) -> board_pb2.BoardPoint:
    return board_pb2.BoardPoint(
        start_time=timestamp(start), metric=metric, count=it.count, customers=customers.count(it.nodes)
    )
