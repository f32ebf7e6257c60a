"""Layers as a profile shows them: which models are active, and where each customer was told to have moved.

Tagging follows merges itself: who is part of another is in no layer, and the other is where both belong.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.tagging.v1 import events_pb2 as pb
from scrm.tagging.v1 import layer_pb2
from services.identity.read_models.profile.told import execute, instant, tables, uuid

models: Final = sa.Table(
    "told_models",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
)
layers: Final = sa.Table(
    "told_layers",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("layer", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
)

_DEFINE: Final = (
    "INSERT INTO told_models (tenant, model, kind, active) SELECT *, false FROM unnest(%s::text[], %s::text[], %s::text[])"
    " ON CONFLICT (tenant, model) DO UPDATE SET kind = excluded.kind"
)
_ACTIVATE: Final = (
    "UPDATE told_models m SET active = true FROM unnest(%s::text[], %s::text[]) AS it(tenant, model)"
    " WHERE (m.tenant, m.model) = (it.tenant, it.model)"
)
_PUT: Final = (
    "INSERT INTO told_layers (tenant, customer, model, layer, version, since)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::int[], %s::timestamptz[])"
    " ON CONFLICT (tenant, customer, model)"
    " DO UPDATE SET layer = excluded.layer, version = excluded.version, since = excluded.since"
)


class Layers:
    """What a batch says of models, and where it leaves the customers it speaks of."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], str] = {}
        self._activated: set[tuple[str, str]] = set()
        self._found: dict[tuple[str, UUID, str], tuple[str, int, datetime]] = {}

    def take(self, tenant: str, message: Any) -> None:
        match message:
            case pb.LayerChanged():
                key = tenant, uuid(message.customer_id), message.model_id
                self._found[key] = message.to_layer, message.model_version, instant(message.time)
            case pb.ModelDefined():
                kind = layer_pb2.ModelKind.Name(message.kind).removeprefix("MODEL_KIND_")
                self._kinds[tenant, message.model_id] = kind
            case pb.ModelActivated():
                self._activated.add((tenant, message.model_id))

    def write(self, rows: sa.Connection) -> None:
        execute(rows, _DEFINE, [(*key, kind) for key, kind in self._kinds.items()])
        execute(rows, _ACTIVATE, sorted(self._activated))
        execute(rows, _PUT, [(*key, *it) for key, it in self._found.items()])


def layers_of(rows: sa.Connection, customer: UUID, nodes: Sequence[UUID]) -> Sequence[Any]:
    """The active models by their keys, each with where it puts the customer of these nodes: what was told of the customer, or
    until tagging has followed a merge, of another node that is in a layer."""
    return rows.execute(_LAYERS, {"customer": customer, "nodes": list(nodes)}).all()


_LAYERS: Final = sa.text("""
SELECT m.model, m.kind, found.layer, found.version, found.since
FROM told_models m LEFT JOIN LATERAL (
  SELECT l.layer, l.version, l.since FROM told_layers l
  WHERE l.tenant = m.tenant AND l.customer = ANY(CAST(:nodes AS uuid[])) AND l.model = m.model
    AND (l.customer = :customer OR l.layer <> 'NONE')
  ORDER BY l.customer = :customer DESC, l.since DESC, l.customer LIMIT 1
) AS found ON true
WHERE m.tenant = current_setting('scrm.tenant') AND m.active ORDER BY m.model
""")
