"""The roster in PostgreSQL: assignments, who was written to, and who the nodes belong to."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor
from services.campaigns.adapters.order_book import erased_nodes
from services.campaigns.application.ports import Unit

_ENROL = (
    "INSERT INTO assignments (tenant, broadcast, customer, variant, bucket, assigned_at)"
    " SELECT %s, %s, u.customer, u.variant, u.bucket, %s"
    " FROM unnest(%s::uuid[], %s::text[], %s::smallint[]) AS u(customer, variant, bucket)"
)
_ENROLLED = "SELECT customer FROM assignments WHERE tenant = %s AND broadcast = %s AND customer = ANY(%s)"
_PERSONS = "SELECT node, customer FROM nodes WHERE tenant = %s AND node = ANY(%s)"
_CLAIM = (
    "WITH claimed AS ("
    "INSERT INTO recipients (tenant, broadcast, customer, unit)"
    " SELECT DISTINCT ON (p.customer) %(tenant)s, %(broadcast)s::uuid, p.customer, p.unit"
    " FROM unnest(%(persons)s::uuid[], %(units)s::uuid[]) AS p(customer, unit)"
    " WHERE NOT EXISTS ("
    "   SELECT FROM nodes n JOIN recipients r"
    "   ON r.tenant = n.tenant AND r.broadcast = %(broadcast)s::uuid AND r.customer = n.node"
    "   WHERE n.tenant = %(tenant)s AND n.customer = p.customer)"
    " ORDER BY p.customer, p.unit"
    " ON CONFLICT DO NOTHING RETURNING tenant, broadcast, customer, unit"
    "), kept AS ("
    "INSERT INTO recipients (tenant, broadcast, customer, unit)"
    " SELECT tenant, broadcast, unit, unit FROM claimed WHERE unit <> customer ON CONFLICT DO NOTHING"
    ") SELECT unit FROM claimed"
)
_VISITORS = "SELECT customer FROM visitors WHERE tenant = %s AND customer = ANY(%s)"
_QUEUE = "INSERT INTO dispatches (tenant, broadcast) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_UNQUEUE = "DELETE FROM dispatches WHERE tenant = %s AND broadcast = %s"


class SqlRoster:
    """The roster of one tenant in the transaction of `rows`."""

    def __init__(self, rows: sa.Connection, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant

    def enrol(self, broadcast: UUID, units: Sequence[Unit], at: datetime) -> None:
        if not units:
            return
        table = columns((it.customer, it.variant, it.bucket) for it in units)
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_ENROL, [self._tenant, broadcast, at, *table])

    def enrolled(self, broadcast: UUID, customers: Collection[UUID]) -> set[UUID]:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_ENROLLED, [self._tenant, broadcast, list(customers)])
            return {it[0] for it in cursor.fetchall()}

    def persons(self, nodes: Collection[UUID]) -> dict[UUID, UUID]:
        found = dict(zip(nodes, nodes, strict=True))
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_PERSONS, [self._tenant, list(nodes)])
            found.update((node, customer) for node, customer in cursor.fetchall())
        return found

    def erased(self, nodes: Collection[UUID]) -> set[UUID]:
        return erased_nodes(self._rows, self._tenant, nodes)

    def visitors(self, persons: Collection[UUID]) -> set[UUID]:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_VISITORS, [self._tenant, list(persons)])
            return {it[0] for it in cursor.fetchall()}

    def contact(self, broadcast: UUID, persons: Mapping[UUID, UUID]) -> set[UUID]:
        claim = {
            "tenant": self._tenant,
            "broadcast": broadcast,
            "persons": list(persons.values()),
            "units": list(persons),
        }
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_CLAIM, claim)
            return {it[0] for it in cursor.fetchall()}

    def queue(self, broadcast: UUID) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_QUEUE, [self._tenant, broadcast])

    def unqueue(self, broadcast: UUID) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_UNQUEUE, [self._tenant, broadcast])
