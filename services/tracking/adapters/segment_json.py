"""JSON as SDKs really send it: half an emoji, NaN and numbers beyond any bound do not cost the other events of a batch."""

import json
import re
from typing import Any, Final

import orjson

from chassis.errors import BadFormat

_BOM: Final = b"\xef\xbb\xbf"

# An escaped backslash, a pair of surrogates, half a pair, any other escape; half a pair is what no text can hold.
_ESCAPE: Final = re.compile(
    rb"\\(?:\\|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_UNKNOWN_LETTER: Final = rb"\ufffd"
_MOST_DIGITS: Final = 300


def read_json(content: bytes) -> Any:
    """The value in `content`. Raises BadFormat."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return _patiently(content)


def written_json(value: Any) -> bytes:
    """`value` as JSON; empty for what cannot be written, such as lists in lists without end."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a number beyond 64 bits, or too deep for it
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        except (RecursionError, ValueError):
            return b""


def _patiently(content: bytes) -> Any:
    """With NaN and the infinities as null, and a sign for unknown letters in place of half an emoji."""
    mended = _ESCAPE.sub(lambda found: _UNKNOWN_LETTER if found[1] else found[0], content.removeprefix(_BOM))
    try:
        return json.loads(mended.decode(), parse_constant=lambda _: None, parse_float=_finite, parse_int=_bounded)
    except (ValueError, RecursionError):
        raise BadFormat("the body is no JSON") from None


def _bounded(text: str) -> int | float | None:
    return int(text) if len(text) < _MOST_DIGITS else _finite(text)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if abs(number) < float("inf") else None
