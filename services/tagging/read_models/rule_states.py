"""Where customers stand with the rule tags: only those who ever had a tag, or whom time alone will give it.

`first_at` is a matter of facts, not of when they became known: the first instant at which the rule held.
"""

from collections.abc import Collection, Mapping
from uuid import UUID

import sqlalchemy as sa

from services.tagging.application.ports import NO_STATE, RuleState
from services.tagging.read_models import sql

_LOAD = (
    "SELECT customer, assigned, first_at, next_change FROM rule_states"
    " WHERE tenant = %s AND rule = %s AND customer = ANY(%s)"
)
_WRITE = (
    "INSERT INTO rule_states (tenant, rule, customer, assigned, first_at, next_change)"
    " SELECT %s, * FROM unnest(%s::text[], %s::uuid[], %s::boolean[], %s::timestamptz[], %s::timestamptz[])"
    " ON CONFLICT (tenant, rule, customer) DO UPDATE SET"
    " assigned = excluded.assigned, first_at = excluded.first_at, next_change = excluded.next_change"
)
_DELETE = "DELETE FROM rule_states WHERE tenant = %s AND rule = %s AND customer = ANY(%s)"
_EVER = "SELECT count(*) FROM rule_states WHERE tenant = %s AND rule = %s AND first_at IS NOT NULL"


def load(rows: sa.Connection, tenant: str, rule: str, customers: Collection[UUID]) -> dict[UUID, RuleState]:
    if not customers:
        return {}
    return {row[0]: RuleState(*row[1:]) for row in sql.fetch(rows, _LOAD, tenant, rule, list(customers))}


def keep(rows: sa.Connection, tenant: str, rule: str, states: Mapping[UUID, RuleState]) -> None:
    """Write states; `NO_STATE` is not kept."""
    sql.run_all(rows, _WRITE, tenant, [(rule, it, *state) for it, state in states.items() if state != NO_STATE])
    if gone := [it for it, state in states.items() if state == NO_STATE]:
        sql.run(rows, _DELETE, tenant, rule, gone)


def ever(rows: sa.Connection, tenant: str, rule: str) -> int:
    """How many customers ever had the tag of a rule."""
    (count,) = sql.fetch(rows, _EVER, tenant, rule)[0]
    return int(count)
