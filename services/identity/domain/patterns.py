"""Values that a brand never takes for identifiers: single ones by their keyed hash, many at once by a pattern.

A pattern is a shell pattern: `*` stands for any text, `?` for one character, `[0-9]` for one of a set. It is compiled to atomic
groups, none of which is entered again once it has matched, so that looking takes at most the product of both lengths.
"""

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

FEWEST_LITERALS: Final = 3
"""So many characters of a pattern have to stand for themselves: with fewer it would block almost everybody."""

_WILD: Final = re.compile(r"\[!?\]?[^\]]*\]|[*?]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text with wildcards; capital and small letters are the same to it."""

    text: str

    @property
    def is_broad(self) -> bool:
        """Whether it says too little to tell values apart."""
        return len(_WILD.sub("", self.text)) < FEWEST_LITERALS

    def fits(self, value: str) -> bool:
        return _compiled(self.text).match(value) is not None


def is_pattern(text: str) -> bool:
    """Whether `text` has a wildcard; without one it is a single value."""
    return _WILD.search(text) is not None


@lru_cache(maxsize=10_000)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text), re.IGNORECASE)
