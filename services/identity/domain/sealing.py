"""Personal values as identity keeps them: sealed under the data key of their node, and gone for good with that key.

AES-256-GCM (NIST SP 800-38D) with a random nonce. A sealed value is bound to its tenant, node and field: put in another's place it
does not open.
"""

import dataclasses
import os
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Sealed: TypeAlias = bytes
"""Version, nonce (12 bytes), ciphertext with tag (16 bytes)."""

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12


class SealBroken(Exception):
    """The value was not sealed under this key, for this place, or was changed since."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value belongs: `field` of what `node` is."""

    tenant: str
    node: UUID
    field: str

    @property
    def name(self) -> bytes:
        return "\0".join((self.tenant, self.node.hex, self.field)).encode()


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A value with what it was sealed for."""

    node: UUID
    field: str
    sealed: Sealed = dataclasses.field(repr=False)


class DataKey:
    """A key of 256 bits that seals values."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, text: str, place: Place) -> Sealed:
        """The value as it may be stored."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, text.encode(), place.name)

    def open(self, sealed: Sealed, place: Place) -> str:
        """The value. Raises SealBroken."""
        version, nonce, ciphertext = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if version != _VERSION:
            raise SealBroken("a seal of an unknown version")
        try:
            return self._cipher.decrypt(nonce, ciphertext, place.name).decode()
        except InvalidTag:
            raise SealBroken("the seal does not fit") from None
