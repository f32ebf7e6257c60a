"""What the report says of layers: how customers moved in the brand pyramid, and whom that makes an audience.

Read from tagging through gRPC; nothing in it is counted here.
"""

import asyncio
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Final

from demo.backend import Backend, request_id
from demo.brand import PYRAMID, run_model
from demo.report import Section
from demo.wire import calendar_date
from scrm.tagging.v1 import tagging_service_pb2 as tagging

_LOYAL: Final = "L5"
_LAPSED: Final = "LAPSED"


async def build_pyramid(backend: Backend, days: Sequence[date]) -> None:
    """Have it decided, and kept, who was in which layer on each of `days`."""
    await asyncio.gather(*(run_model(backend, PYRAMID, day) for day in days))


async def pyramid(backend: Backend, days: Sequence[date]) -> Section:
    """Who was in which layer on each of `days`, and how they moved: from one to the next, and from the first to the last."""
    spans = [(days[0], days[-1]), *pairwise(days)]
    reports = await asyncio.gather(*(_moves(backend, start, end) for start, end in spans))
    return {"model": PYRAMID, "reports": list(reports)}


async def churned(backend: Backend, days: Sequence[date]) -> list[Section]:
    """Between each two of `days`, those who left a layer of the pyramid for good, as far as one knows: an audience of them, and how
    many of them the report counts."""
    spans = [(days[0], days[-1]), *pairwise(days)]
    return list(await asyncio.gather(*(_churned(backend, start, end) for start, end in spans)))


async def _churned(backend: Backend, start: date, end: date) -> Section:
    request = tagging.SelectLayerCellRequest(
        request_id=request_id("churned", start, end),
        display_name=f"Loyal on {start}, lapsed by {end}",
        model_id=PYRAMID,
        to=calendar_date(end),
        from_layer=_LOYAL,
        to_layer=_LAPSED,
    )
    getattr(request, "from").CopyFrom(calendar_date(start))
    segment = (await backend.tagging.SelectLayerCell(request)).segment
    return {"from": start.isoformat(), "to": end.isoformat(), "name": segment.display_name, "size": segment.size}


async def _moves(backend: Backend, start: date, end: date) -> Section:
    request = tagging.GetLayerReportRequest(model_id=PYRAMID, to=calendar_date(end))
    getattr(request, "from").CopyFrom(calendar_date(start))
    found = await backend.tagging.GetLayerReport(request)
    return {
        "from": start.isoformat(),
        "to": end.isoformat(),
        "before": {it.layer: it.customers for it in getattr(found, "from").counts},
        "after": {it.layer: it.customers for it in found.to.counts},
        "rows": {it.layer: _row(it) for it in found.rows},
        "reach": {
            it.layer: {
                "customers": it.customers,
                "conversion_rate": it.conversion_rate if it.HasField("conversion_rate") else None,
            }
            for it in found.reach
        },
    }


def _row(found: Any) -> Section:
    return {
        "customers": found.customers,
        "moves": {it.layer: it.customers for it in found.moves if it.customers},
        "upward_rate": found.upward_rate,
        "downward_rate": found.downward_rate,
        "churn_rate": found.churn_rate,
        "win_back_rate": found.win_back_rate,
        "action": found.action,
    }
