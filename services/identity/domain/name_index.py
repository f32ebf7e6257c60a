"""Under which words a person can be found by name, kept as keyed hashes so that nobody can read names off them.

A name is found by each of its words, by all of them together, and by how they sound (pinyin without tones for Chinese, without accents
for the rest).
"""

import hmac
import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from pypinyin import Style, lazy_pinyin

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id

NAME_KEYS: Final = frozenset({"name", "nickname"})
"""The attributes by which a person can be found."""

HASH_BYTES: Final = 16
_APART: Final = re.compile(r"[\W_]+")


def words_of(name: str) -> list[str]:
    """The words as they are looked for: lower case, one form of each character."""
    return [it for it in _APART.split(unicodedata.normalize("NFKC", name).casefold()) if it]


def searchable(name: str) -> frozenset[str]:
    """Everything under which `name` is found."""
    words = words_of(name)
    sounds = [_plain(it) for it in lazy_pinyin(" ".join(words), style=Style.NORMAL, v_to_u=False)]
    syllables = " ".join(sounds).split()
    return frozenset(it for it in (*words, "".join(words), *syllables, "".join(syllables)) if it)


def _plain(text: str) -> str:
    return "".join(it for it in unicodedata.normalize("NFKD", text) if not unicodedata.combining(it))


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
