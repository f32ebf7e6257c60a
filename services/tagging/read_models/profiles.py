"""What was said of nodes beside what they did (spec TG-3, TG-4): attributes, consents, guides, groups, channels. The last word counts."""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa

from services.tagging.application.facts import Said
from services.tagging.read_models import sql

_DEFINE = (
    "INSERT INTO attribute_definitions (tenant, key, type, policy)"
    " SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[])"
    " ON CONFLICT (tenant, key) DO UPDATE SET type = excluded.type, policy = excluded.policy"
)
_VALUES = (
    "INSERT INTO attribute_values (tenant, node, key, source, rank, value, cleared, observed_at)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::text[], %s::smallint[], %s::smallint[], %s::text[], %s::boolean[],"
    " %s::timestamptz[]) ON CONFLICT (tenant, node, key, source) DO UPDATE SET rank = excluded.rank,"
    " value = excluded.value, cleared = excluded.cleared, observed_at = excluded.observed_at"
    " WHERE excluded.observed_at >= attribute_values.observed_at"
)
_CONSENTS = (
    "INSERT INTO consents (tenant, node, purpose, channel, state, made_at, beside)"
    " SELECT v.tenant, v.node, v.purpose, v.channel, v.state, v.made_at, v.beside::uuid[] FROM"
    " (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::timestamptz[],"
    " %s::text[]) AS v(node, purpose, channel, state, made_at, beside)) v"
    " ON CONFLICT (tenant, node, purpose, channel)"
    " DO UPDATE SET state = excluded.state, made_at = excluded.made_at, beside = excluded.beside"
    " WHERE (excluded.made_at, array_position(ARRAY['GRANTED', 'DENIED', 'WITHDRAWN'], excluded.state))"
    " >= (consents.made_at, array_position(ARRAY['GRANTED', 'DENIED', 'WITHDRAWN'], consents.state))"
)
_GUIDES = (
    "INSERT INTO guide_words (tenant, node, said_at, kind, staff, store, beside)"
    " SELECT v.tenant, v.node, v.said_at, v.kind, v.staff, v.store, v.beside::uuid[] FROM"
    " (SELECT %s::text AS tenant, * FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::uuid[], %s::uuid[],"
    " %s::text[]) AS v(node, said_at, kind, staff, store, beside)) v ON CONFLICT (tenant, node, said_at, kind)"
    " DO UPDATE SET staff = excluded.staff, store = excluded.store, beside = excluded.beside"
)
_FOLLOW_UPS = (
    "INSERT INTO follow_ups (tenant, node, staff, followed_at)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[]) ON CONFLICT (tenant, node, staff)"
    " DO UPDATE SET followed_at = greatest(follow_ups.followed_at, excluded.followed_at)"
)
_GROUPS = (
    "INSERT INTO group_members (tenant, node, group_id, joined, changed_at)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::text[], %s::boolean[], %s::timestamptz[])"
    " ON CONFLICT (tenant, node, group_id) DO UPDATE SET joined = excluded.joined, changed_at = excluded.changed_at"
    " WHERE excluded.changed_at >= group_members.changed_at"
)
_CHANNELS = (
    "INSERT INTO reachability (tenant, node, channel, reachable, since)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::text[], %s::boolean[], %s::timestamptz[])"
    " ON CONFLICT (tenant, node, channel) DO UPDATE SET reachable = excluded.reachable, since = excluded.since"
    " WHERE (excluded.since, excluded.reachable) > (reachability.since, reachability.reachable)"
)


def absorb(rows: sa.Connection, tenant: str, said: Said) -> None:
    """Keep what is said, unless something later is known."""
    sql.run_all(rows, _DEFINE, tenant, list(said.definitions.values()))
    sql.run_all(rows, _VALUES, tenant, list(said.attributes.values()))
    consents = [(*it[:-1], _array(it.beside)) for it in said.consents.values()]
    sql.run_all(rows, _CONSENTS, tenant, consents)
    sql.run_all(rows, _GUIDES, tenant, [(*it[:-1], _array(it.beside)) for it in said.guides.values()])
    sql.run_all(rows, _FOLLOW_UPS, tenant, list(said.follow_ups.values()))
    sql.run_all(rows, _GROUPS, tenant, list(said.groups.values()))
    sql.run_all(rows, _CHANNELS, tenant, list(said.channels.values()))


def _array(ids: Sequence[UUID]) -> str:
    """An array of ids as PostgreSQL writes it; arrays in arrays would all have to be of one length."""
    return "{" + ",".join(map(str, ids)) + "}"
