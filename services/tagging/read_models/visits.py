"""Visits of nodes (spec TR-3, see `domain/sessions.py`), from behaviours."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa

from services.tagging.domain.sessions import Visit, join
from services.tagging.read_models import sql

_OF_CUSTOMERS = (
    "SELECT n.customer, n.node, v.family, v.started_at, v.ended_at, v.utc_offset FROM nodes n"
    " JOIN visits v ON v.tenant = n.tenant AND v.node = n.node WHERE n.tenant = %s AND n.customer = ANY(%s)"
)
_DELETE = (
    "DELETE FROM visits v USING (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[])"
    " AS k(node, family, started_at)) k"
    " WHERE (v.tenant, v.node, v.family, v.started_at) = (k.tenant, k.node, k.family, k.started_at)"
)
_WRITE = (
    "INSERT INTO visits (tenant, node, family, started_at, ended_at, utc_offset) SELECT %s, *"
    " FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::smallint[])"
    " ON CONFLICT (tenant, node, family, started_at)"
    " DO UPDATE SET ended_at = excluded.ended_at, utc_offset = excluded.utc_offset"
)
_ACTIVE = (
    "SELECT c.node, c.ordinal, c.assignment_key FROM nodes c WHERE c.tenant = %s AND c.node = c.customer"
    " AND c.ordinal > %s AND EXISTS (SELECT FROM nodes n JOIN visits v ON v.tenant = n.tenant AND v.node = n.node"
    " WHERE n.tenant = c.tenant AND n.customer = c.node) ORDER BY c.ordinal LIMIT %s"
)

ByCustomer = dict[UUID, list[Visit]]


def absorb(
    rows: sa.Connection,
    tenant: str,
    arrived: Mapping[UUID, Sequence[Visit]],
    customer_of: Mapping[UUID, UUID],
    others: Collection[UUID] = (),
) -> ByCustomer:
    """Add what arrived, by node; all visits, with the new ones, of the customers concerned and of `others`."""
    by_customer: ByCustomer = {}
    customers = {customer_of[node] for node in arrived}.union(others)
    kept: dict[UUID, list[Visit]] = {}
    for customer, node, *visit in sql.fetch(rows, _OF_CUSTOMERS, tenant, list(customers)) if customers else ():
        if node in arrived:
            kept.setdefault(node, []).append(Visit(*visit))
        else:
            by_customer.setdefault(customer, []).append(Visit(*visit))
    gone: list[sql.Row] = []
    written: list[sql.Row] = []
    for node, visits in arrived.items():
        before = kept.get(node, [])
        after = join([*before, *visits])
        by_customer.setdefault(customer_of[node], []).extend(after)
        unchanged, starts = set(before), {(it.family, it.start) for it in after}
        gone += [(node, it.family, it.start) for it in before if (it.family, it.start) not in starts]
        written += [(node, *it) for it in after if it not in unchanged]
    sql.run_all(rows, _DELETE, tenant, gone)
    sql.run_all(rows, _WRITE, tenant, written)
    return by_customer


def of_customers(rows: sa.Connection, tenant: str, customers: Collection[UUID]) -> ByCustomer:
    """All visits of each customer; nothing for one without."""
    return absorb(rows, tenant, {}, {}, customers)


def customers_with_visits(rows: sa.Connection, tenant: str, after: int, limit: int) -> list[sql.Row]:
    """Id, ordinal and assignment key of customers who ever visited, by ordinal."""
    return sql.fetch(rows, _ACTIVE, tenant, after, limit)
