"""What people did, as far as conditions and models read it: one row per behaviour, under its node."""

from collections.abc import Sequence

import sqlalchemy as sa

from services.tagging.application.facts import Done
from services.tagging.read_models import sql

_KEEP = (
    "INSERT INTO behaviours (tenant, node, occurred_at, key, type, category, channel, utc_offset, content, page_view,"
    " properties) SELECT %s, * FROM unnest(%s::uuid[], %s::timestamptz[], %s::bigint[], %s::text[], %s::text[],"
    " %s::text[], %s::smallint[], %s::text[], %s::text[], %s::jsonb[]) ON CONFLICT DO NOTHING"
)


def absorb(rows: sa.Connection, tenant: str, done: Sequence[Done]) -> None:
    """Keep behaviours; one that is there already changes nothing."""
    sql.run_all(rows, _KEEP, tenant, done)
