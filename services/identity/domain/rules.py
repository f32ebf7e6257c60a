"""The rules by which one brand reads identifiers and decides by them: its namespaces, what it blocks, how long visitors stay.

A value object that travels with each decision. Whoever has nothing of their own goes by `PRESET`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from uuid import UUID

from chassis.aggregate import natural_id
from services.identity.domain.namespaces import NAMESPACES, Namespaces
from services.identity.domain.patterns import Pattern

ANONYMOUS_LIFETIME: Final = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """`blocked` are the keys of single identifiers, `patterns` stand for many at once, by namespace.

    An anonymous customer whom nobody has seen for `anonymous_lifetime` expires; it is so long since `lifetime_since` (None: ever).
    """

    namespaces: Namespaces = field(default_factory=lambda: NAMESPACES)
    blocked: frozenset[tuple[str, str, bytes]] = frozenset()
    patterns: Mapping[str, tuple[Pattern, ...]] = field(default_factory=lambda: MappingProxyType({}))
    anonymous_lifetime: timedelta = ANONYMOUS_LIFETIME
    lifetime_since: datetime | None = None

    def blocks(self, namespace: str, text: str) -> bool:
        """Whether a pattern of the namespace fits `text`."""
        return any(it.fits(text) for it in self.patterns.get(namespace, ()))


@lru_cache(maxsize=10_000)
def settings_id(tenant: str) -> UUID:
    """Where the rules of a brand come from: the id of its settings, which exist only if it changed something."""
    return natural_id(tenant, "namespace settings")


PRESET: Final = IdentityRules()
