"""Live boards (TR-13): counts and distinct customers by minute, exact, whatever is merged."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

from deploy.local.postgres import Database
from scrm.tracking.v1 import analysis_service_pb2 as pb
from scrm.tracking.v1 import board_pb2
from services.tracking.adapters.behaviour_source import BehaviourSource
from services.tracking.adapters.board_wire import board, width_of
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.boards import Board
from services.tracking.read_models.boards import DAY, MINUTE, BoardsProjection, buckets, customers
from services.tracking.read_models.boards import tables as board_tables
from tests.tracking.analyst import Analyst, did
from tests.tracking.caller import AnalysisServing, Caller
from tests.tracking.shop import NOON
from tests.tracking.test_analysis import created, merged, unmerged

MIDNIGHT = NOON.replace(hour=0)

_VISITORS = sa.text(
    "INSERT INTO behaviours SELECT n, 'acme', md5((n % :people)::text)::uuid, CAST(:at AS timestamptz) + n * interval '1 second',"
    " :at, n::text, 'h5', 'content_viewed', 'I', false, 'h5', 'h5', '', 'H5-1', n::text, '', '', '', '', NULL, '{}', NULL"
    " FROM generate_series(1, :count) n"
)


def shown(analyst: Analyst, which: Board, start: datetime, end: datetime, top: int = 20) -> pb.GetBoardResponse:
    width = width_of(end - start)
    return analyst.ask(
        lambda rows: board(buckets(rows, which, start, end, by_day=width == DAY), customers(rows), width, top)
    )


def numbers(found: Sequence[Any]) -> list[tuple[str, str, int, int]]:
    return [(it.metric, it.subject, it.count, it.customers) for it in found]


def test_ac108_ten_thousand_visitors_are_shown_exactly_and_a_merge_makes_them_one_less(
    analyst: Analyst, tables: Database
) -> None:
    with analyst.store.engine.begin() as rows:
        rows.execute(_VISITORS, {"people": 10_000, "count": 12_000, "at": MIDNIGHT})
        one, two = rows.execute(sa.text("SELECT DISTINCT node FROM behaviours ORDER BY node LIMIT 2")).scalars()
    with psycopg.connect(tables.owner_dsn) as owner:  # as PostgreSQL does by itself within a minute
        owner.execute("ANALYZE behaviours")
    analyst.follow()

    def live_and_daily() -> list[int]:
        live = shown(analyst, Board.CONTENT, MIDNIGHT, MIDNIGHT + DAY)
        daily = shown(analyst, Board.CONTENT, MIDNIGHT - 10 * DAY, MIDNIGHT + 10 * DAY)
        assert [it.count for it in (*live.totals, *daily.totals)] == [12_000, 12_000]
        assert [it.customers for it in daily.points] == [daily.totals[0].customers]
        return [it.customers for it in (*live.totals, *daily.totals)]

    assert live_and_daily() == [10_000, 10_000]
    analyst.hear(created(one), created(two), merged(one, two))
    assert live_and_daily() == [9_999, 9_999]
    analyst.hear(unmerged(one, two))
    assert live_and_daily() == [10_000, 10_000]


def test_each_board_counts_what_it_is_about(analyst: Analyst) -> None:
    at = NOON - timedelta(hours=1)
    analyst.track(
        did("oa_subscribed", at, "a", appid="wx1"),
        did("oa_subscribed", at, "b", appid="wx1"),
        did("oa_unsubscribed", at + MINUTE, "b", appid="wx1"),
        did("menu_clicked", at, "a", menu_key="M1"),
        did("menu_clicked", at, "a", menu_key="M2"),
        did("menu_clicked", at, "b", menu_key="M2"),
        did("product_code_scanned", at, "a", code="C-1", sku="S1"),
        did("product_code_scanned", at, "a", code="C-2"),
        did("call_connected", at, "a", staff="G1"),
        did("qr_scanned", at, "b", code_key="ST03"),
        did("ad_clicked", at, "b", campaign="May"),
        did("content_viewed", at, "a", content="H5-1", page_view="1"),
        did("content_engaged", at, "a", page_view="1", active_buckets=3),
    )
    hour = (at - MINUTE, at + timedelta(hours=1))
    account = shown(analyst, Board.OFFICIAL_ACCOUNT, *hour, top=1)
    assert numbers(account.totals) == [
        ("menu_clicked", "", 3, 2),
        ("oa_subscribed", "", 2, 2),
        ("oa_unsubscribed", "", 1, 1),
    ]
    assert numbers(account.subjects)[0] == ("menu_clicked", "M2", 2, 2)
    assert len(account.subjects) == 3
    assert account.net_followers == 1
    scans = shown(analyst, Board.PRODUCT_SCAN, *hour)
    assert numbers(scans.subjects) == [("product_code_scanned", "C-2", 1, 1), ("product_code_scanned", "S1", 1, 1)]
    assert numbers(shown(analyst, Board.GUIDE, *hour).subjects) == [("call_connected", "G1", 1, 1)]
    assert numbers(shown(analyst, Board.CAMPAIGN, *hour).subjects) == [
        ("ad_clicked", "May", 1, 1),
        ("qr_scanned", "ST03", 1, 1),
    ]
    assert numbers(shown(analyst, Board.CONTENT, *hour).totals) == [("content_viewed", "", 1, 1)]


def test_points_are_minutes_hours_or_days(analyst: Analyst) -> None:
    times = [
        NOON - timedelta(days=3),
        NOON - timedelta(hours=5),
        NOON - timedelta(minutes=2),
        NOON - timedelta(minutes=1),
    ]
    analyst.track(*(did("content_viewed", at, "a", content="H5-1", page_view=str(at)) for at in times))

    def course(span: timedelta) -> list[tuple[str, int]]:
        found = shown(analyst, Board.CONTENT, NOON - span, NOON)
        return [(f"{it.start_time.ToDatetime():%d %H:%M}", it.count) for it in found.points]

    assert course(timedelta(hours=2)) == [("01 11:58", 1), ("01 11:59", 1)]
    assert course(timedelta(days=2)) == [("01 07:00", 1), ("01 11:00", 2)]
    assert course(timedelta(days=4)) == [("28 00:00", 1), ("01 00:00", 3)]


def test_a_rebuild_and_other_batches_give_the_same_rows(analyst: Analyst) -> None:
    with analyst.store.engine.begin() as rows:
        rows.execute(_VISITORS, {"people": 70, "count": 500, "at": MIDNIGHT})
    analyst.follow()
    live = analyst.projector.canonical_hash("boards")
    analyst.loop.run_until_complete(analyst.projector.rebuild("boards"))
    assert analyst.projector.canonical_hash("boards") == live

    def all_rows(size: int) -> list[Any]:
        entries = BehaviourSource(analyst.store.engine).read(0, 1000)
        with analyst.store.engine.connect() as rows:
            rows.execute(sa.text("CREATE SCHEMA trial"))
            rows.execute(sa.text("SET search_path = trial"))
            board_tables.create_all(rows)
            for start in range(0, len(entries), size):
                BoardsProjection().apply([it for _, it in entries[start : start + size]], rows)
            return [list(rows.execute(sa.select(it).order_by(*it.primary_key))) for it in board_tables.sorted_tables]

    assert all_rows(7) == all_rows(500)


def test_a_rebuild_takes_over_when_the_last_behaviours_are_erased(analyst: Analyst) -> None:
    analyst.track(*(did("content_viewed", NOON - MINUTE, it, content="H5-1", page_view=it) for it in ("a", "gone")))
    with analyst.store.engine.begin() as rows:
        rows.execute(sa.text("DELETE FROM behaviours WHERE node = :node"), {"node": analyst.node("gone")})
    analyst.loop.run_until_complete(analyst.projector.rebuild("boards"))
    assert numbers(shown(analyst, Board.CONTENT, NOON - DAY, NOON).totals) == [("content_viewed", "", 1, 1)]
    analyst.track(did("content_viewed", NOON - MINUTE, "b", content="H5-1", page_view="b"))
    assert numbers(shown(analyst, Board.CONTENT, NOON - DAY, NOON).totals) == [("content_viewed", "", 2, 2)]


def test_a_board_over_grpc(analyst: Analyst, serve_analysis: AnalysisServing) -> None:
    analyst.track(did("content_viewed", NOON - MINUTE, "a", content="H5-1", page_view="1"))

    def request(days: float) -> pb.GetBoardRequest:
        start = timestamp(NOON - timedelta(days=days))
        return pb.GetBoardRequest(board=board_pb2.BOARD_CONTENT, start_time=start, end_time=timestamp(NOON))

    async def check(caller: Caller) -> None:
        found = await caller.call("GetBoard", request(400))
        assert numbers(found.totals) == [("content_viewed", "", 1, 1)]
        assert await caller.refused("GetBoard", request(400.001)) == "OUT_OF_RANGE"
        assert await caller.refused("GetBoard", request(0)) == "OUT_OF_RANGE"
        assert (await caller.call("GetBoard", request(1), "globex")).totals == []

    serve_analysis(check)


def test_people_count_once_over_all_subjects(analyst: Analyst) -> None:
    analyst.track(*(did("content_viewed", NOON - MINUTE, "a", content=it, page_view=it) for it in ("H5-1", "H5-2")))
    found = shown(analyst, Board.CONTENT, NOON - timedelta(hours=1), NOON)
    assert numbers(found.totals) == [("content_viewed", "", 2, 1)]
