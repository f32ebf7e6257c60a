"""AttributeValues: every value of every source by node, sealed where it is personal; which nodes are children; own definitions.

Rows are keyed by node, so that merges and their undoing change none. What counts for a customer is resolved when it is read, out
of the rows of all nodes of the customer.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.attribute_catalogue import AttributeCatalogue
from services.identity.domain.attribute_values import AttributeValues
from services.identity.domain.attributes import (
    PRESET,
    AttributeDefinition,
    AttributeSource,
    AttributeType,
    MergePolicy,
)
from services.identity.domain.customer import Customer
from services.identity.domain.survivorship import ranked
from services.identity.read_models.concerned import concerning

Row = tuple[Any, ...]
Key = tuple[str, UUID, str, AttributeSource]

TRAITS: Final = ("name", "birthdate", "gender", "address")
"""By what persons are compared with one another."""

tables: Final = sa.MetaData()

values: Final = sa.Table(
    "attribute_values",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("text", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("sealed_for", sa.Uuid),
    sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
)

minors: Final = sa.Table(
    "minors",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
)

definitions: Final = sa.Table(
    "attribute_definitions",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("pii", sa.Boolean, nullable=False),
    sa.Column("enum", ARRAY(sa.Text), nullable=False),
    sa.Column("merge_policy", sa.Text, nullable=False),
    sa.Column("sensitive", sa.Boolean, nullable=False),
)


_EVENTS: Final = frozenset(
    {
        AttributeValues.Changed,
        AttributeValues.Confirmed,
        AttributeValues.Purged,
        AttributeValues.MinorityChanged,
        AttributeCatalogue.AttributeDefined,
        Customer.Erased,
    }
)


class AttributeValuesProjection:
    """Keeps the three tables."""

    name = "attribute_values"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        changes = _Changes()
        for it in items:
            changes.take(it)
        changes.write(rows)


@dataclass(frozen=True, slots=True)
class ValueRow:
    """What a source says of an attribute of a node: `text`, or `sealed` under the data key of `sealed_for`."""

    node: UUID
    key: str
    source: AttributeSource
    text: str | None
    sealed: bytes | None
    sealed_for: UUID | None
    observed_at: datetime


def values_of(rows: sa.Connection, nodes: Collection[UUID], keys: Collection[str] | None = None) -> list[ValueRow]:
    """All that is known of these nodes, or of these attributes of them."""
    query = sa.select(*(values.c[it] for it in ValueRow.__slots__)).where(
        values.c.node.in_(nodes), sa.or_(values.c.text.is_not(None), values.c.sealed.is_not(None))
    )
    if keys is not None:
        query = query.where(values.c.key.in_(keys))
    return [
        ValueRow(**{**it, "source": AttributeSource(it["source"])})
        for it in rows.execute(query.order_by(values.c.node, values.c.key, values.c.source)).mappings()
    ]


def traits_of(rows: sa.Connection, nodes: Collection[UUID]) -> dict[UUID, dict[str, ValueRow]]:
    """By node the best value of each of TRAITS that is known."""
    found: dict[UUID, dict[str, list[ValueRow]]] = {}
    for it in values_of(rows, nodes, TRAITS):
        found.setdefault(it.node, {}).setdefault(it.key, []).append(it)
    return {
        node: {key: ranked(PRESET[key].merge_policy, said)[0] for key, said in by_key.items()}
        for node, by_key in found.items()
    }


def minors_among(rows: sa.Connection, nodes: Collection[UUID]) -> set[UUID]:
    """Those of `nodes` whose person is under 14; a customer is who has one of them."""
    return set(rows.scalars(sa.select(minors.c.node).where(minors.c.node.in_(nodes))))


def definitions_in(rows: sa.Connection) -> Mapping[str, AttributeDefinition]:
    """All attributes of the tenant, by key."""
    own = {
        it.key: AttributeDefinition(
            it.key, AttributeType(it.type), it.pii, tuple(it.enum), MergePolicy(it.merge_policy), it.sensitive
        )
        for it in rows.execute(sa.select(definitions))
    }
    return {**PRESET, **own}


@dataclass(slots=True)
class _Changes:
    """What a stretch of the log changes, gathered to be written in one statement per table and kind."""

    purged: set[tuple[str, UUID, AttributeSource]] = field(default_factory=set)
    changed: dict[Key, Row] = field(default_factory=dict)
    confirmed: dict[Key, datetime] = field(default_factory=dict)
    minor: dict[tuple[str, UUID], bool] = field(default_factory=dict)
    defined: dict[tuple[str, str], AttributeDefinition] = field(default_factory=dict)
    erased: list[Row] = field(default_factory=list)

    def take(self, recorded: Recorded) -> None:
        tenant = recorded.tenant
        match recorded.event:
            case AttributeValues.Changed(node=node, changed=changed):
                for it in changed:
                    self.confirmed.pop((tenant, node, it.key, it.source), None)
                    held = (it.new.text, it.new.sealed, it.new.sealed_for, it.observed_at)
                    self.changed[tenant, node, it.key, it.source] = held
            case AttributeValues.Confirmed(node=node, confirmed=confirmed):
                for again in confirmed:
                    self._confirm((tenant, node, again.key, again.source), again.observed_at)
            case AttributeValues.Purged(node=node, source=source):
                self.purged.add((tenant, node, source))
                for known in (self.changed, self.confirmed):
                    for key in [it for it in known if (it[0], it[1], it[3]) == (tenant, node, source)]:
                        del known[key]
            case AttributeValues.MinorityChanged(node=node, minor=minor):
                self.minor[tenant, node] = minor
            case _:
                self._take_rest(recorded)

    def _take_rest(self, recorded: Recorded) -> None:
        """What is not said of one node."""
        match recorded.event:
            case AttributeCatalogue.AttributeDefined(definition=definition):
                self.defined[recorded.tenant, definition.key] = definition
            case Customer.Erased(node_ids=node_ids):
                self.erased += [(recorded.tenant, node) for node in node_ids]

    def _confirm(self, key: Key, at: datetime) -> None:
        if key in self.changed:
            self.changed[key] = (*self.changed[key][:-1], at)
        else:
            self.confirmed[key] = at

    def write(self, rows: sa.Connection) -> None:
        """What is purged goes first: whatever was said before it is not among the rest. Of the erased nothing is said any more."""
        _write(rows, _PURGE, list(self.purged))
        _write(rows, _CONFIRM, [(*key, at) for key, at in self.confirmed.items()])
        _write(rows, _CHANGE, [(*key, *held) for key, held in self.changed.items()])
        _write(rows, _GROW_UP, [key for key, minor in self.minor.items() if not minor])
        _write(rows, _FLAG, [key for key, minor in self.minor.items() if minor])
        if self.defined:
            rows.execute(_DEFINE, [_definition_row(tenant, it) for (tenant, _), it in self.defined.items()])
        _write(rows, _FORGET, self.erased)
        _write(rows, _GROW_UP, self.erased)


def _definition_row(tenant: str, it: AttributeDefinition) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "key": it.key,
        "type": it.type,
        "pii": it.pii,
        "enum": list(it.enum),
        "merge_policy": it.merge_policy,
        "sensitive": it.sensitive,
    }


def _write(rows: sa.Connection, statement: sa.TextClause, of: Sequence[Row]) -> None:
    if of:
        rows.execute(statement, _columns(of))


def _columns(of: Sequence[Row]) -> dict[str, list[Any]]:
    """Rows as the arrays `a`, `b`, `c`… of their columns."""
    return {chr(ord("a") + number): list(column) for number, column in enumerate(zip(*of, strict=True))}


_PLACES: Final = "CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS text[]), CAST(:d AS text[])"
_PURGE: Final = sa.text(
    "DELETE FROM attribute_values v USING unnest(CAST(:a AS text[]), CAST(:b AS uuid[]), CAST(:c AS text[]))"
    " AS gone(tenant, node, source) WHERE (v.tenant, v.node, v.source) = (gone.tenant, gone.node, gone.source)"
)
_CONFIRM: Final = sa.text(
    "UPDATE attribute_values v SET observed_at = n.at"  # noqa: S608
    f" FROM unnest({_PLACES}, CAST(:e AS timestamptz[])) AS n(tenant, node, key, source, at)"
    " WHERE (v.tenant, v.node, v.key, v.source) = (n.tenant, n.node, n.key, n.source)"
)
_CHANGE: Final = sa.text(
    "INSERT INTO attribute_values (tenant, node, key, source, text, sealed, sealed_for, observed_at)"  # noqa: S608
    f" SELECT * FROM unnest({_PLACES}, CAST(:e AS text[]), CAST(:f AS bytea[]), CAST(:g AS uuid[]), CAST(:h AS timestamptz[]))"
    " ON CONFLICT (tenant, node, key, source) DO UPDATE SET text = excluded.text, sealed = excluded.sealed,"
    " sealed_for = excluded.sealed_for, observed_at = excluded.observed_at"
)
_FORGET: Final = sa.text(
    "DELETE FROM attribute_values v USING unnest(CAST(:a AS text[]), CAST(:b AS uuid[])) AS gone(tenant, node)"
    " WHERE (v.tenant, v.node) = (gone.tenant, gone.node)"
)
_FLAG: Final = sa.text(
    "INSERT INTO minors (tenant, node) SELECT * FROM unnest(CAST(:a AS text[]), CAST(:b AS uuid[])) ON CONFLICT DO NOTHING"
)
_GROW_UP: Final = sa.text(
    "DELETE FROM minors m USING unnest(CAST(:a AS text[]), CAST(:b AS uuid[])) AS grown(tenant, node)"
    " WHERE (m.tenant, m.node) = (grown.tenant, grown.node)"
)
_DEFINE: Final = sa.text(
    "INSERT INTO attribute_definitions (tenant, key, type, pii, enum, merge_policy, sensitive)"
    " VALUES (:tenant, :key, :type, :pii, :enum, :merge_policy, :sensitive)"
    " ON CONFLICT (tenant, key) DO UPDATE SET enum = excluded.enum, merge_policy = excluded.merge_policy,"
    " sensitive = excluded.sensitive"
)
