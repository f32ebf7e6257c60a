"""The text form of conditions, cut into words, texts, numbers, dates and signs."""

import json
import re
from enum import Enum, auto
from typing import Final, NamedTuple

from services.tagging.domain.conditions.text_words import SYNONYMS
from services.tagging.domain.errors import ConditionSyntax

LONGEST_TEXT: Final = 8_000


class Sort(Enum):
    """What a token is."""

    WORD = auto()
    TEXT = auto()
    NUMBER = auto()
    DATE = auto()
    SIGN = auto()
    END = auto()


class Token(NamedTuple):
    """A piece of text, what it means, and where it begins (in characters, from 0)."""

    sort: Sort
    text: str
    at: int


_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<TEXT>"(?:[^"\\]|\\.)*"|“[^”]*”)
    |(?P<DATE>\d{4}-\d{2}-\d{2}(?![\w-]))
    |(?P<NUMBER>-?\d+(?:\.(?!\.)\d+)?(?:[eE][-+]?\d+)?)
    |(?P<WORD>\$?[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*|[且或非])
    |(?P<SIGN>\.\.|[=!<>]=|[=<>≠≤≥(),（），])""",
    re.VERBOSE | re.ASCII,
)


def tokens(text: str) -> list[Token]:
    """All of them, and an END. Raises ConditionSyntax."""
    if len(text) > LONGEST_TEXT:
        raise refusal(LONGEST_TEXT, f"no more than {LONGEST_TEXT} characters")
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise refusal(at, "a word, a text in quotes, a number, a date or a sign")
        if match.lastgroup != "space":
            found.append(_token(match))
        at = match.end()
    return [*found, Token(Sort.END, "", len(text))]


def refusal(at: int, expected: str) -> ConditionSyntax:
    """That something else was expected at this character."""
    return ConditionSyntax(f"at character {at + 1}: expected {expected}", field="text", position=at, expected=expected)


def _token(match: re.Match[str]) -> Token:
    sort, piece = Sort[str(match.lastgroup)], match.group()
    piece = SYNONYMS.get(piece, piece)
    if sort is Sort.TEXT:
        piece = _text(piece, match.start())
    return Token(sort, piece, match.start())


def _text(quoted: str, at: int) -> str:
    if quoted.startswith("“"):
        return quoted[1:-1]
    try:
        return str(json.loads(quoted, strict=False))
    except ValueError:
        raise refusal(at, "a text with escapes as in JSON") from None
