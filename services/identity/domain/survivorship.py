"""Survivorship: the one value of an attribute out of all that is known of it at all nodes of a customer.

Nothing of it is kept: a merge brings more nodes to look at, its undoing fewer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from services.identity.domain.attribute_forms import united
from services.identity.domain.attributes import RANKS, AttributeDefinition, AttributeSource, MergePolicy


class Sourced(Protocol):
    """Anything that a source said of a node at some time."""

    @property
    def node(self) -> UUID: ...
    @property
    def source(self) -> AttributeSource: ...
    @property
    def observed_at(self) -> datetime: ...


S = TypeVar("S", bound=Sourced)


@dataclass(frozen=True, slots=True)
class Said:
    """What a source said of a node: the text of one value."""

    key: str
    node: UUID
    source: AttributeSource
    observed_at: datetime
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The value that counts, and what it was made of: the best first, and that alone but for lists."""

    definition: AttributeDefinition
    text: str = field(repr=False)
    of: tuple[Said, ...]


def ranked(policy: MergePolicy, said: Iterable[S]) -> list[S]:
    """Best first: by the rank of the source, then the newest, then the smallest node id; by NEWEST time counts before rank."""
    by_node = sorted(said, key=lambda it: it.node)
    by_rank = (lambda it: RANKS[it.source]), (lambda it: it.observed_at)
    first, second = reversed(by_rank) if policy is MergePolicy.NEWEST else by_rank
    return sorted(sorted(by_node, key=second, reverse=True), key=first, reverse=True)


def resolve(definition: AttributeDefinition, said: Iterable[Said]) -> Resolved | None:
    """The value of one attribute; None where nothing was said."""
    best = ranked(definition.merge_policy, said)
    if not best:
        return None
    if definition.merge_policy is MergePolicy.UNION:
        return Resolved(definition, united([it.text for it in best]), tuple(best))
    return Resolved(definition, best[0].text, (best[0],))


def resolve_all(definitions: Mapping[str, AttributeDefinition], said: Sequence[Said]) -> list[Resolved]:
    """Every attribute of which anything was said, by key."""
    by_key: dict[str, list[Said]] = {}
    for it in said:
        by_key.setdefault(it.key, []).append(it)
    found = (resolve(definitions[key], by_key[key]) for key in sorted(by_key) if key in definitions)
    return [it for it in found if it is not None]
