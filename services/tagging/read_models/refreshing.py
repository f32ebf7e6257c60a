"""Who is in a set wrongly, or missing from it, by statements on everybody: what finding sets anew has to look at."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.read_models import segments, sql

_DUE = (
    "SELECT d.segment, n.ordinal FROM segment_dues d JOIN nodes n ON n.tenant = d.tenant AND n.node = d.customer"
    " WHERE d.tenant = %s AND d.due_at <= %s AND d.segment = ANY(%s)"
)


def suspects(rows: sa.Connection, tenant: str, ids: Iterable[UUID], at: datetime) -> dict[UUID, BitMap]:
    """By segment, whom its definition and its set do not agree about at an instant; of one that is out of use nobody."""
    sets = segments.Sets(rows, tenant, at=at)
    found = {id: BitMap() for id in ids}
    for id, it in segments.get(rows, tenant, found.keys()).items():
        if not it.archived:
            found[id] = sets.of(it.definition, it.universe) ^ sets.kept(id)
    return found


def not_due(rows: sa.Connection, tenant: str, found: Mapping[UUID, BitMap], now: datetime) -> dict[UUID, BitMap]:
    """Without those whose time has come and who were not looked at yet: that they are not where they belong is no mistake."""
    due: dict[UUID, BitMap] = {}
    for segment, ordinal in sql.fetch(rows, _DUE, tenant, now, [id for id, who in found.items() if who]):
        due.setdefault(segment, BitMap()).add(ordinal)
    return {id: who - due.get(id, BitMap()) for id, who in found.items()}
