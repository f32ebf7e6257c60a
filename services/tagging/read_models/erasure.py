"""Removing people who are to be forgotten from all tables: a node keeps its ordinal, which leads to nobody any more.

Sets that were frozen, and the layers of runs, keep the ordinal: a number in a count.
"""

from collections.abc import Collection, Iterable
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.facts import Merge
from services.tagging.application.ports import Change
from services.tagging.read_models import bitmaps, sql

_ERASED_AMONG = "SELECT node FROM nodes WHERE tenant = %s AND node = ANY(%s) AND erased"
_TIES = (
    "SELECT merge, survivor, loser FROM merges WHERE tenant = %s AND survivor = ANY(%s) AND loser <> ALL(%s) AND NOT undone"
    " UNION"
    " SELECT merge, survivor, loser FROM merges WHERE tenant = %s AND loser = ANY(%s) AND survivor <> ALL(%s) AND NOT undone"
)
_ORDINALS = "SELECT ordinal FROM nodes WHERE tenant = %s AND node = ANY(%s)"
_BY_NODE = (
    "visits",
    "purchases",
    "refunds",
    "placed_orders",
    "behaviours",
    "attribute_values",
    "consents",
    "guide_words",
    "follow_ups",
    "group_members",
    "reachability",
    "member_words",
    "points_lots",
    "points_debts",
    "flow_instances",
    "deliveries",
    "clicks",
    "static_members",
    "tag_holders",
    "segment_changes",
)
_REMOVE_MERGES = "DELETE FROM merges WHERE tenant = %s AND (survivor = ANY(%s) OR loser = ANY(%s))"
_REMOVE_DUES = "DELETE FROM segment_dues WHERE tenant = %s AND customer = ANY(%s)"
_REMOVE_STATES = "DELETE FROM rule_states WHERE tenant = %s AND customer = ANY(%s)"
_REMOVE_SCORES = (
    "DELETE FROM rfm_rows r USING public.model_runs m, unnest(%s::bigint[]) AS o(ordinal)"
    " WHERE m.tenant = %s AND (r.tenant, r.run, r.ordinal) = (m.tenant, m.run, o.ordinal)"
)
_REMOVE_VALUES = (
    "DELETE FROM value_rows r USING public.model_runs m, unnest(%s::bigint[]) AS o(ordinal)"
    " WHERE m.tenant = %s AND (r.tenant, r.run, r.ordinal) = (m.tenant, m.run, o.ordinal)"
)
_SETS = "SELECT DISTINCT name FROM bitmaps WHERE tenant = %s AND chunk = ANY(%s)"
_FORGET = (
    "UPDATE nodes SET customer = node, parent = NULL, known = false, assignment_key = '', erased = true,"
    " created_at = NULL, known_at = NULL"
    " WHERE tenant = %s AND node = ANY(%s) AND NOT erased"
)
_UNLIST = (
    "DELETE FROM {table} t USING nodes n WHERE n.tenant = %s AND n.erased AND (t.tenant, t.node) = (n.tenant, n.node)"
)


def erased_among(rows: sa.Connection, tenant: str, nodes: Iterable[UUID]) -> set[UUID]:
    """Those of `nodes` of which nothing may be known."""
    return {node for (node,) in sql.fetch(rows, _ERASED_AMONG, tenant, list(nodes))}


def ties(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> list[Merge]:
    """Standing merges of one of `nodes` with anybody else, as taken back: identity has taken them back before it erased."""
    who = list(nodes)
    found = sql.fetch(rows, _TIES, tenant, who, who, tenant, who, who)
    return [Merge(merge, survivor, loser, undone=True) for merge, survivor, loser in found]


def erase(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> dict[str, int]:
    """Remove everything about `nodes`; how many rows of which table."""
    who = list(nodes)
    removed = {
        table: sql.run(rows, f"DELETE FROM {table} WHERE tenant = %s AND node = ANY(%s)", tenant, who)  # noqa: S608
        for table in _BY_NODE
    }
    removed["merges"] = sql.run(rows, _REMOVE_MERGES, tenant, who, who)
    sql.run(rows, _REMOVE_DUES, tenant, who)
    removed["rule_states"] = sql.run(rows, _REMOVE_STATES, tenant, who)
    ordinals = BitMap(ordinal for (ordinal,) in sql.fetch(rows, _ORDINALS, tenant, who))
    removed["rfm_rows"] = sql.run(rows, _REMOVE_SCORES, list(ordinals), tenant)
    removed["value_rows"] = sql.run(rows, _REMOVE_VALUES, list(ordinals), tenant)
    removed["bitmaps"] = _leave_sets(rows, tenant, ordinals)
    removed["nodes"] = sql.run(rows, _FORGET, tenant, who)
    return removed


def unlist(rows: sa.Connection, tenant: str) -> None:
    """Take everybody who is erased from lists that were made again from what people once said."""
    for table in ("static_members", "tag_holders", "segment_changes"):
        sql.run(rows, _UNLIST.format(table=table), tenant)


def _leave_sets(rows: sa.Connection, tenant: str, ordinals: BitMap) -> int:
    """Remove `ordinals` from every set; how many sets had one of them."""
    if not ordinals:
        return 0
    chunks = sorted({it >> 16 for it in ordinals})
    names = [name for (name,) in sql.fetch(rows, _SETS, tenant, chunks)]
    having = [name for name, members in bitmaps.among(rows, tenant, names, ordinals).items() if members]
    bitmaps.change(rows, tenant, {name: Change(BitMap(), ordinals) for name in having})
    return len(having)
