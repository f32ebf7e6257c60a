"""The vault: what is personal, readable only with a data key per node, which erasing destroys.

A data key is made when the first value of its node is sealed, in the transaction that records that value, and kept wrapped by a key
of the tenant. The keys of tenants come from a `KeyProvider`.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, LiteralString, Protocol, TypeAlias
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.commands import UnitOfWork
from chassis.errors import VersionConflict
from services.identity.domain.errors import CustomerErased
from services.identity.domain.sealing import KEY_BYTES, DataKey, Place, Sealed, SealedValue

INSERT_KEYS: Final[LiteralString] = (
    "INSERT INTO data_keys (tenant, node, wrapped_by, wrapped, made_at)"
    " SELECT * FROM unnest(%b::text[], %b::uuid[], %b::text[], %b::bytea[], %b::timestamptz[])"
)
CACHED_KEYS: Final = 10_000
_NONCE_BYTES: Final = 12


class KeyProvider(Protocol):
    """Where the keys of tenants come from: a file, or a key management service that hands out unwrapped tenant keys.

    It is asked for every data key, so it must answer from memory.
    """

    def newest(self, tenant: str) -> str:
        """The name of the key that new data keys are wrapped with."""
        ...

    def key(self, tenant: str, name: str) -> bytes:
        """The key of that name, 32 bytes. Raises KeyError when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it is stored; `wrapped` is None once it is destroyed."""

    wrapped_by: str
    wrapped: bytes | None = field(repr=False)


class KeyTable(Protocol):
    """The data keys of the tenant of a unit of work."""

    def read(self, nodes: Collection[UUID]) -> Mapping[UUID, WrappedKey]:
        """Those of `nodes` that have one, or had."""
        ...

    def destroy(self, nodes: Collection[UUID], at: datetime) -> None:
        """Nothing that was sealed for these nodes can be read again, nor anything be sealed."""
        ...


KeyTables: TypeAlias = Callable[[UnitOfWork], KeyTable]
Seal: TypeAlias = Callable[[UnitOfWork, UUID, str, str], Sealed]
"""Either way of sealing a value: of which node, as which field, what."""


class KeyWrap:
    """Wraps and unwraps data keys: AES-256-GCM under the key of the tenant, bound to the node."""

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider
        self._ciphers: dict[tuple[str, str], AESGCM] = {}

    def wrap(self, tenant: str, node: UUID, key: bytes) -> WrappedKey:
        """`key` under the newest key of the tenant."""
        name = self._provider.newest(tenant)
        nonce = os.urandom(_NONCE_BYTES)
        return WrappedKey(name, nonce + self._cipher(tenant, name).encrypt(nonce, key, node.bytes))

    def unwrap(self, tenant: str, node: UUID, stored: WrappedKey) -> bytes | None:
        """The data key; None if it is destroyed. Raises KeyError when the provider no longer has the tenant's key."""
        if stored.wrapped is None:
            return None
        nonce, ciphertext = stored.wrapped[:_NONCE_BYTES], stored.wrapped[_NONCE_BYTES:]
        return self._cipher(tenant, stored.wrapped_by).decrypt(nonce, ciphertext, node.bytes)

    def is_newest(self, tenant: str, stored: WrappedKey) -> bool:
        return stored.wrapped_by == self._provider.newest(tenant)

    def _cipher(self, tenant: str, name: str) -> AESGCM:
        cipher = self._ciphers.get((tenant, name))
        if cipher is None:
            cipher = self._ciphers[tenant, name] = AESGCM(self._provider.key(tenant, name))
        return cipher


class Vault:
    """Seals values within a unit of work; `tables` gives the keys that are stored."""

    def __init__(self, wrap: KeyWrap, tables: KeyTables) -> None:
        self._wrap = wrap
        self._tables = tables
        self._known: OrderedDict[tuple[str, UUID], DataKey] = OrderedDict()

    def seal(self, work: UnitOfWork, node: UUID, field: str, text: str) -> Sealed:
        """`text` as it may be stored, readable until the node is erased. Raises CustomerErased."""
        return self._key(work, node).seal(text, Place(work.context.tenant, node, field))

    def seal_new(self, work: UnitOfWork, node: UUID, field: str, text: str) -> Sealed:
        """`seal` for a node that was made in this unit of work and has no stored key, which saves looking for it."""
        key = self._at_hand(work, node) or self._make(work, node)
        return key.seal(text, Place(work.context.tenant, node, field))

    def matches(self, work: UnitOfWork, place: tuple[UUID, str], sealed: Sealed, text: str) -> bool:
        """Whether `sealed` is `text`, for the node and field of `place`. Raises CustomerErased, and SealBroken."""
        node, field = place
        return self._key(work, node).open(sealed, Place(work.context.tenant, node, field)) == text

    def reseal(self, work: UnitOfWork, field: str, sealed: Sealed, nodes: tuple[UUID, UUID]) -> Sealed:
        """A value of the first of `nodes` as one of the second. Raises CustomerErased, and SealBroken."""
        tenant, (old, new) = work.context.tenant, nodes
        return self.seal(work, new, field, self._key(work, old).open(sealed, Place(tenant, old, field)))

    def open(self, work: UnitOfWork, value: SealedValue) -> str:
        """What was sealed. Raises CustomerErased, and SealBroken."""
        return self._key(work, value.node).open(value.sealed, Place(work.context.tenant, value.node, value.field))

    def prepare(self, work: UnitOfWork, nodes: Collection[UUID]) -> None:
        """Bring the keys of `nodes` to hand, in one query; whoever needs a destroyed one learns of it then."""
        missing = [it for it in nodes if self._at_hand(work, it) is None]
        if missing:
            found = self._tables(work).read(missing)
            self._take(work, {node: it for node, it in found.items() if it.wrapped is not None})

    def destroy(self, work: UnitOfWork, nodes: Collection[UUID]) -> None:
        """Nothing that was sealed for these nodes can be read again, nor anything be sealed.

        Raises VersionConflict where another command of the same commit is making a key: it is there to be destroyed afterwards.
        """
        if any(work.inserted(INSERT_KEYS, (work.context.tenant, node)) for node in nodes):
            raise VersionConflict
        self._tables(work).destroy(nodes, work.now)
        for node in nodes:
            self._known.pop((work.context.tenant, node), None)

    def _key(self, work: UnitOfWork, node: UUID) -> DataKey:
        key = self._at_hand(work, node)
        if key is None:
            self._take(work, self._tables(work).read([node]))
            key = self._at_hand(work, node) or self._make(work, node)
        return key

    def _at_hand(self, work: UnitOfWork, node: UUID) -> DataKey | None:
        tenant = work.context.tenant
        known = self._known.get((tenant, node))
        if known is not None:
            self._known.move_to_end((tenant, node))
            return known
        row = work.inserted(INSERT_KEYS, (tenant, node))
        if row is None:
            return None
        return self._opened(tenant, node, WrappedKey(row[2], row[3]))

    def _take(self, work: UnitOfWork, found: Mapping[UUID, WrappedKey]) -> None:
        """Remember keys that are stored; those of this batch may still come to nothing and are not remembered."""
        for node, stored in found.items():
            self._known[work.context.tenant, node] = self._opened(work.context.tenant, node, stored)
        while len(self._known) > CACHED_KEYS:
            self._known.popitem(last=False)

    def _opened(self, tenant: str, node: UUID, stored: WrappedKey) -> DataKey:
        key = self._wrap.unwrap(tenant, node, stored)
        if key is None:
            raise CustomerErased
        return DataKey(key)

    def _make(self, work: UnitOfWork, node: UUID) -> DataKey:
        key, tenant = os.urandom(KEY_BYTES), work.context.tenant
        stored = self._wrap.wrap(tenant, node, key)
        row: tuple[Any, ...] = (tenant, node, stored.wrapped_by, stored.wrapped, work.now)
        work.insert(INSERT_KEYS, (tenant, node), row)
        return DataKey(key)
