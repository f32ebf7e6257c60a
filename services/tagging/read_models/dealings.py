"""Dealings with customers as membership and campaigns tell them (`domain/dealings.py`), by node, and the sums of them by customer."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tagging.application.dealings import Click, Dealt, Delivery, InstanceChange, LotChange
from services.tagging.domain.dealings import Dealings, Lot, Message, Passage
from services.tagging.read_models import sql

_MEMBERS: Final = (
    "INSERT INTO member_words (tenant, node, member_since, epoch, position)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::timestamptz[], %s::int[], %s::bigint[]) ON CONFLICT (tenant, node) DO UPDATE"
    " SET member_since = excluded.member_since, epoch = excluded.epoch, position = excluded.position"
    " WHERE (excluded.epoch, excluded.position) > (member_words.epoch, member_words.position)"
)
_LOTS: Final = (
    "INSERT INTO points_lots AS l (tenant, lot, node, points, active_at, expires_at, epoch, position)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::int[], %s::bigint[])"
    " ON CONFLICT (tenant, lot) DO UPDATE SET points = l.points + excluded.points,"
    " (node, epoch, position) = (SELECT last.* FROM (VALUES (l.node, l.epoch, l.position),"
    " (excluded.node, excluded.epoch, excluded.position)) AS last(node, epoch, position) ORDER BY epoch DESC, position DESC LIMIT 1)"
)
_CHANGE_LOTS: Final = (
    "UPDATE points_lots l SET points = l.points + v.points"
    " FROM (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::bigint[]) AS v(lot, points)) v"
    " WHERE (l.tenant, l.lot) = (v.tenant, v.lot) RETURNING l.node"
)
_DEBTS: Final = (
    "INSERT INTO points_debts AS d (tenant, node, debt) SELECT %s, * FROM unnest(%s::uuid[], %s::bigint[])"
    " ON CONFLICT (tenant, node) DO UPDATE SET debt = d.debt + excluded.debt"
)
_ENTER: Final = (
    "INSERT INTO flow_instances (tenant, instance, flow, node, entered_at, reason)"
    " SELECT %s, *, '' FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
)
_CHANGE_INSTANCES: Final = (
    "UPDATE flow_instances f SET node = coalesce(v.node, f.node), ended_at = coalesce(v.ended_at, f.ended_at),"
    " reason = CASE WHEN v.ended_at IS NULL THEN f.reason ELSE v.reason END"
    " FROM (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::text[])"
    " AS v(instance, node, ended_at, reason)) v WHERE (f.tenant, f.instance) = (v.tenant, v.instance) RETURNING f.node"
)
_SEND: Final = (
    "INSERT INTO deliveries (tenant, delivery, campaign, node, sent_at)"
    " SELECT v.tenant, v.delivery, v.campaign, coalesce(v.node, f.node), v.sent_at FROM (SELECT %s::text AS tenant, *"
    " FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::uuid[], %s::timestamptz[])"
    " AS v(delivery, campaign, node, instance, sent_at)) v"
    " LEFT JOIN flow_instances f ON f.tenant = v.tenant AND f.instance = v.instance"
    " WHERE coalesce(v.node, f.node) IS NOT NULL ON CONFLICT DO NOTHING RETURNING node"
)
_CLICK: Final = (
    "INSERT INTO clicks (tenant, delivery, node, clicked_at) SELECT %s, * FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[])"
    " ON CONFLICT (tenant, delivery, node) DO UPDATE SET clicked_at = least(clicks.clicked_at, excluded.clicked_at)"
)
_SENT_TO: Final = "SELECT node FROM deliveries WHERE tenant = %s AND delivery = ANY(%s)"

_TABLES: Final[Mapping[str, str]] = {
    "members": "SELECT node, member_since FROM member_words WHERE tenant = %s AND node = ANY(%s)",
    "lots": "SELECT node, points, active_at, expires_at FROM points_lots"
    " WHERE tenant = %s AND node = ANY(%s) AND points > 0 ORDER BY active_at, lot",
    "debts": "SELECT node, debt FROM points_debts WHERE tenant = %s AND node = ANY(%s)",
    "channels": "SELECT node, channel FROM reachability WHERE tenant = %s AND node = ANY(%s) AND reachable",
    "passages": "SELECT node, flow, entered_at, ended_at, reason FROM flow_instances"
    " WHERE tenant = %s AND node = ANY(%s) ORDER BY entered_at, instance",
    "messages": "SELECT d.node, d.campaign, d.sent_at, k.clicked_at FROM deliveries d"
    " LEFT JOIN clicks k ON k.tenant = d.tenant AND k.delivery = d.delivery"
    " WHERE d.tenant = %s AND d.node = ANY(%s) ORDER BY d.sent_at, d.delivery, k.clicked_at",
}
"""What of the nodes of customers is in which list of `_Sum`."""

Concerned = dict[str, set[UUID]]
"""The nodes of whom something changed, by subject: "membership", "flows", "deliveries"."""


def absorb(rows: sa.Connection, tenant: str, dealt: Dealt) -> Concerned:
    """Keep a batch; nothing is done of what it does not tell."""
    concerned: Concerned = {}
    if dealt.members or dealt.lots or dealt.debts:
        concerned["membership"] = {*dealt.members, *_keep_lots(rows, tenant, dealt.lots), *dealt.debts}
        sql.run_all(rows, _MEMBERS, tenant, list(dealt.members.values()))
        sql.run_all(rows, _DEBTS, tenant, list(dealt.debts.items()))
    if dealt.instances:
        entered = [
            (id, it.flow, it.node, it.entered_at) for id, it in dealt.instances.items() if it.node and it.entered_at
        ]
        sql.run_all(rows, _ENTER, tenant, entered)
    if dealt.deliveries or dealt.clicks:
        concerned["deliveries"] = _keep_messages(rows, tenant, dealt.deliveries.values(), dealt.clicks.values())
    if dealt.instances:  # a message was sent to whom the instance was for before it went on with somebody else
        concerned["flows"] = _change_instances(rows, tenant, dealt.instances)
    return concerned


def _keep_lots(rows: sa.Connection, tenant: str, lots: Mapping[UUID, LotChange]) -> set[UUID]:
    placed = [
        (id, it.node, it.points, it.active_at, it.expires_at, it.epoch, it.position)
        for id, it in lots.items()
        if it.node is not None
    ]
    sql.run_all(rows, _LOTS, tenant, placed)
    changed = [(id, it.points) for id, it in lots.items() if it.node is None]
    found = {it.node for it in lots.values() if it.node is not None}
    return found | _returned(rows, _CHANGE_LOTS, tenant, changed)


def _keep_messages(
    rows: sa.Connection, tenant: str, deliveries: Iterable[Delivery], clicks: Iterable[Click]
) -> set[UUID]:
    found = _returned(rows, _SEND, tenant, list(deliveries))
    opened = list(clicks)
    if opened:
        sql.run_all(rows, _CLICK, tenant, opened)
        found |= {node for (node,) in sql.fetch(rows, _SENT_TO, tenant, [it.delivery for it in opened])}
    return found


def _change_instances(rows: sa.Connection, tenant: str, instances: Mapping[UUID, InstanceChange]) -> set[UUID]:
    changed = [(id, it.moved_to, it.ended_at, it.reason) for id, it in instances.items() if it.moved_to or it.ended_at]
    return {it.node for it in instances.values() if it.node} | _returned(rows, _CHANGE_INSTANCES, tenant, changed)


def _returned(rows: sa.Connection, statement: str, tenant: str, items: list[sql.Row]) -> set[UUID]:
    return (
        {node for (node,) in sql.fetch(rows, statement, tenant, *map(list, zip(*items, strict=True)))}
        if items
        else set()
    )


@dataclass(slots=True)
class _Sum:
    """The dealings of the nodes of one customer."""

    members: list[sql.Row] = field(default_factory=list)
    lots: list[sql.Row] = field(default_factory=list)
    debts: list[sql.Row] = field(default_factory=list)
    channels: list[sql.Row] = field(default_factory=list)
    passages: list[sql.Row] = field(default_factory=list)
    messages: list[sql.Row] = field(default_factory=list)

    def dealings(self) -> Dealings:
        return Dealings(
            member_since=min((since for (since,) in self.members if since is not None), default=None),
            lots=[Lot(*it) for it in self.lots],
            debt=sum(debt for (debt,) in self.debts),
            reachable=frozenset(channel for (channel,) in self.channels),
            passages=[Passage(*it) for it in self.passages],
            messages=[Message(*it) for it in self.messages],
        )


def of_customers(rows: sa.Connection, tenant: str, customer_of: Mapping[UUID, UUID]) -> dict[UUID, Dealings]:
    """The dealings of the customers of some nodes; of who is not there, there are none."""
    nodes, found = list(customer_of), defaultdict[UUID, _Sum](_Sum)
    lists = sql.fetch_together(rows, [(statement, tenant, nodes) for statement in _TABLES.values()])
    for name, listed in zip(_TABLES, lists, strict=True):
        for node, *row in listed:
            getattr(found[customer_of[node]], name).append(tuple(row))
    return {customer: it.dealings() for customer, it in found.items()}
