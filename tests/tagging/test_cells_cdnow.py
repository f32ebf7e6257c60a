"""Real purchases of one customer in forty through the service itself: RFM, and every cell of every matrix as an audience."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from google.type.date_pb2 import Date

from deploy.local.credentials import Credentials
from scrm.tagging.v1 import layer_pb2, segment_pb2
from services.tagging.domain.history import History
from services.tagging.domain.layers.kinds import KINDS, Kind, state
from services.tagging.domain.layers.view import NONE
from tests.tagging import cdnow
from tests.tagging.calling import Caller, Serve, serving
from tests.tagging.test_layers_cdnow import CALENDAR, PAIRS, histories
from tests.tagging.test_rfm import END, bought, recomputed
from tests.tagging.world import World, created, paid, person

ZONE: Final = "America/New_York"
ONE_IN: Final = 40


@pytest.fixture
def told(worlds: Callable[..., World], credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """A server that knows the customers whose numbers are divisible by forty, and all they bought."""
    orders = some()
    world = worlds(ZONE)
    world.tell(*(created(person(it), key=it) for it in dict.fromkeys(it.customer for it in orders)))
    world.tell(*(paid(person(it.customer), f"{it.number}", noon(it.day), it.cents) for it in orders))
    return serving(world, credentials, loop)


def some() -> Sequence[cdnow.Row]:
    return [it for it in cdnow.rows() if int(it.customer) % ONE_IN == 0]


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), ZoneInfo(ZONE)).astimezone(UTC)


def on(day: date) -> Date:
    return Date(year=day.year, month=day.month, day=day.day)


def test_every_cell_of_the_pyramid_and_of_aipl_is_an_audience_of_its_size_for_three_pairs_of_dates(told: Serve) -> None:
    async def check(caller: Caller) -> None:
        for kind in (Kind.PYRAMID, Kind.AIPL):
            number = layer_pb2.ModelKind.Value(f"MODEL_KIND_{kind}")
            await caller.call("DefineModel", model_id=kind.lower(), kind=number, universe=segment_pb2.UNIVERSE_ALL)
            for day in sorted({day for pair in PAIRS for day in pair}):
                await caller.call("RunModel", model_id=kind.lower(), as_of=on(day))
            cells = [await judged(caller, kind, *pair) for pair in PAIRS]
            assert all(cells)
            assert any(len(it) > 3 for it in cells)

    told(check)


async def judged(caller: Caller, kind: Kind, start: date, end: date) -> dict[tuple[str, str], int]:
    """The cells of a matrix that have customers; rows and columns sum to the counts, and each cell is an audience of its size."""
    dates: dict[str, Any] = {"from": on(start), "to": on(end)}
    report = await caller.call("GetLayerReport", model_id=kind.lower(), **dates)
    before = {it.layer: it.customers for it in getattr(report, "from").counts}
    after = {it.layer: it.customers for it in report.to.counts}
    cells = {(row.layer, it.layer): it.customers for row in report.rows for it in row.moves if it.customers}
    for row in report.rows:
        assert sum(it.customers for it in row.moves) == row.customers == before[row.layer]
    assert {it: n for it, n in after.items() if n} == sums(cells)
    assert cells == expected(kind, start, end)
    for (old, new), customers in cells.items():
        name = f"{kind} {start} {end}: {old} to {new}"
        found = await caller.call(
            "SelectLayerCell", model_id=kind.lower(), display_name=name, from_layer=old, to_layer=new, **dates
        )
        assert found.segment.size == customers
        listed = await caller.call("ListSegmentMembers", segment_id=found.segment.segment_id, page_size=10_000)
        assert len(listed.members) == customers
    return cells


def sums(cells: dict[tuple[str, str], int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, new), customers in cells.items():
        found[new] = found.get(new, 0) + customers
    return found


def expected(kind: Kind, start: date, end: date) -> dict[tuple[str, str], int]:
    """The cells by the models alone, without any table, of the same customers."""
    mine = {int(it.customer) for it in some()}
    facts = [it for it in histories() if it.customer.int in mine]
    cells = Counter((layer(kind, it, start), layer(kind, it, end)) for it in facts)
    del cells[NONE, NONE]
    return dict(cells)


def layer(kind: Kind, facts: History, as_of: date) -> str:
    at = CALENDAR.midnight(as_of.toordinal()) - timedelta(microseconds=1)
    return state(kind, facts, KINDS[kind].params(), CALENDAR, at)


@pytest.mark.parametrize("days", [0, 365], ids=["ac_43", "ac_44"])
def test_each_customer_is_scored_by_the_service_as_by_a_plain_recomputation(told: Serve, days: int) -> None:
    async def check(caller: Caller) -> None:
        await caller.call("DefineModel", model_id="rfm", window_days=days)
        run = (await caller.call("RunModel", model_id="rfm", as_of=on(END))).run
        found = (await caller.call("ListRfmRows", run_id=run.run_id, page_size=10_000)).rows
        scores = {int(it.assignment_key): (it.recency_score, it.frequency_score, it.monetary_score) for it in found}
        assert scores == {it: one.scores for it, one in recomputed(bought(some(), END, days)).items()}

    told(check)
