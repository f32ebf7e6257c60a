"""Deterministic dice of the generator: the same customer rolls the same number for one purpose on every machine.

The product has this function too. The generator does not share it on purpose: what simulates customers must not be
able to agree with the product by sharing its mistakes.
"""

from functools import cache
from typing import Final

_EMPTY: Final = 0x811C9DC5


def fnv1a32(text: str, state: int = _EMPTY) -> int:
    """The 32-bit FNV-1a hash of the UTF-8 bytes of `text`, behind what `state` is the hash of."""
    for byte in text.encode():
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    return state


def bucket(purpose: str, key: str) -> int:
    """A number in [0, 10,000) that `key` gets for `purpose`."""
    return fnv1a32(str(fnv1a32(key, _hash_of(purpose)))) % 10_000


_hash_of: Final = cache(fnv1a32)
