"""Removing people who are to be forgotten from all tables: a node keeps its ordinal, which leads to nobody any more.

Sets that were frozen, and the layers of runs, keep the ordinal: a number in a count. What was learnt of people does not: they are in
no seed, look-alike or cluster any more.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.facts import Merge
from services.tagging.application.ports import Change
from services.tagging.read_models import bitmaps, sql, trained_runs

_ERASED_AMONG = "SELECT node FROM nodes WHERE tenant = %s AND node = ANY(%s) AND erased"
_TIES = (
    "SELECT merge, survivor, loser FROM merges WHERE tenant = %s AND survivor = ANY(%s) AND loser <> ALL(%s) AND NOT undone"
    " UNION"
    " SELECT merge, survivor, loser FROM merges WHERE tenant = %s AND loser = ANY(%s) AND survivor <> ALL(%s) AND NOT undone"
)
_ORDINALS = "SELECT ordinal, node FROM nodes WHERE tenant = %s AND node = ANY(%s)"
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
_REMOVE = (
    "WITH gone AS (DELETE FROM {table} WHERE tenant = %s AND node = ANY(%s) RETURNING node)"
    " SELECT node, count(*) FROM gone GROUP BY node"
)
_REMOVE_MERGES = (
    "DELETE FROM merges WHERE tenant = %s AND (survivor = ANY(%s) OR loser = ANY(%s)) RETURNING survivor, loser"
)
_REMOVE_DUES = "DELETE FROM segment_dues WHERE tenant = %s AND customer = ANY(%s)"
_REMOVE_STATES = "DELETE FROM rule_states WHERE tenant = %s AND customer = ANY(%s) RETURNING customer"
_REMOVE_SCORES = (
    "DELETE FROM rfm_rows r USING public.model_runs m, unnest(%s::bigint[]) AS o(ordinal)"
    " WHERE m.tenant = %s AND (r.tenant, r.run, r.ordinal) = (m.tenant, m.run, o.ordinal) RETURNING r.ordinal"
)
_REMOVE_VALUES = (
    "DELETE FROM value_rows r USING public.model_runs m, unnest(%s::bigint[]) AS o(ordinal)"
    " WHERE m.tenant = %s AND (r.tenant, r.run, r.ordinal) = (m.tenant, m.run, o.ordinal) RETURNING r.ordinal"
)
_SETS = "SELECT DISTINCT name FROM bitmaps WHERE tenant = %s AND chunk = ANY(%s)"
_FORGET = (
    "UPDATE nodes SET customer = node, parent = NULL, known = false, assignment_key = '', erased = true,"
    " created_at = NULL, known_at = NULL"
    " WHERE tenant = %s AND node = ANY(%s) AND NOT erased RETURNING node"
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


def erase(rows: sa.Connection, tenant: str, case_of: Mapping[UUID, UUID]) -> dict[UUID, Counter[str]]:
    """Remove everything about the nodes of `case_of`, all at once; by case, how many rows of which table.

    A merge of two of them is counted with the survivor.
    """
    who = list(case_of)
    found: dict[str, Iterable[tuple[UUID, int]]] = {
        table: sql.fetch(rows, _REMOVE.format(table=table), tenant, who) for table in _BY_NODE
    }
    merges = sql.fetch(rows, _REMOVE_MERGES, tenant, who, who)
    found["merges"] = [(survivor if survivor in case_of else loser, 1) for survivor, loser in merges]
    sql.run(rows, _REMOVE_DUES, tenant, who)
    found["rule_states"] = [(it, 1) for (it,) in sql.fetch(rows, _REMOVE_STATES, tenant, who)]
    node_of: dict[int, UUID] = dict(sql.fetch(rows, _ORDINALS, tenant, who))
    scores = sql.fetch(rows, _REMOVE_SCORES, list(node_of), tenant)
    found["rfm_rows"] = [(node_of[it], 1) for (it,) in scores]
    values = sql.fetch(rows, _REMOVE_VALUES, list(node_of), tenant)
    found["value_rows"] = [(node_of[it], 1) for (it,) in values]
    found["nodes"] = [(it, 1) for (it,) in sql.fetch(rows, _FORGET, tenant, who)]
    removed = {case: Counter(dict.fromkeys((*found, "bitmaps", "trained_runs"), 0)) for case in case_of.values()}
    for table, counts in found.items():
        for node, count in counts:
            removed[case_of[node]][table] += count
    left = _leave_sets(rows, tenant, BitMap(node_of))
    learnt = trained_runs.forget(rows, tenant, BitMap(node_of))
    for case, ordinals in _by_case(node_of, case_of).items():
        removed[case]["bitmaps"] = sum(not ordinals.isdisjoint(it) for it in left)
        removed[case]["trained_runs"] = sum(not ordinals.isdisjoint(it) for it in learnt)
    return removed


def segments_of(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> dict[UUID, tuple[UUID, ...]]:
    """The segments that one of `nodes` is in, each with those who are."""
    node_of: dict[int, UUID] = dict(sql.fetch(rows, _ORDINALS, tenant, list(nodes)))
    having = _having(rows, tenant, BitMap(node_of)) if node_of else {}
    return {
        segment: tuple(node_of[it] for it in members)
        for name, members in having.items()
        if (segment := bitmaps.segment_named(name)) is not None
    }


def unlist(rows: sa.Connection, tenant: str) -> None:
    """Take everybody who is erased from lists that were made again from what people once said."""
    for table in ("static_members", "tag_holders", "segment_changes"):
        sql.run(rows, _UNLIST.format(table=table), tenant)


def _leave_sets(rows: sa.Connection, tenant: str, ordinals: BitMap) -> list[BitMap]:
    """Remove `ordinals` from every set; which of them those sets had that had any."""
    having = _having(rows, tenant, ordinals) if ordinals else {}
    if having:
        bitmaps.change(rows, tenant, {name: Change(BitMap(), members) for name, members in having.items()})
    return list(having.values())


def _having(rows: sa.Connection, tenant: str, ordinals: BitMap) -> dict[str, BitMap]:
    """The sets that have any of `ordinals`, and which of them."""
    names = [name for (name,) in sql.fetch(rows, _SETS, tenant, sorted({it >> 16 for it in ordinals}))]
    return {name: members for name, members in bitmaps.among(rows, tenant, names, ordinals).items() if members}


def _by_case(node_of: Mapping[int, UUID], case_of: Mapping[UUID, UUID]) -> dict[UUID, BitMap]:
    found: dict[UUID, BitMap] = {}
    for ordinal, node in node_of.items():
        found.setdefault(case_of[node], BitMap()).add(ordinal)
    return found
