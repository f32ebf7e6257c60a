"""Points as a profile shows them: what is left of each lot, by the node that earned it, and what is owed.

Every row is a sum of what messages add and take, so that it is the same in whatever order they come: a lot may be told of in one
partition and spent in another. A merge moves no lot from its node, and what is owed goes over as membership says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.membership.v1 import events_pb2 as pb
from services.identity.read_models.profile.told import execute, instant, tables, uuid

lots: Final = sa.Table(
    "told_lots",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("lot", sa.Uuid, primary_key=True),
    sa.Column("node", sa.Uuid),
    sa.Column("remaining", sa.BigInteger, nullable=False),
    sa.Column("active_at", sa.DateTime(timezone=True)),
    sa.Column("expire_at", sa.DateTime(timezone=True)),
    sa.Index("told_lots_by_node", "tenant", "node"),
)

debts: Final = sa.Table(
    "told_debts",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("debt", sa.BigInteger, nullable=False),
)

_ADD: Final = (
    "INSERT INTO told_lots AS l (tenant, lot, node, remaining, active_at, expire_at)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::bigint[], %s::timestamptz[], %s::timestamptz[])"
    " ON CONFLICT (tenant, lot) DO UPDATE SET node = coalesce(excluded.node, l.node),"
    " remaining = l.remaining + excluded.remaining, active_at = coalesce(excluded.active_at, l.active_at),"
    " expire_at = coalesce(excluded.expire_at, l.expire_at)"
)
_OWE: Final = (
    "INSERT INTO told_debts AS d (tenant, customer, debt) SELECT * FROM unnest(%s::text[], %s::uuid[], %s::bigint[])"
    " ON CONFLICT (tenant, customer) DO UPDATE SET debt = d.debt + excluded.debt"
)


@dataclass(frozen=True, slots=True)
class Balance:
    """The points of a customer at an instant; `expires_at` is None if none will expire."""

    available: int
    pending: int
    debt: int
    expires_at: datetime | None
    expiring: int


@dataclass(slots=True)
class _Lot:
    node: UUID | None = None
    change: int = 0
    active_at: datetime | None = None
    expire_at: datetime | None = None


class Points:
    """What a batch adds to lots and debts and takes from them, each written once."""

    def __init__(self) -> None:
        self._lots: dict[tuple[str, UUID], _Lot] = {}
        self._debts: dict[tuple[str, UUID], int] = {}

    def take(self, tenant: str, message: Any) -> None:
        match message:
            case pb.PointsGranted():
                self._grant(tenant, [message.lot])
            case pb.PointsRestored():
                self._spend(tenant, message.allocations, -1)
                self._grant(tenant, message.new_lots)
            case pb.PointsBurned():
                self._spend(tenant, message.allocations)
            case pb.PointsExpired():
                self._lot(tenant, message.lot_id).change -= message.points
            case pb.PointsReversed():
                self._spend(tenant, message.allocations)
                self._owe(tenant, message.customer_id, message.to_debt)
            case pb.PointsDebtOffset():
                self._spend(tenant, message.allocations)
                self._owe(tenant, message.customer_id, -sum(one.points for one in message.allocations))
            case pb.PointsAccountsMerged():
                self._owe(tenant, message.customer_id, message.debt)
                self._owe(tenant, message.loser_id, -message.debt)
            case pb.PointsAccountsSplit():
                self._owe(tenant, message.customer_id, -message.debt)
                self._owe(tenant, message.restored_id, message.debt)

    def write(self, rows: sa.Connection) -> None:
        changed = [(*key, it.node, it.change, it.active_at, it.expire_at) for key, it in self._lots.items()]
        execute(rows, _ADD, changed)
        execute(rows, _OWE, [(*key, it) for key, it in self._debts.items()])

    def _grant(self, tenant: str, granted: Iterable[Any]) -> None:
        for it in granted:
            lot = self._lot(tenant, it.lot_id)
            lot.node = uuid(it.node_id)
            lot.change += it.granted
            lot.active_at = instant(it.active_time)
            lot.expire_at = instant(it.expire_time) if it.HasField("expire_time") else None

    def _spend(self, tenant: str, allocations: Iterable[Any], sign: int = 1) -> None:
        for it in allocations:
            self._lot(tenant, it.lot_id).change -= sign * it.points

    def _owe(self, tenant: str, customer: str, points: int) -> None:
        if points:
            key = tenant, uuid(customer)
            self._debts[key] = self._debts.get(key, 0) + points

    def _lot(self, tenant: str, id: str) -> _Lot:
        return self._lots.setdefault((tenant, uuid(id)), _Lot())


def balance_of(rows: sa.Connection, nodes: Sequence[UUID], at: datetime) -> Balance:
    """The points of the customer of these nodes at `at`, whether or not membership has said what became due."""
    found = rows.execute(_BALANCE, {"nodes": list(nodes), "at": at}).one()
    return Balance(found.available, found.pending, found.debt, found.expires_at, found.expiring)


_BALANCE: Final = sa.text("""
WITH mine AS (
  SELECT remaining, active_at, expire_at FROM told_lots
  WHERE tenant = current_setting('scrm.tenant') AND node = ANY(:nodes) AND remaining > 0
    AND (expire_at IS NULL OR expire_at > :at)
), next AS (
  SELECT min(expire_at) AS at FROM mine WHERE active_at <= :at
)
SELECT coalesce(sum(remaining) FILTER (WHERE active_at <= :at), 0)::bigint AS available,
  coalesce(sum(remaining) FILTER (WHERE active_at > :at), 0)::bigint AS pending,
  (SELECT coalesce(sum(debt), 0)::bigint FROM told_debts
    WHERE tenant = current_setting('scrm.tenant') AND customer = ANY(:nodes)) AS debt,
  (SELECT at FROM next) AS expires_at,
  coalesce(sum(remaining) FILTER (WHERE active_at <= :at AND expire_at = (SELECT at FROM next)), 0)::bigint AS expiring
FROM mine
""")
