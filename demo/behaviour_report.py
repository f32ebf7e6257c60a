"""What the report says of behaviour: how far customers get on the purchase path, what boards show, and what was noticed.

Read from tracking through gRPC; nothing in it is counted here but rows of lists.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration

from demo.backend import Backend, pages, together
from demo.calendar import instant
from demo.report import Section
from demo.wire import timestamp
from scrm.tracking.v1 import analysis_service_pb2 as analysis
from scrm.tracking.v1 import board_pb2, insight_pb2, path_pb2

_MOST_OF_A_PAGE: Final = 1_000
_SUBJECTS: Final = 3
_BOARDS: Final = (
    board_pb2.BOARD_GUIDE,
    board_pb2.BOARD_CAMPAIGN,
    board_pb2.BOARD_OFFICIAL_ACCOUNT,
    board_pb2.BOARD_CONTENT,
)


@dataclass(frozen=True, slots=True)
class Way:
    """Nodes of the purchase path that somebody asks about: of missions that began in `[start, end)`, each node within `window`."""

    title: str
    nodes: Sequence["path_pb2.PathNode.ValueType"]
    start: date
    end: date
    window: timedelta = timedelta(days=7)


FIRST_YEAR: Final = (date(1997, 1, 1), date(1998, 1, 1))
LAST_HALF: Final = (date(1998, 1, 1), date(1998, 7, 1))
WAYS: Final = (
    Way(
        "from the first look to the order",
        (
            path_pb2.PATH_NODE_VIEW_PRODUCT,
            path_pb2.PATH_NODE_ADD_TO_CART,
            path_pb2.PATH_NODE_PLACE_ORDER,
            path_pb2.PATH_NODE_PAY,
        ),
        *LAST_HALF,
    ),
    Way(
        "hesitating before the payment",
        (path_pb2.PATH_NODE_PLACE_ORDER, path_pb2.PATH_NODE_HESITATE, path_pb2.PATH_NODE_PAY),
        *FIRST_YEAR,
    ),
    Way(
        "from the order to the review",
        (path_pb2.PATH_NODE_PLACE_ORDER, path_pb2.PATH_NODE_PAY, path_pb2.PATH_NODE_REVIEW),
        *FIRST_YEAR,
        timedelta(days=14),
    ),
)
"""The funnels of the report."""

WATCHED: Final = {
    "first touches": (date(1996, 12, 1), FIRST_YEAR[0]),
    "1997": FIRST_YEAR,
    "first half of 1998": LAST_HALF,
}
"""The stretches of the boards, by name."""


async def funnels(backend: Backend) -> list[Section]:
    """How many customers get how far, and where their missions began."""
    return list(await asyncio.gather(*(_funnel(backend, it) for it in WAYS)))


async def boards(backend: Backend) -> Section:
    """By board and stretch of time: how often what happened, to how many customers, and what it was about most often."""

    async def watched(board: "board_pb2.Board.ValueType") -> Section:
        return await together(**{name: _board(backend, board, *its) for name, its in WATCHED.items()})

    return await together(**{board_pb2.Board.Name(it).removeprefix("BOARD_"): watched(it) for it in _BOARDS})


async def insights(backend: Backend) -> Section:
    """By kind: how many insights there are, and about how many customers."""
    found: Section = {}
    for kind in insight_pb2.InsightKind.values():
        if kind:
            name = insight_pb2.InsightKind.Name(kind).removeprefix("INSIGHT_KIND_")
            request = analysis.ListInsightsRequest(kind=kind, page_size=_MOST_OF_A_PAGE)
            customers = [it.customer_id async for it in pages(backend.analysis.ListInsights, request, "insights")]
            found[name] = {"insights": len(customers), "customers": len(set(customers))}
    return found


async def _funnel(backend: Backend, way: Way) -> Section:
    found = await backend.analysis.GetPathFunnel(
        analysis.GetPathFunnelRequest(
            start_time=timestamp(instant(way.start)),
            end_time=timestamp(instant(way.end)),
            path_nodes=way.nodes,
            window=Duration(seconds=int(way.window.total_seconds())),
        )
    )
    return {
        "title": way.title,
        "from": way.start.isoformat(),
        "to": way.end.isoformat(),
        "missions": found.missions,
        "customers": found.customers,
        "steps": [_step(it) for it in found.steps],
        "entries": {
            _node(it.path_node): {"missions": it.missions, "loyal_missions": it.loyal_missions} for it in found.entries
        },
    }


def _step(found: Any) -> Section:
    return {
        "node": _node(found.path_node),
        "customers": found.customers,
        "step_rate": found.step_rate,
        "overall_rate": found.overall_rate,
        "dropped": found.dropped,
        "median_seconds": found.median_time.seconds if found.HasField("median_time") else None,
    }


def _node(node: Any) -> str:
    return path_pb2.PathNode.Name(node).removeprefix("PATH_NODE_")


async def _board(backend: Backend, board: Any, start: date, end: date) -> Section:
    found = await backend.analysis.GetBoard(
        analysis.GetBoardRequest(
            board=board,
            start_time=timestamp(instant(start)),
            end_time=timestamp(instant(end) - timedelta(minutes=1)),
            top=_SUBJECTS,
        )
    )
    top: dict[str, dict[str, int]] = {}
    for it in found.subjects:
        top.setdefault(it.metric, {})[it.subject] = it.count
    return {
        "totals": {it.metric: {"count": it.count, "customers": it.customers} for it in found.totals},
        "top": top,
        "net_followers": found.net_followers,
    }
