"""Leaves on membership, points, messages, flows and channels as statements (spec TG-4), as those of `leaf_sql` are."""

from services.tagging.domain.conditions import Comparison, Delivered, DeliveryStatus, FlowState, InFlow, Reachable
from services.tagging.domain.conditions.comparing import tester, total_compares
from services.tagging.domain.conditions.dimensions import DEBT, MEMBER, MEMBER_DAYS, PENDING, POINTS
from services.tagging.domain.dealings import FINISHED
from services.tagging.read_models.comparison_sql import Sql, both, of_json, of_number
from services.tagging.read_models.leaf_sql import AsOf, LeafSql, grouped

_MEMBERS = "SELECT m.node, m.member_since FROM member_words m WHERE m.tenant = %s AND m.member_since IS NOT NULL"
_LOTS = (
    "SELECT l.node, l.points FROM points_lots l WHERE l.tenant = %s AND l.active_at <= %s"
    " AND (l.expires_at IS NULL OR l.expires_at > %s)"
)
_PENDING = "SELECT l.node, l.points FROM points_lots l WHERE l.tenant = %s AND l.active_at > %s"
_DEBTS = "SELECT d.node, d.debt AS points FROM points_debts d WHERE d.tenant = %s"
_DELIVERIES = "SELECT d.node FROM deliveries d WHERE {}"
_CLICKED = "SELECT d.node FROM deliveries d JOIN clicks k ON k.tenant = d.tenant AND k.delivery = d.delivery WHERE {}"


def of_membership(key: str, comparison: Comparison, when: AsOf) -> LeafSql:
    """The customers of whom a dimension of membership compares so."""
    if key not in (MEMBER, MEMBER_DAYS):
        points = of_number(Sql("sum(x.points)"), Sql("1"), comparison)
        nothing = total_compares(comparison, 0, 1)
        told = {
            POINTS: Sql(_LOTS, (when.tenant, when.at, when.at)),
            PENDING: Sql(_PENDING, (when.tenant, when.at)),
            DEBT: Sql(_DEBTS, (when.tenant,)),
        }
        return LeafSql(grouped(told[key], points, when, nothing), nothing)
    members = Sql(_MEMBERS, (when.tenant,))
    if key == MEMBER:
        nothing = tester(comparison)(False)
        held = of_json(Sql("to_jsonb(min(x.member_since) <= %s)", (when.at,)), comparison)
        return LeafSql(grouped(members, held, when, nothing), nothing)
    nothing = total_compares(comparison, None, 1)
    days = "CASE WHEN min(x.member_since) <= %s THEN (%s::date - (min(x.member_since) AT TIME ZONE %s)::date) END"
    held = of_number(Sql(days, (when.at, when.today, when.zone)), Sql("1"), comparison)
    return LeafSql(grouped(members, held, when, nothing), nothing)


def of_dealings(leaf: Reachable | InFlow | Delivered, when: AsOf) -> LeafSql:
    """The customers for whom a leaf on channels, flows or messages holds."""
    match leaf:
        case Reachable():
            return _of_reachability(leaf, when)
        case InFlow():
            return _of_flows(leaf, when)
    return _of_deliveries(leaf, when)


def _of_reachability(leaf: Reachable, when: AsOf) -> LeafSql:
    """The customers whom messages of a channel reach."""
    tests = [Sql("r.tenant = %s AND r.reachable", (when.tenant,))]
    if leaf.channel is not None:
        tests.append(Sql("r.channel = %s", (leaf.channel,)))
    return _any("SELECT r.node FROM reachability r WHERE {}", tests, when)


def _of_flows(leaf: InFlow, when: AsOf) -> LeafSql:
    """The customers who are in a flow, or have been through it."""
    tests = [Sql("f.tenant = %s", (when.tenant,))]
    if leaf.flow is not None:
        tests.append(Sql("f.flow = %s", (leaf.flow,)))
    if leaf.state is FlowState.IN:
        tests.append(Sql("f.entered_at <= %s AND (f.ended_at IS NULL OR f.ended_at > %s)", (when.at, when.at)))
    else:
        tests.append(Sql("f.ended_at <= %s AND f.reason = ANY(%s)", (when.at, sorted(FINISHED))))
    return _any("SELECT f.node FROM flow_instances f WHERE {}", tests, when)


def _of_deliveries(leaf: Delivered, when: AsOf) -> LeafSql:
    """The customers to whom a message was sent, or who opened a link in it, in the window."""
    clicked = leaf.status is DeliveryStatus.CLICKED
    tests = [Sql("d.tenant = %s", (when.tenant,))]
    if leaf.campaign is not None:
        tests.append(Sql("d.campaign = %s", (leaf.campaign,)))
    tests.append(when.bounds("k.clicked_at" if clicked else "d.sent_at", leaf.window))
    return _any(_CLICKED if clicked else _DELIVERIES, tests, when)


def _any(statement: str, tests: list[Sql], when: AsOf) -> LeafSql:
    found = both(tests)
    inner = Sql(statement.format(found.text), found.values)
    return LeafSql(grouped(inner, Sql("true"), when, nothing=False), of_nothing=False)
