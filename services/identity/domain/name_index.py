"""Under which words a person can be found by name, kept as keyed hashes so that nobody can read names off them.

A name is found by each of its words, by all of them together, and by how they sound (pinyin without tones for Chinese, without accents
for the rest).
"""

import hmac
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.traits import spelled, syllables

NAME_KEYS: Final = frozenset({"name", "nickname"})
"""The attributes by which a person can be found."""

HASH_BYTES: Final = 16


def words_of(name: str) -> list[str]:
    """The words as they are looked for: lower case, one form of each character."""
    return spelled(name).split()


def searchable(name: str) -> frozenset[str]:
    """Everything under which `name` is found."""
    words, sounds = words_of(name), syllables(name)
    return frozenset(it for it in (*words, "".join(words), *sounds, "".join(sounds)) if it)


class NameHashes:
    """Hashes words under a key of the tenant, derived from `secret` as those of identifiers are."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, tenant: str, words: Iterable[str]) -> tuple[bytes, ...]:
        """The hash of each different word, sorted."""
        key = hmac.digest(self._secret, b"scrm identity name key\0" + tenant.encode(), "sha256")
        return tuple(sorted({hmac.digest(key, it.encode(), "sha256")[:HASH_BYTES] for it in words}))


class NameIndex(Aggregate):
    """Under which words one node can be found."""

    TOPIC = "identity.NameIndex"

    class Opened(InitialEvent):
        """The first name of the node was heard of."""

        TOPIC = "identity.NameIndexOpened"
        tenant: str
        node: UUID

    class Indexed(Event):
        """The node is found under these words from now on, and under no others."""

        TOPIC = "identity.NameIndexed"
        node: UUID
        hashes: tuple[bytes, ...]
        indexed_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, node: UUID) -> None:
        self.tenant = tenant
        self.node = node
        self.hashes: tuple[bytes, ...] = ()

    @classmethod
    def of_node(cls, tenant: str, node: UUID) -> "NameIndex":
        return cls(name_index_id(tenant, node), tenant, node)

    def index(self, hashes: tuple[bytes, ...], at: datetime) -> None:
        """Be found under exactly these words."""
        if hashes != self.hashes:
            self._indexed(node=self.node, hashes=hashes, indexed_at=at)

    @event(Indexed)
    def _indexed(self, node: UUID, hashes: tuple[bytes, ...], indexed_at: datetime) -> None:
        self.hashes = hashes


def name_index_id(tenant: str, node: UUID) -> UUID:
    """The index of one node."""
    return natural_id(tenant, "name index", node)
