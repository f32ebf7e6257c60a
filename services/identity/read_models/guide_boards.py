"""GuideBoards: what came of the work of guides, by guide or store and local day: new customers, scans, clicks,
follow-ups, credited orders.

The rows are what happened; days are cut out of them when a board is asked for, in the zone of the brand. In which store something
happened follows from where the guide worked at that time (`staff_placements` of the organisation), unless an order names its store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.customer import Customer
from services.identity.domain.follow_up import FollowUp
from services.identity.domain.relationships import Relationship
from services.identity.domain.sales import Sales
from services.identity.read_models.concerned import concerning
from services.identity.read_models.erased import erased_in

tables: Final = sa.MetaData()

activities: Final = sa.Table(
    "guide_activities",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("staff", sa.Uuid, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
)
"""NEW (a customer was assigned), SCAN, CLICK and FOLLOW_UP; `position` is that of the event."""

credits_: Final = sa.Table(
    "order_credits",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("order", sa.Uuid, primary_key=True),
    sa.Column("staff", sa.Uuid),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("store", sa.Uuid),
    sa.Column("net", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("order_credits_by_staff", "tenant", "staff", "paid_at"),
    sa.Index("order_credits_by_store", "tenant", "store", "paid_at"),
)
"""`store` is the one that the order names."""


_EVENTS: Final = frozenset(
    {Relationship.Assigned, Relationship.Touched, FollowUp.Recorded, Sales.Credited, Sales.NetChanged, Customer.Erased}
)


class GuideBoardsProjection:
    """Keeps both tables."""

    name = "guide_boards"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        done = [it for it in map(_activity, items) if it is not None]
        if done:
            rows.execute(sa.insert(activities), done)
        changed: dict[tuple[str, UUID, UUID], dict[str, Any]] = {}
        for it in items:
            _take_credit(it, changed)
        whole = [it for it in changed.values() if "paid_at" in it]
        if whole:
            rows.execute(_CREDIT, _columns(whole))
        reduced = [it for it in changed.values() if "paid_at" not in it]
        if reduced:
            rows.execute(_REDUCE, _columns(reduced))
        if erased := erased_in(items):
            rows.execute(_FORGET, {"tenants": [it[0] for it in erased], "nodes": [it[1] for it in erased]})


@dataclass(frozen=True, slots=True)
class BoardOf:
    """Whose board: `staff` or `store`, for the days from `first` to `last`, both included, in `zone`."""

    first: date
    last: date
    zone: str
    staff: UUID | None = None
    store: UUID | None = None


@dataclass(slots=True)
class Activity:
    """What was done in a day."""

    new_customers: int = 0
    scans: int = 0
    clicks: int = 0
    follow_ups: int = 0


@dataclass(frozen=True, slots=True)
class Revenue:
    """The orders of one currency credited in a day, and what they brought net of refunds, in minor units."""

    currency: str
    orders: int
    net: int


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a board."""

    day: date
    activity: Activity
    revenues: tuple[Revenue, ...]


def board(rows: sa.Connection, of: BoardOf) -> list[Day]:
    """Every day on which anything happened, the earliest first."""
    done: dict[date, Activity] = {}
    sold: dict[date, list[Revenue]] = {}
    given = {"first": of.first, "last": of.last, "zone": of.zone, "staff": of.staff, "store": of.store}
    for it in rows.execute(_ACTIVITY_OF_STAFF if of.staff else _ACTIVITY_OF_STORE, given):
        done[it.day] = Activity(it.new_customers, it.scans, it.clicks, it.follow_ups)
    for it in rows.execute(_ORDERS_OF_STAFF if of.staff else _ORDERS_OF_STORE, given):
        sold.setdefault(it.day, []).append(Revenue(it.currency, it.orders, it.net))
    return [Day(it, done.get(it, Activity()), tuple(sold.get(it, ()))) for it in sorted(done.keys() | sold.keys())]


def _activity(recorded: Recorded) -> dict[str, Any] | None:
    match recorded.event:
        case Relationship.Assigned(staff=staff, assigned_at=at):
            kind = "NEW"
        case Relationship.Touched(touch=touch):
            staff, at, kind = touch.staff, touch.at, touch.kind.value
        case FollowUp.Recorded(staff=UUID() as staff, supersedes=None, occurred_at=at):  # a correction is no other one
            kind = "FOLLOW_UP"
        case _:
            return None
    return {"tenant": recorded.tenant, "staff": staff, "at": at, "position": recorded.position, "kind": kind}


def _take_credit(recorded: Recorded, changed: dict[tuple[str, UUID, UUID], dict[str, Any]]) -> None:
    """The last word on each order; the money of one that is whole in this stretch is changed in place."""
    match recorded.event:
        case Sales.Credited(node=node, sale=sale, credit=credit):
            changed[recorded.tenant, node, sale.order] = {
                "tenant": recorded.tenant,
                "node": node,
                "order": sale.order,
                "staff": credit.staff,
                "rule": credit.rule.value,
                "store": sale.store,
                "net": sale.net,
                "currency": sale.currency,
                "paid_at": sale.paid_at,
            }
        case Sales.NetChanged(node=node, order=order, net=net):
            key = recorded.tenant, node, order
            changed.setdefault(key, {"tenant": recorded.tenant, "node": node, "order": order})["net"] = net


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [it[name] for it in rows] for name in rows[0]}


_CREDIT: Final = sa.text(
    'INSERT INTO order_credits (tenant, node, "order", staff, rule, store, net, currency, paid_at)'
    " SELECT * FROM unnest(CAST(:tenant AS text[]), CAST(:node AS uuid[]), CAST(:order AS uuid[]), CAST(:staff AS uuid[]),"
    " CAST(:rule AS text[]), CAST(:store AS uuid[]), CAST(:net AS bigint[]), CAST(:currency AS text[]),"
    " CAST(:paid_at AS timestamptz[]))"
    ' ON CONFLICT (tenant, node, "order") DO UPDATE SET staff = excluded.staff, rule = excluded.rule, store = excluded.store,'
    " net = excluded.net, currency = excluded.currency, paid_at = excluded.paid_at"
)
_REDUCE: Final = sa.text(
    "UPDATE order_credits c SET net = v.net FROM unnest(CAST(:tenant AS text[]), CAST(:node AS uuid[]),"
    ' CAST(:order AS uuid[]), CAST(:net AS bigint[])) AS v(tenant, node, "order", net)'
    ' WHERE (c.tenant, c.node, c."order") = (v.tenant, v.node, v."order")'
)

# What was sold stays sold, to nobody in particular.
_FORGET: Final = sa.text(
    'UPDATE order_credits c SET node = c."order" FROM unnest(CAST(:tenants AS text[]), CAST(:nodes AS uuid[])) AS v(tenant, node)'
    " WHERE (c.tenant, c.node) = (v.tenant, v.node)"
)

_BOUNDS: Final = """
bounds AS (
  SELECT CAST(:first AS timestamp) AT TIME ZONE :zone AS since,
    (CAST(:last AS timestamp) + interval '1 day') AT TIME ZONE :zone AS until
)"""

_STAYS: Final = """
stays AS (
  SELECT p.staff, p.store, p.effective_at AS since,
    lead(p.effective_at, 1, 'infinity') OVER (PARTITION BY p.staff ORDER BY p.effective_at) AS until
  FROM staff_placements p
  WHERE p.staff IN (SELECT q.staff FROM staff_placements q WHERE q.store = :store)
), here AS (
  SELECT s.staff, greatest(s.since, b.since) AS since, least(s.until, b.until) AS until
  FROM stays s CROSS JOIN bounds b WHERE s.store = :store AND s.since < b.until AND s.until > b.since
)"""
"""Who worked in the store, from when to when, within the days asked for."""

_DONE: Final = """
SELECT CAST(a.at AT TIME ZONE :zone AS date) AS day,
  count(*) FILTER (WHERE kind = 'NEW') AS new_customers,
  count(*) FILTER (WHERE kind = 'SCAN') AS scans,
  count(*) FILTER (WHERE kind = 'CLICK') AS clicks,
  count(*) FILTER (WHERE kind = 'FOLLOW_UP') AS follow_ups"""
_SOLD: Final = """
SELECT CAST(c.paid_at AT TIME ZONE :zone AS date) AS day, c.currency, count(*) AS orders, CAST(sum(c.net) AS bigint) AS net"""

_ACTIVITY_OF_STAFF: Final = sa.text(
    f"WITH {_BOUNDS} {_DONE} FROM bounds b JOIN guide_activities a ON a.at >= b.since AND a.at < b.until"
    " WHERE a.staff = :staff GROUP BY 1"
)
_ORDERS_OF_STAFF: Final = sa.text(
    f"WITH {_BOUNDS} {_SOLD} FROM bounds b JOIN order_credits c ON c.paid_at >= b.since AND c.paid_at < b.until"
    " WHERE c.staff = :staff GROUP BY 1, 2 ORDER BY 1, 2"
)
_ACTIVITY_OF_STORE: Final = sa.text(
    f"WITH {_BOUNDS}, {_STAYS} {_DONE} FROM here h JOIN guide_activities a"
    " ON a.staff = h.staff AND a.at >= h.since AND a.at < h.until GROUP BY 1"
)
_SOLD_HERE: Final = """
sold AS (
  SELECT c.paid_at, c.currency, c.net FROM bounds b JOIN order_credits c
    ON c.paid_at >= b.since AND c.paid_at < b.until WHERE c.store = :store
  UNION ALL
  SELECT c.paid_at, c.currency, c.net FROM here h JOIN order_credits c
    ON c.staff = h.staff AND c.paid_at >= h.since AND c.paid_at < h.until WHERE c.store IS NULL
)"""
"""The orders that name the store, and those that name none, of guides who worked there when they were paid."""

_ORDERS_OF_STORE: Final = sa.text(
    f"WITH {_BOUNDS}, {_STAYS}, {_SOLD_HERE} {_SOLD} FROM sold c GROUP BY 1, 2 ORDER BY 1, 2"
)
