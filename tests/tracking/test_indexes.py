"""Every statistic finds its behaviours by an index of what they are about: none reads all that ever happened."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from deploy.local.postgres import Database
from services.tracking.adapters.fact_book import CART_REMOVED
from services.tracking.application.channel_commands import CreateChannelCode
from services.tracking.domain.channel_code import CodeDesign, CodeKind, CodeTerms
from services.tracking.domain.path_facts import PATH_TYPES
from services.tracking.read_models import code_stats, content_stats, contents, groups, link_stats, menus
from services.tracking.read_models.histories import of_types
from tests.tracking.audience import Audience
from tests.tracking.touches import NOON, view

START, END = NOON - timedelta(days=1), NOON + timedelta(days=1)
NODE = UUID(int=1)

BY_SUBJECT = {
    "behaviours_by_code",
    "behaviours_touches",
    "behaviours_contacts",
    "behaviours_by_subject",
    "behaviours_by_content",
    "behaviours_by_page_view",
    "behaviours_by_share",
    "behaviours_by_group",
}
"""Indexes of those behaviours only that are about something."""

FILL = b"""
INSERT INTO behaviours (position, tenant, node, occurred_at, received_at, message_id, source_key, event_type, category, late,
  channel, app, page, content_id, page_view_id, code_key, delivery_id, share_id, staff_code, properties, subject, group_id)
SELECT 1000 + n, 'acme', md5((n % 900)::text)::uuid, timestamptz '2026-05-01' + n * interval '10 s', now(), n::text, 'h5',
  kind, '', false, '', '', '', CASE WHEN kind = 'content_viewed' THEN 'c' || n % 200 ELSE '' END,
  CASE WHEN kind LIKE 'content%' THEN 'p' || n / 3 ELSE '' END, CASE WHEN kind = 'qr_scanned' THEN 'k' || n % 100 ELSE '' END,
  '', '', '', '{}', CASE WHEN kind = 'menu_clicked' THEN 'm' || n % 50 ELSE '' END,
  CASE WHEN kind = 'group_message_sent' THEN 'g' || n % 70 ELSE '' END
FROM generate_series(1, 20000) n CROSS JOIN LATERAL (SELECT
  (ARRAY['content_viewed', 'content_engaged', 'qr_scanned', 'menu_clicked', 'group_message_sent', 'login'])[1 + n % 6] AS kind) k
"""

READS: dict[str, Callable[[sa.Connection], Any]] = {
    "codes": lambda rows: code_stats.code_stats(rows, code_stats.CodesWanted(START, END, ["a"]), "CODE"),
    "codes by staff": lambda rows: code_stats.code_stats(rows, code_stats.CodesWanted(START, END), "STAFF"),
    "unknown codes": lambda rows: code_stats.unknown_scans(rows, START, END),
    "touches": lambda rows: code_stats.touches_of(rows, [NODE]),
    "menus": lambda rows: menus.menu_clicks(rows, "wx1", "", START, END),
    "contents": lambda rows: content_stats.content_stats(rows, content_stats.ContentsWanted(["a"], START, END)),
    "contents by day": lambda rows: content_stats.content_stats(
        rows, content_stats.ContentsWanted(["a"], START, END, "UTC")
    ),
    "unregistered": lambda rows: contents.unregistered(rows, "", 10),
    "viewers": lambda rows: contents.viewers(rows, "a", START, END, NODE, 10),
    "links": lambda rows: link_stats.link_hits(rows, ["a"], START, END),
    "forms": lambda rows: link_stats.form_submissions(rows, ["a"], START, END),
    "groups": lambda rows: groups.group_stats(rows, ["a"], START, END),
}


def accesses(audience: Audience, read: Callable[[sa.Connection], Any]) -> list[str]:
    """By which index, and what of it, each query of `read` finds behaviours when it would rather not read whole tables."""
    found: list[str] = []

    def ask(rows: sa.Connection) -> None:
        rows.execute(sa.text("SET LOCAL enable_seqscan = off"))
        asked: list[tuple[str, Any]] = []

        def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> None:
            asked.append((statement, parameters))

        sa.event.listen(rows, "before_cursor_execute", note)
        read(rows)
        sa.event.remove(rows, "before_cursor_execute", note)
        for statement, parameters in asked:
            [(plan,)] = rows.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
            found.extend(_accesses(plan[0]["Plan"]))

    audience.ask(ask)
    return found


def _accesses(node: dict[str, Any]) -> Iterator[str]:
    if node.get("Index Name", "").startswith("behaviours"):
        yield f"{node['Index Name']}: {node.get('Index Cond', '')}"
    elif node["Node Type"] == "Seq Scan" and node["Relation Name"] == "behaviours":
        yield "everything"
    for inner in node.get("Plans", ()):
        yield from _accesses(inner)


def is_narrow(access: str) -> bool:
    """Whether more is asked for than everything of a brand: what it is about, or whom."""
    name, _, condition = access.partition(": ")
    return name in BY_SUBJECT or "node" in condition


@pytest.fixture
def settled(audience: Audience, tables: Database) -> Audience:
    """Enough behaviours for PostgreSQL to mind which of them it reads."""
    design = CodeDesign(CodeKind.H5, "", "h5", "", "", None)
    audience.studio.tell(CreateChannelCode("acme", "a", design, CodeTerms()))
    audience.do(view("v", "pv"))
    with psycopg.connect(tables.writer_dsn, autocommit=True) as writer:
        writer.execute(FILL)
    with psycopg.connect(tables.owner_dsn, autocommit=True) as owner:
        owner.execute(b"ANALYZE behaviours")
    return audience


@pytest.mark.parametrize("name", READS)
def test_every_statistic_finds_its_behaviours_by_what_they_are_about(settled: Audience, name: str) -> None:
    found = accesses(settled, READS[name])
    assert found
    assert [it for it in found if not is_narrow(it)] == []


@pytest.mark.parametrize(
    ("index", "whose", "types"),
    [
        ("behaviours_steps", "b.node = :node", PATH_TYPES),
        ("behaviours_steps", "b.node = :node", [*PATH_TYPES, CART_REMOVED]),
        ("behaviours_path", "b.occurred_at >= :start AND b.occurred_at < :end", PATH_TYPES),
    ],
)
def test_steps_on_purchase_paths_are_found_by_indexes_of_them_alone(
    settled: Audience, index: str, whose: str, types: Sequence[str]
) -> None:
    query = sa.text(f"SELECT b.page FROM behaviours b WHERE b.tenant = 'acme' AND {whose} AND {of_types(types)}")
    found = accesses(settled, lambda rows: rows.execute(query, {"node": NODE, "start": START, "end": END}))
    assert [it.partition(":")[0] for it in found] == [index]


def test_control_a_query_that_reads_all_that_a_brand_ever_saw_is_found(settled: Audience) -> None:
    found = accesses(settled, lambda rows: rows.execute(sa.text("SELECT count(*) FROM behaviours WHERE page = 'x'")))
    assert found
    assert not any(map(is_narrow, found))
