"""Which identifiers can tell a person (ID-1), as far as it can be said without asking identity."""

import re
from typing import Final

_BLOCKED: Final = re.compile(r"[0-]*|-1|null|undefined|anonymous|none|test", re.IGNORECASE)
_LONGEST_WORD: Final = len("undefined")
_EDGES: Final = frozenset("0-")


def is_blocked(value: str) -> bool:
    """Whether `value` is one of those that programs send where they know nobody."""
    if len(value) > _LONGEST_WORD and value[0] not in _EDGES and value[0].isalnum() and value[-1].isalnum():
        return False  # nearly all
    return _BLOCKED.fullmatch(value.strip()) is not None
