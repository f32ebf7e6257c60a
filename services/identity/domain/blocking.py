"""Which customers are worth comparing: those who have a key in common.

All pairs of a million customers are half a million million. A key is a keyed hash, so that it may be kept where the values
behind it may not: name and birthdate (one key for each part of the name, so that one misspelt part does not hide the other),
address, device, and the last seven digits of a phone number with the name.
"""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.identity.domain.identifiers import SHORTEST_SECRET
from services.identity.domain.match_model import Feature
from services.identity.domain.traits import Traits

KEY_BYTES: Final = 16
_SHORTEST_PART: Final = 2


class KeyKind(StrEnum):
    """What customers of one block have in common."""

    NAME_BIRTHDATE = "NAME_BIRTHDATE"
    ADDRESS = "ADDRESS"
    DEVICE = "DEVICE"
    PHONE_NAME = "PHONE_NAME"

    @property
    def features(self) -> frozenset[Feature]:
        """The features about which pairs of such a block tell nothing new: they agree because of the key."""
        return _FEATURES[self]


_FEATURES: Final = {
    KeyKind.NAME_BIRTHDATE: frozenset({Feature.NAME, Feature.BIRTHDATE}),
    KeyKind.ADDRESS: frozenset({Feature.ADDRESS}),
    KeyKind.DEVICE: frozenset({Feature.DEVICE}),
    KeyKind.PHONE_NAME: frozenset({Feature.NAME}),
}


@dataclass(frozen=True, slots=True)
class BlockKey:
    """A key of a customer; `digest` is a keyed hash of 16 bytes."""

    kind: KeyKind
    digest: bytes


class BlockKeys:
    """Makes keys under a key of the tenant, derived from `secret` (at least 32 bytes) as those of identifiers are."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"the hash secret needs at least {SHORTEST_SECRET} bytes")
        self._secret = secret
        self._keys: dict[str, bytes] = {}

    def of(self, tenant: str, traits: Traits) -> frozenset[BlockKey]:
        """All keys of one customer."""
        return frozenset(BlockKey(kind, self._digest(tenant, kind, text)) for kind, text in _texts(traits))

    def _digest(self, tenant: str, kind: KeyKind, text: bytes) -> bytes:
        key = self._keys.get(tenant)
        if key is None:
            label = b"scrm identity match key\0" + tenant.encode()
            key = self._keys[tenant] = hmac.digest(self._secret, label, "sha256")
        return hmac.digest(key, kind.encode() + b"\0" + text, "sha256")[:KEY_BYTES]


def _texts(it: Traits) -> Iterator[tuple[KeyKind, bytes]]:
    if it.birthdate:
        for part in it.sound.split():
            if len(part) >= _SHORTEST_PART:
                yield KeyKind.NAME_BIRTHDATE, f"{part}\0{it.birthdate}".encode()
    if it.address:
        yield KeyKind.ADDRESS, it.address.encode()
    for device in it.devices:
        yield KeyKind.DEVICE, device
    if it.sound:
        for phone in it.phones:
            yield KeyKind.PHONE_NAME, f"{it.sound}\0{phone}".encode()
