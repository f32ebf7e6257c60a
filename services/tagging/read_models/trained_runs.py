"""What was learnt of customers: which versions of look-alikes and clusterings there are, and which runs have their members."""

from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.analysis_ports import TrainedKind
from services.tagging.read_models import bitmaps, sql

_KEEP: Final = "INSERT INTO trained_runs (tenant, kind, key, version, run) VALUES (%s, %s, %s, %s, %s)"
_LIST: Final = (
    "SELECT key, version FROM trained_runs WHERE tenant = %s AND kind = %s AND (key, version) > (%s, %s)"
    " ORDER BY key, version LIMIT %s"
)
_SETS: Final = (
    "SELECT l.run, l.layer, l.members FROM trained_runs t"
    " JOIN run_layers l ON l.tenant = t.tenant AND l.run = t.run WHERE t.tenant = %s"
)
_WITHOUT: Final = (
    "UPDATE run_layers l SET members = v.members FROM (SELECT %s::text AS tenant, *"
    " FROM unnest(%s::uuid[], %s::text[], %s::bytea[]) AS v(run, layer, members)) v"
    " WHERE (l.tenant, l.run, l.layer) = (v.tenant, v.run, v.layer)"
)


def keep(rows: sa.Connection, tenant: str, kind: TrainedKind, key: str, version: int, run: UUID) -> None:
    sql.run(rows, _KEEP, tenant, kind, key, version, run)


def after(
    rows: sa.Connection, tenant: str, kind: TrainedKind, last: tuple[str, int], limit: int
) -> list[tuple[str, int]]:
    """Up to `limit` keys with versions behind `last`, in order."""
    return [(key, version) for key, version in sql.fetch(rows, _LIST, tenant, kind, *last, limit)]


def forget(rows: sa.Connection, tenant: str, ordinals: BitMap) -> list[BitMap]:
    """Take customers out of seeds, look-alikes and clusters; of each of these sets, those who were in it."""
    if not ordinals:
        return []
    found = ((run, name, bitmaps.unpack(packed)) for run, name, packed in sql.fetch(rows, _SETS, tenant))
    having = [(run, name, who) for run, name, who in found if not who.isdisjoint(ordinals)]
    sql.run_all(rows, _WITHOUT, tenant, [(run, name, bitmaps.pack(who - ordinals)) for run, name, who in having])
    return [who & ordinals for _, _, who in having]
