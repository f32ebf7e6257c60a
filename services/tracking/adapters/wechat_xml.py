"""What WeChat writes in XML, read without anything in XML that could do harm: no document types, no entities, no depth.

A message is flat: texts by their names. The few lists in it are read for the texts of their items.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

LARGEST: Final = 256 << 10
_DEEPEST: Final = 8
_MOST_ELEMENTS: Final = 4_000


class Unreadable(Exception):
    """It is no XML, or has in it what a message never has."""


@dataclass(frozen=True, slots=True)
class Message:
    """The texts of a message by their names in lower case, and the items of its lists."""

    texts: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """The text of that name, in whatever case; empty without one."""
        return self.texts.get(name.lower(), "")


def read_message(content: bytes) -> Message:
    """The message in `content`. Raises Unreadable."""
    reading = _Reading()
    parser = expat.ParserCreate(encoding="utf-8")  # whatever it says of itself
    parser.buffer_text = True
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.characters
    parser.StartDoctypeDeclHandler = _refuse  # and with it every entity and every reference to a file
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise Unreadable(expat.ErrorString(error.code)) from None
    return Message(reading.texts, {name: tuple(it) for name, it in reading.lists.items()})


class _Reading:
    """What was read so far."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self._path: list[str] = []
        self._pieces: list[str] = []
        self._count = 0

    def start(self, name: str, _: Mapping[str, str]) -> None:
        self._count += 1
        self._path.append(name.lower())
        self._pieces.clear()
        if len(self._path) > _DEEPEST or self._count > _MOST_ELEMENTS:
            raise Unreadable("it is no message")

    def characters(self, piece: str) -> None:
        self._pieces.append(piece)

    def end(self, _: str) -> None:
        match self._path:
            case [_, name]:
                self.texts.setdefault(name, "".join(self._pieces).strip())
            case [_, owner, "item"]:
                self.lists.setdefault(owner, []).append("".join(self._pieces).strip())
        self._path.pop()
        self._pieces.clear()


def _refuse(*_: object) -> None:
    raise Unreadable("a document type")
