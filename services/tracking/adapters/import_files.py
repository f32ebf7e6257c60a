"""Files of events and orders as they are imported: row by row, with a note of how far somebody got, and what was not taken."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from io import TextIOWrapper
from os import SEEK_SET, fsync
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

LONGEST_LINE: Final = 1 << 20
PROPERTY: Final = "p."
IDENTIFIER: Final = "id."


class Row(NamedTuple):
    """A row as it was read: the line it ends in, and its fields, or why it has none."""

    line: int
    fields: Mapping[str, Any]
    fault: str = ""


class Refusal(NamedTuple):
    """Why a row was not taken."""

    row: Row
    reason: str
    field: str = ""


@dataclass(slots=True)
class Progress:
    """How far an import is: rows done, what became of how many, and the size of the file of refusals as of then."""

    file: str
    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    refused_bytes: int = 0

    def count(self, outcome: str, number: int = 1) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + number


def rows_of(file: BinaryIO, is_csv: bool) -> Iterator[Row]:
    """The rows of a CSV file with a header, or the lines of an NDJSON file that are not empty."""
    return _csv_rows(file) if is_csv else _json_rows(file)


def digest(path: Path) -> str:
    """What a file is known by: its content."""
    found = blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


class Note:
    """Where an import notes how far it is (`<file>.import`), and what it refused (`<file>.refused`)."""

    def __init__(self, path: Path, refusals: Path | None = None) -> None:
        self._note = path.with_name(path.name + ".import")
        self.refusals = refusals or path.with_name(path.name + ".refused")

    def taken_up(self, file: str, from_start: bool) -> Progress:
        """How far an earlier import of the same content got. What it refused after its last note is cut off."""
        progress = Progress(file)
        if not from_start and self._note.exists():
            noted = Progress(**orjson.loads(self._note.read_bytes()))
            progress = noted if noted.file == file else progress
        with self.refusals.open("ab") as kept:
            kept.truncate(progress.refused_bytes)
        return progress

    def keep(self, progress: Progress, refused: list[Refusal]) -> None:
        """Note refusals first and then how far the import is: so neither is ahead of what was done."""
        if refused:
            with self.refusals.open("r+b") as kept:
                kept.seek(progress.refused_bytes, SEEK_SET)
                kept.write(b"".join(map(_line, refused)))
                progress.refused_bytes = kept.tell()
                kept.flush()
                fsync(kept.fileno())
        beside = self._note.with_name(self._note.name + "~")
        beside.write_bytes(orjson.dumps(asdict(progress)))
        beside.replace(self._note)


def _line(refusal: Refusal) -> bytes:
    row = refusal.row
    said = {"line": row.line, "reason": refusal.reason, "field": refusal.field, "row": dict(row.fields)}
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)


def _json_rows(file: BinaryIO) -> Iterator[Row]:
    number = 0
    while content := file.readline(LONGEST_LINE):
        number += 1
        if len(content) == LONGEST_LINE and not content.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield Row(number, {}, "TOO_LARGE")
            continue
        if not content.strip():
            continue
        try:
            fields = orjson.loads(content)
        except orjson.JSONDecodeError:
            yield Row(number, {}, "BAD_FORMAT")
            continue
        yield Row(number, fields) if isinstance(fields, dict) else Row(number, {}, "BAD_FORMAT")


def _csv_rows(file: BinaryIO) -> Iterator[Row]:
    """Empty fields are absent; `p.<name>` is a property, `id.<namespace>` or `id.<namespace>@<scope>` an identifier."""
    csv.field_size_limit(LONGEST_LINE)
    text = TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    reader = csv.DictReader(text, restkey="", strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            text.detach()  # or it would close the file that is somebody else's
            return
        except csv.Error:
            yield Row(reader.reader.line_num, {}, "BAD_FORMAT")
            continue
        if "" in fields or None in fields.values():
            yield Row(reader.line_num, {}, "BAD_FORMAT")
        else:
            yield Row(reader.line_num, _structured({name: it for name, it in fields.items() if it != ""}))


def _structured(fields: Mapping[str, str]) -> dict[str, Any]:
    """The flat fields of a CSV row as an NDJSON row has them."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if name.startswith(PROPERTY):
            found.setdefault("properties", {})[name.removeprefix(PROPERTY)] = _value(value)
        elif name.startswith(IDENTIFIER):
            namespace, _, scope = name.removeprefix(IDENTIFIER).partition("@")
            identifier = {"namespace": namespace, "scope": scope, "value": value}
            found.setdefault("identifiers", []).append(identifier)
        elif name == "lines":
            found[name] = _value(value)
        else:
            found[name] = value
    return found


def _value(text: str) -> Any:
    """A number, true, false, a list or an object as JSON writes it; anything else is a text, and so is what begins with a zero."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return text if found is None else found
