"""Deterministic buckets: which of 10,000 equal slots a customer falls into for one purpose.

The same seed and key give the same slot on every machine and for ever, so that an assignment can
be recomputed, and survives a re-import of all customers. Seeds must differ per purpose.
"""

from collections.abc import Iterable

BUCKETS = 10_000

_OFFSET = 2_166_136_261
_PRIME = 16_777_619
_MASK = 0xFFFF_FFFF


def fnv1a32(text: str) -> int:
    """The 32-bit FNV-1a hash of the UTF-8 bytes of `text`."""
    return _continued(_OFFSET, text.encode())


def bucket(seed: str, key: str) -> int:
    """The slot in [0, 10,000) of `key` for the purpose `seed` (GrowthBook's hash version 2)."""
    return fnv1a32(str(fnv1a32(seed + key))) % BUCKETS


def buckets(seed: str, keys: Iterable[str]) -> list[int]:
    """`bucket(seed, key)` of every key, in order, hashing the seed once."""
    prefix = fnv1a32(seed)
    return [_continued(_OFFSET, b"%d" % _continued(prefix, it.encode())) % BUCKETS for it in keys]


def experiment_seed(experiment: str) -> str:
    """The purpose "arms of this experiment"."""
    return f"exp:{experiment}"


def global_control_seed(tenant: str) -> str:
    """The purpose "global control group of this tenant"."""
    return f"gcg:{tenant}"


def _continued(state: int, data: bytes) -> int:
    for byte in data:
        state = ((state ^ byte) * _PRIME) & _MASK
    return state
