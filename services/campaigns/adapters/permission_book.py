"""What people allow and where they can be reached, in PostgreSQL.

It is noted and forgotten one after the other, in a turn of the tenant: what is said of somebody while they are erased is not kept.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor
from services.campaigns.domain.permissions import Consent, Permissions, Reachability

_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended('permissions of ' || %s, 0))"
_CONSENTS: Final = (
    "INSERT INTO consents (tenant, node, purpose, channel, state, made_at, beside)"
    " SELECT v.tenant, v.node, v.purpose, v.channel, v.state, v.made_at, ARRAY(SELECT b FROM unnest(v.beside::uuid[]) AS b"
    "   WHERE NOT EXISTS (SELECT FROM erased_nodes g WHERE g.tenant = v.tenant AND g.node = b))"
    " FROM (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],"
    "   %s::text[]) AS c(node, purpose, channel, state, made_at, beside)) v"
    " WHERE NOT EXISTS (SELECT FROM erased_nodes g WHERE g.tenant = v.tenant AND g.node = v.node)"
    " ON CONFLICT (tenant, node, purpose, channel)"
    " DO UPDATE SET state = excluded.state, made_at = excluded.made_at, beside = excluded.beside"
    " WHERE (excluded.made_at, array_position(ARRAY['GRANTED', 'DENIED', 'WITHDRAWN'], excluded.state))"
    " >= (consents.made_at, array_position(ARRAY['GRANTED', 'DENIED', 'WITHDRAWN'], consents.state))"
)
_CHANNELS: Final = (
    "INSERT INTO reachability (tenant, node, channel, reachable, since)"
    " SELECT v.* FROM (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::text[], %s::bool[], %s::timestamptz[])"
    "   AS c(node, channel, reachable, since)) v"
    " WHERE NOT EXISTS (SELECT FROM erased_nodes g WHERE g.tenant = v.tenant AND g.node = v.node)"
    " ON CONFLICT (tenant, node, channel) DO UPDATE SET reachable = excluded.reachable, since = excluded.since"
    " WHERE (excluded.since, excluded.reachable) >= (reachability.since, reachability.reachable)"
)
_OF_PERSONS: Final = (
    "WITH its AS (SELECT p AS person, p AS node FROM unnest(%(persons)s::uuid[]) AS p UNION"
    " SELECT customer, node FROM nodes WHERE tenant = %(tenant)s AND customer = ANY(%(persons)s)) "
)
_MARKETING: Final = (
    "SELECT its.person, c.node, c.purpose, c.channel, c.state, c.made_at, c.beside FROM its"
    " JOIN consents c ON c.tenant = %(tenant)s AND c.node = its.node AND c.purpose = 'MARKETING'"
)
_REACHED: Final = (
    "SELECT its.person, r.node, r.channel, r.reachable, r.since FROM its"
    " JOIN reachability r ON r.tenant = %(tenant)s AND r.node = its.node"
)
_FORGET: Final = {
    "consents": "DELETE FROM consents WHERE tenant = %s AND node = ANY(%s)",
    "reachability": "DELETE FROM reachability WHERE tenant = %s AND node = ANY(%s)",
}
_FORGET_BESIDE: Final = (
    "UPDATE consents SET beside = ARRAY(SELECT unnest(beside) EXCEPT SELECT unnest(%(nodes)s::uuid[]))"
    " WHERE tenant = %(tenant)s AND beside && %(nodes)s::uuid[]"
)


class SqlPermissionBook:
    """The permissions of one tenant in the transaction of `rows`."""

    def __init__(self, rows: sa.Connection, tenant: str) -> None:
        self._rows = rows
        self._tenant = tenant

    def note(self, consents: Sequence[Consent], channels: Sequence[Reachability]) -> None:
        with driver_cursor(self._rows) as cursor:
            cursor.execute(_TURN, [self._tenant])
            if consents:
                table = columns((*it[:-1], _array(it.beside)) for it in sorted(consents))
                cursor.execute(_CONSENTS, [self._tenant, *table])
            if channels:
                cursor.execute(_CHANNELS, [self._tenant, *columns(sorted(channels))])

    def of(self, persons: Collection[UUID]) -> dict[UUID, Permissions]:
        marketing: dict[UUID, list[Consent]] = defaultdict(list)
        channels: dict[UUID, list[Reachability]] = defaultdict(list)
        whose: dict[str, Any] = {"tenant": self._tenant, "persons": list(persons)}
        with driver_cursor(self._rows) as cursor:
            cursor.execute((_OF_PERSONS + _MARKETING).encode(), whose, prepare=True)
            for person, *consent in cursor.fetchall():
                marketing[person].append(Consent(*consent))
            cursor.execute((_OF_PERSONS + _REACHED).encode(), whose, prepare=True)
            for person, *told in cursor.fetchall():
                channels[person].append(Reachability(*told))
        return {it: Permissions(marketing[it], channels[it]) for it in {*marketing, *channels}}


def forget_permissions(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> dict[str, int]:
    """Remove what was said for `nodes`, and their names from what was said for others; rows removed by table."""
    with driver_cursor(rows) as cursor:
        cursor.execute(_TURN, [tenant])
        removed = {table: cursor.execute(it.encode(), [tenant, list(nodes)]).rowcount for table, it in _FORGET.items()}
        cursor.execute(_FORGET_BESIDE, {"tenant": tenant, "nodes": list(nodes)})
    return removed


def _array(ids: Sequence[UUID]) -> str:
    """An array of ids as PostgreSQL writes it; arrays in arrays would all have to be of one length."""
    return "{" + ",".join(map(str, ids)) + "}"
