"""The journal: what callers asked for and what they were told, noted on their side. It is the judge of what was lost.

Everything is noted before it is sent and again when it is acknowledged, under a key that the services show later on.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any


@dataclass(slots=True)
class Entry:
    """One fact: `key` is unique within `kind`, `about` is what the judge has to know of it."""

    kind: str
    key: str
    request: Any
    about: Any = None
    answer: Any = None

    @property
    def is_acknowledged(self) -> bool:
        return self.answer is not None


@dataclass(slots=True)
class Finding:
    """What a comparison found: keys that are gone, keys that are there more than once or that nobody asked for."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Finding") -> None:
        self.lost += other.lost
        self.doubled += other.doubled
        self.problems += other.problems

    def require_equal(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.problems.append(f"{what} is {found}, not {expected}")


class Journal:
    """Entries of all callers; may be written from any thread."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._turn = Lock()

    def asked(self, kind: str, key: str, request: Any = None, about: Any = None) -> Entry:
        """Note what is about to be sent."""
        with self._turn:
            if (kind, key) in self._entries:
                raise ValueError(f"{kind} {key} has been asked already")
            entry = self._entries[kind, key] = Entry(kind, key, request, about)
        return entry

    @staticmethod
    def acknowledged(entry: Entry, answer: Any) -> None:
        """Note the answer; from now on the fact may not be lost."""
        entry.answer = answer

    def of(self, *kinds: str) -> list[Entry]:
        """All entries of these kinds, in the order in which they were asked."""
        with self._turn:
            return [it for it in self._entries.values() if it.kind in kinds]

    def acknowledged_of(self, *kinds: str) -> list[Entry]:
        return [it for it in self.of(*kinds) if it.is_acknowledged]

    def keys(self) -> set[tuple[str, str]]:
        """Kind and key of every entry."""
        with self._turn:
            return set(self._entries)

    def undo_all_but(self, kept: Collection[tuple[str, str]]) -> list[Entry]:
        """Forget the others, as the services have to; what they were."""
        with self._turn:
            undone = [it for key, it in self._entries.items() if key not in kept]
            self._entries = {key: it for key, it in self._entries.items() if key in kept}
        return undone

    def counts(self) -> Mapping[str, int]:
        """Acknowledged entries by kind."""
        with self._turn:
            return Counter(it.kind for it in self._entries.values() if it.is_acknowledged)

    def compare(self, kind: str, found: Iterable[str]) -> Finding:
        """Against the keys that the services show, each as often as they show it."""
        shown = Counter(found)
        asked = {it.key: it for it in self.of(kind)}
        return Finding(
            lost=[f"{kind} {key}" for key, it in asked.items() if it.is_acknowledged and key not in shown],
            doubled=[f"{kind} {key}" for key, count in shown.items() if count > 1 or key not in asked],
        )

    def write(self, file: Path) -> None:
        """A line of JSON per entry."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._turn, file.open("w") as lines:
            for it in self._entries.values():
                line = {"kind": it.kind, "key": it.key, "about": str(it.about), "acknowledged": it.is_acknowledged}
                lines.write(json.dumps(line) + "\n")
