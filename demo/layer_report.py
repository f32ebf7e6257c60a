"""What the report says of layers: how customers moved in the brand pyramid, and why one of them is where the brand looks.

Read from tagging through gRPC; nothing in it is counted here.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date
from itertools import pairwise
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from demo.backend import Backend
from demo.brand import LOSING, LOSING_WHOM, PYRAMID, run_model
from demo.calendar import local_day
from demo.people import SHOP
from demo.report import Section
from demo.wire import calendar_date
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.tagging.v1 import condition_service_pb2 as conditions
from scrm.tagging.v1 import tagging_service_pb2 as tagging


async def build_pyramid(backend: Backend, days: Sequence[date]) -> None:
    """Have it decided, and kept, who was in which layer on each of `days`."""
    await asyncio.gather(*(run_model(backend, PYRAMID, day) for day in days))


async def pyramid(backend: Backend, days: Sequence[date]) -> Section:
    """Who was in which layer on each of `days`, and how they moved: from one to the next, and from the first to the last."""
    spans = [(days[0], days[-1]), *pairwise(days)]
    return {"model": PYRAMID, "reports": [await _moves(backend, start, end) for start, end in spans]}


async def explanation(backend: Backend) -> Section:
    """One customer and one condition in words: whether it holds, by which facts, and what would change it."""
    found = await backend.identity.LookupCustomer(
        identity.LookupCustomerRequest(
            identifier=customer_pb2.Identifier(namespace="external_id", scope=SHOP, value=LOSING_WHOM)
        )
    )
    answer = await backend.conditions.ExplainCondition(
        conditions.ExplainConditionRequest(customer_id=found.customer.customer_id, text=LOSING)
    )
    verdict = "is" if answer.explanation.holds else "is not"
    return {
        "customer": LOSING_WHOM,
        "condition": LOSING,
        "holds": answer.explanation.holds,
        "words": [
            f"Customer {LOSING_WHOM} of the shop {verdict} among those of whom this holds: {LOSING}.",
            *_because(answer.explanation),
            f"Time alone may change the whole on {_day(answer.change_time)}."
            if answer.HasField("change_time")
            else "Time alone does not change the whole.",
        ],
    }


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


def _because(node: Any, *, negated: bool = False) -> Iterator[str]:
    """A sentence for each leaf, in the order in which the condition has them."""
    if node.parts:
        for it in node.parts:
            yield from _because(it, negated=negated != (node.kind == node.KIND_NOT))
        return
    says = f"{'not ' if negated else ''}{node.text}"
    verdict = "holds" if node.holds != negated else "does not hold"
    yield f"“{says}” {verdict}: {_counted(node)}."


def _counted(leaf: Any) -> str:
    """What a leaf rests on."""
    found = f"{leaf.fact_count} {'fact' if leaf.fact_count == 1 else 'facts'}"
    if leaf.fact_times:
        found += f", the last on {_day(leaf.fact_times[-1])}"
    if leaf.HasField("change_time"):
        found += f"; time alone may change it on {_day(leaf.change_time)}"
    return found


def _day(at: Timestamp) -> str:
    return f"{local_day(at.ToDatetime(UTC)):%d %B %Y}"
