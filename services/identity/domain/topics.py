"""Topics: the few words by which brands count what customers speak of. Others are told of them, so they name nobody."""

import re
from collections.abc import Iterable
from typing import Final
from unicodedata import category, normalize

from chassis.errors import BadFormat

LONGEST: Final = 40
MOST: Final = 10
_NAMING: Final = re.compile(r"@|\d{5}|://")
"""What mail addresses, numbers of phones and accounts, and links have in them."""


def topics(given: Iterable[str]) -> tuple[str, ...]:
    """What was given, in one spelling and each once, in its order. Raises BadFormat for words that may name somebody."""
    found = dict.fromkeys(_topic(it) for it in given)
    if len(found) > MOST:
        raise BadFormat(f"there are at most {MOST} topics", field="topics")
    return tuple(found)


def _topic(given: str) -> str:
    text = " ".join(normalize("NFC", given).split()).casefold()
    if not text or len(text) > LONGEST:
        raise BadFormat(f"a topic has 1 to {LONGEST} characters", field="topics")
    if _NAMING.search(text) or any(category(it).startswith("C") for it in text):
        raise BadFormat("a topic names nobody: no addresses, numbers or links", field="topics")
    return text
