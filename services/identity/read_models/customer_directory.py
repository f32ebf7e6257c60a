"""CustomerDirectory: every customer with its nodes and how many identifiers of which kind it has, for lists.

Each row is built from the events of one customer alone, so that it does not matter how the log interleaves customers.
Identifiers are counted by node and nodes mapped to customers: a merge changes the map and nothing else, and so does one that is
taken back, but for identifiers that do not stay with their nodes.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.identifiers import LinkedIdentifier
from services.identity.read_models.concerned import concerning

Row = tuple[Any, ...]

tables: Final = sa.MetaData()

customers = sa.Table(
    "customers",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("assignment_key", sa.Text, nullable=False),
    sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("became_known_at", sa.DateTime(timezone=True)),
    sa.Column("merged_into", sa.Uuid),
    sa.Index("customers_by_survivor", "tenant", "merged_into"),
)

nodes = sa.Table(
    "customer_nodes",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("customer", sa.Uuid, nullable=False),
    sa.Index("customer_nodes_by_customer", "tenant", "customer"),
)

counts = sa.Table(
    "identifier_counts",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)


_EVENTS: Final = frozenset(
    {
        Customer.Registered,
        Customer.IdentifiersLinked,
        Customer.IdentifiersUnlinked,
        Customer.BecameKnown,
        Customer.MergedInto,
        Customer.ErasureBegun,
        Customer.Erased,
        Customer.Restored,
    }
)


class CustomerDirectoryProjection:
    """Keeps the three tables."""

    name = "customer_directory"
    version = 3
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        changes = _Changes()
        for it in items:
            changes.take(it)
        changes.write(rows)


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer of the directory."""

    customer_id: UUID
    state: CustomerState
    assignment_key: str
    registered_at: datetime
    became_known_at: datetime | None
    node_ids: tuple[UUID, ...]
    identifier_counts: dict[str, int]


def list_customers(
    rows: sa.Connection,
    state: CustomerState | None,
    after: UUID | None,
    limit: int,
    *,
    only: sa.ColumnElement[bool] | None = None,
) -> list[CustomerRow]:
    """Up to `limit` customers behind `after` by their ids: those in `state`, or all that are not merged; of them `only` those."""
    wanted = [state] if state else [CustomerState.ANONYMOUS, CustomerState.KNOWN]
    query = sa.select(customers).where(customers.c.state.in_(wanted)).order_by(customers.c.customer).limit(limit)
    if after is not None:
        query = query.where(customers.c.customer > after)
    if only is not None:
        query = query.where(only)
    return _described(rows, rows.execute(query).all())


def customers_with_ids(
    rows: sa.Connection, ids: Collection[UUID], *, only: sa.ColumnElement[bool] | None = None
) -> dict[UUID, CustomerRow]:
    """Those of these customers that there are, merged ones too, by their ids; of them `only` those."""
    query = sa.select(customers).where(customers.c.customer.in_(ids))
    found = rows.execute(query if only is None else query.where(only)).all()
    return {it.customer_id: it for it in _described(rows, found)}


def _described(rows: sa.Connection, page: Sequence[Any]) -> list[CustomerRow]:
    nodes_of = _nodes_of(rows, [it.customer for it in page])
    counts_of = _counts_of(rows, [node for found in nodes_of.values() for node in found])
    return [
        CustomerRow(
            it.customer,
            CustomerState(it.state),
            it.assignment_key,
            it.registered_at,
            it.became_known_at,
            tuple(nodes_of.get(it.customer, ())),
            dict(sum((counts_of[node] for node in nodes_of.get(it.customer, ())), Counter[str]())),
        )
        for it in page
    ]


def canonical(rows: sa.Connection, wanted: Sequence[UUID]) -> dict[UUID, UUID]:
    """The customer each of the nodes belongs to."""
    query = sa.select(nodes.c.node, nodes.c.customer).where(nodes.c.node.in_(wanted))
    return {it.node: it.customer for it in rows.execute(query)}


def nodes_with(rows: sa.Connection, node: UUID) -> list[UUID]:
    """All nodes of the customer to whom `node` belongs; none if there is no such node."""
    beside = sa.select(nodes.c.customer).where(nodes.c.node == node).scalar_subquery()
    return list(rows.scalars(sa.select(nodes.c.node).where(nodes.c.customer == beside)))


def _nodes_of(rows: sa.Connection, wanted: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    query = sa.select(nodes.c.customer, nodes.c.node).where(nodes.c.customer.in_(wanted)).order_by(nodes.c.node)
    found: dict[UUID, list[UUID]] = {}
    for it in rows.execute(query):
        found.setdefault(it.customer, []).append(it.node)
    return found


def _counts_of(rows: sa.Connection, wanted: Sequence[UUID]) -> dict[UUID, Counter[str]]:
    query = sa.select(counts.c.node, counts.c.namespace, counts.c.count).where(counts.c.node.in_(wanted))
    found: dict[UUID, Counter[str]] = {it: Counter() for it in wanted}
    for it in rows.execute(query):
        found[it.node][it.namespace] = it[2]
    return found


@dataclass(slots=True)
class _Changes:
    """What a stretch of the log changes, gathered to be written in one statement per table."""

    registered: list[Row] = field(default_factory=list)
    known: list[Row] = field(default_factory=list)
    fates: dict[tuple[str, UUID], tuple[CustomerState, UUID | None]] = field(default_factory=dict)
    counted: Counter[tuple[str, UUID, str]] = field(default_factory=Counter)
    erased: list[Row] = field(default_factory=list)

    def take(self, recorded: Recorded) -> None:
        tenant = recorded.tenant
        match recorded.event:
            case Customer.Registered(originator_id=id, state=state, assignment_key=key, registered_at=at) as event:
                self.registered.append((tenant, id, state, key, at, at if state is CustomerState.KNOWN else None))
                self._count(tenant, event.identifiers, 1)
            case Customer.IdentifiersLinked(identifiers=identifiers):
                self._count(tenant, identifiers, 1)
            case Customer.IdentifiersUnlinked(identifiers=identifiers):
                self._count(tenant, identifiers, -1)
            case Customer.BecameKnown(originator_id=id, assignment_key=key, became_known_at=at):
                self.known.append((tenant, id, key, at))
                if (tenant, id) in self.fates:
                    self.fates[tenant, id] = CustomerState.KNOWN, None
            case Customer.MergedInto(originator_id=id, survivor_id=survivor):
                self.fates[tenant, id] = CustomerState.MERGED, survivor
            case Customer.ErasureBegun(originator_id=id):
                self.fates[tenant, id] = CustomerState.ERASING, None
            case Customer.Erased(originator_id=id, node_ids=node_ids):
                self.fates[tenant, id] = CustomerState.ERASED, None
                self.erased += [(tenant, node) for node in node_ids]
            case Customer.Restored(originator_id=id, state=state, moves=moves):
                self.fates[tenant, id] = state, None
                self._count(tenant, [it.identifier for it in moves], -1)
                self._count(tenant, [it.moved for it in moves], 1)

    def _count(self, tenant: str, identifiers: Sequence[LinkedIdentifier], step: int) -> None:
        for it in identifiers:
            self.counted[tenant, it.node, it.namespace] += step

    def write(self, rows: sa.Connection) -> None:
        """Of one customer's events being registered comes first."""
        _write(rows, _REGISTER, self.registered)
        _write(rows, _ADD_NODES, [(tenant, id) for tenant, id, *_ in self.registered])
        _write(rows, _BECOME_KNOWN, self.known)
        _write(rows, _DECIDE, [(*customer, *fate) for customer, fate in self.fates.items()])
        _write(rows, _PLACE, list(self.fates))
        _write(rows, _COUNT, [(*key, count) for key, count in self.counted.items()])
        _write(rows, _FORGET, self.erased)
        _write(rows, _FORGET_COUNTS, self.erased)


def _write(rows: sa.Connection, statement: sa.TextClause, values: Sequence[Row]) -> None:
    if values:
        rows.execute(statement, _columns(values))


def _columns(values: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as the arrays `a`, `b`, `c`… of their columns."""
    return {chr(ord("a") + number): list(column) for number, column in enumerate(zip(*values, strict=True))}


_REGISTER: Final = sa.text(
    "INSERT INTO customers (tenant, customer, state, assignment_key, registered_at, became_known_at)"
    " SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS text[]), CAST(:d AS text[]),"
    " CAST(:e AS timestamptz[]), CAST(:f AS timestamptz[]))"
)
_ADD_NODES: Final = sa.text(
    "INSERT INTO customer_nodes (tenant, node, customer)"
    " SELECT v.tenant, v.node, v.node FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[])) AS v(tenant, node)"
)
_BECOME_KNOWN: Final = sa.text(
    "UPDATE customers c SET state = 'KNOWN', assignment_key = v.key, became_known_at = v.at"
    " FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS text[]), CAST(:d AS timestamptz[]))"
    " AS v(tenant, customer, key, at) WHERE (c.tenant, c.customer) = (v.tenant, v.customer)"
)
_DECIDE: Final = sa.text(
    "UPDATE customers c SET state = v.state, merged_into = v.survivor"
    " FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS text[]), CAST(:d AS uuid[]))"
    " AS v(tenant, customer, state, survivor) WHERE (c.tenant, c.customer) = (v.tenant, v.customer)"
)
_PLACE: Final = sa.text("""
WITH RECURSIVE below (tenant, node) AS (
  SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]))
  UNION
  SELECT c.tenant, c.customer FROM below b JOIN customers c ON (c.tenant, c.merged_into) = (b.tenant, b.node)
), above (tenant, node, customer) AS (
  SELECT tenant, node, node FROM below
  UNION
  SELECT a.tenant, a.node, c.merged_into FROM above a CROSS JOIN LATERAL (
    SELECT merged_into FROM customers WHERE (tenant, customer) = (a.tenant, a.customer) AND merged_into IS NOT NULL OFFSET 0
  ) AS c
)
UPDATE customer_nodes n SET customer = a.customer FROM above a
  WHERE n.tenant = ANY(ARRAY(SELECT tenant FROM below)) AND n.node = ANY(ARRAY(SELECT node FROM below))
  AND (n.tenant, n.node) = (a.tenant, a.node) AND NOT EXISTS (
    SELECT FROM customers c WHERE (c.tenant, c.customer) = (a.tenant, a.customer) AND c.merged_into IS NOT NULL
  )
""")
"""Every customer below those given, and the end of the merges above it; each step up, and what is to be written, is looked up
by its key, since the server takes chains to be longer than they are and would rather read all customers."""
_COUNT: Final = sa.text(
    "INSERT INTO identifier_counts AS i (tenant, node, namespace, count)"
    " SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS text[]), CAST(:d AS int[]))"
    " ON CONFLICT (tenant, node, namespace) DO UPDATE SET count = i.count + excluded.count"
)
_FORGET: Final = sa.text(
    "UPDATE customers c SET assignment_key = '' FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[])) AS v(tenant, customer)"
    " WHERE (c.tenant, c.customer) = (v.tenant, v.customer)"
)
_FORGET_COUNTS: Final = sa.text(
    "DELETE FROM identifier_counts i USING unnest(CAST(:a AS text[]), CAST(:b AS uuid[])) AS v(tenant, node)"
    " WHERE (i.tenant, i.node) = (v.tenant, v.node)"
)
