"""Deterministic dice of the generator: the same customer rolls the same number for one purpose on every machine.

The product has this function too. The generator does not share it on purpose: what simulates customers must not be
able to agree with the product by sharing its mistakes.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

_Words = npt.NDArray[np.uint32]

_EMPTY: Final = 0x811C9DC5
_PRIME: Final = 0x01000193
_DIGITS: Final = 10  # of the largest hash


def fnv1a32(text: str, state: int = _EMPTY) -> int:
    """The 32-bit FNV-1a hash of the UTF-8 bytes of `text`, behind what `state` is the hash of."""
    for byte in text.encode():
        state = ((state ^ byte) * _PRIME) & 0xFFFFFFFF
    return state


def bucket(purpose: str, key: str) -> int:
    """A number in [0, 10,000) that `key` gets for `purpose`."""
    return fnv1a32(str(fnv1a32(key, _hash_of(purpose)))) % 10_000


def buckets(purpose: str, keys: Sequence[str]) -> list[int]:
    """`bucket` of each of `keys`, all at once: byte by byte, of all keys together."""
    texts = [it.encode() for it in keys]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    longest = int(lengths.max(initial=0))
    columns = np.frombuffer(b"".join(it.ljust(longest, b"\0") for it in texts), np.uint8)
    state = np.full(len(texts), _hash_of(purpose), np.uint32)
    for index, column in enumerate(columns.reshape(len(texts), longest).T):
        state = np.where(index < lengths, _stirred(state, column), state)
    again = np.full(len(texts), _EMPTY, np.uint32)
    for power in reversed(range(_DIGITS)):  # of the hash as decimal digits, without leading zeros
        shown = (state >= 10**power) | (power == 0)
        again = np.where(shown, _stirred(again, state // 10**power % 10 + ord("0")), again)
    return (again % 10_000).tolist()


def _stirred(state: _Words, byte: npt.NDArray[np.integer]) -> _Words:
    return (state ^ byte.astype(np.uint32)) * np.uint32(_PRIME)


_hash_of: Final = cache(fnv1a32)
