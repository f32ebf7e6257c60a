"""The words a tenant may use in conditions: dimensions, and what is known of tags (spec TG-4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.tagging.domain.conditions.dimensions import BUILT_IN, Dimension, Source, ValueType

_OF_ATTRIBUTES: Final[Mapping[str, ValueType]] = {
    "NUMBER": ValueType.NUMBER,
    "BOOL": ValueType.TRUTH,
    "DATE": ValueType.DATE,
    "INSTANT": ValueType.INSTANT,
    "LIST": ValueType.LIST,
}


@dataclass(frozen=True, slots=True)
class TagWord:
    """A tag that is defined; `values` are all it may have, None if it may have any."""

    archived: bool = False
    values: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The attributes a tenant defined beside the built-in dimensions, and its tags; a tag that nobody defined may be any."""

    attributes: Mapping[str, Dimension] = field(default_factory=dict)
    tags: Mapping[str, TagWord] = field(default_factory=dict)

    def dimension(self, key: str) -> Dimension | None:
        return BUILT_IN.get(key) or self.attributes.get(key)

    def dimensions(self) -> list[Dimension]:
        """All of them, by key."""
        return sorted({**self.attributes, **BUILT_IN}.values(), key=lambda it: it.key)


def attribute(key: str, kind: str) -> Dimension:
    """The dimension of an attribute that identity keeps under this type."""
    return Dimension(key, _OF_ATTRIBUTES.get(kind, ValueType.TEXT), Source.ATTRIBUTE)
