"""Sources: how far the read model has got in what each service told it, so that a profile can say up to when it is complete."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from services.identity.read_models.profile.told import execute, tables

sources: Final = sa.Table(
    "told_sources",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
)

_PUT: Final = (
    "INSERT INTO told_sources AS s (tenant, stream, told_at) SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[])"
    " ON CONFLICT (tenant, stream) DO UPDATE SET told_at = greatest(s.told_at, excluded.told_at)"
)


class Sources:
    """The last message of each stream in a batch."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], datetime] = {}

    def take(self, tenant: str, stream: str, told_at: datetime) -> None:
        key = tenant, stream
        known = self._found.get(key)
        if known is None or told_at > known:
            self._found[key] = told_at

    def write(self, rows: sa.Connection) -> None:
        execute(rows, _PUT, [(*key, at) for key, at in self._found.items()])


def told_until(rows: sa.Connection) -> Mapping[str, datetime]:
    """When the last message that was taken in was told, by stream."""
    found = rows.execute(sa.select(sources.c.stream, sources.c.told_at))
    return {it.stream: it.told_at for it in found}
