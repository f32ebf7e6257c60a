"""Attributes as they are read: opened, resolved, and masked for those who may not see what is personal."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa

from services.identity.adapters.unsealing import Unsealer
from services.identity.application.attribute_upsert import sealed_as
from services.identity.domain.attribute_forms import Value, read
from services.identity.domain.attribute_values import AttributeValues
from services.identity.domain.masking import masked
from services.identity.domain.sealing import SealedValue
from services.identity.domain.survivorship import Resolved, Said, resolve_all
from services.identity.read_models.attribute_values import ValueRow, definitions_in, values_of


@dataclass(frozen=True, slots=True)
class Shown:
    """An attribute as a caller gets it; `value` is None where nothing of it may be shown."""

    resolved: Resolved
    value: Value | None = field(repr=False)
    is_masked: bool


def resolved_attributes(rows: sa.Connection, unsealer: Unsealer, nodes: Collection[UUID]) -> list[Resolved]:
    """What counts for the customer of these nodes, out of the read model."""
    return resolve_all(definitions_in(rows), opened(rows, unsealer, values_of(rows, nodes)))


def opened(rows: sa.Connection, unsealer: Unsealer, values: Sequence[ValueRow]) -> list[Said]:
    """The values as text, without those whose keys were destroyed; one query for all keys."""
    sealed = [it for it in values if it.sealed is not None and it.sealed_for is not None]
    asked = [SealedValue(it.sealed_for, sealed_as(it.key), it.sealed) for it in sealed if it.sealed_for and it.sealed]
    texts = dict(zip(map(id, sealed), unsealer.open(rows, asked), strict=True))
    said = ((it, texts.get(id(it), it.text)) for it in values)
    return [Said(it.key, it.node, it.source, it.observed_at, text) for it, text in said if text is not None]


def rows_of(values: AttributeValues) -> Iterator[ValueRow]:
    """What an aggregate knows, as the read model has it."""
    for (key, source), it in values.values.items():
        if not it.held.is_cleared:
            yield ValueRow(values.node, key, source, it.held.text, it.held.sealed, it.held.sealed_for, it.observed_at)


def shown(resolved: Resolved, unmasked: bool) -> Shown:
    """What a caller who may see personal data, or may not, gets of a value."""
    definition = resolved.definition
    value = read(definition.type, resolved.text)
    if unmasked or not definition.pii:
        return Shown(resolved, value, is_masked=False)
    return Shown(resolved, masked(definition.type, value), is_masked=True)
