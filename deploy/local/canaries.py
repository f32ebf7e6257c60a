"""Looks for words in everything that a stack keeps: in every table of every service, in the files of NATS and in the logs.

Of a table everything is read, past row-level security; bytes are looked through as they are.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psycopg
from psycopg import sql

_PAGES_AT_ONCE: Final = 1_000
_TABLES: Final = (
    "SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int,"
    " array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
)
# Column by column: a row as one text is quoted, which is nearly half of the server's work.
_TEXT: Final = (
    "SELECT string_agg(concat_ws(E'\\t', {}), E'\\n') FROM ONLY {} AS t WHERE t.ctid >= {}::tid AND t.ctid < {}::tid"
)
_LENGTHS: Final = (12, 8, 5, 4)

Found = dict[str, set[str]]
"""Words, by where they are: "tracking.behaviours", "files of NATS", "log tracking.log"."""


class Reachable(Protocol):
    """Says how to reach a database as somebody who sees all rows."""

    def __call__(self, database: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class _Family:
    """Words of one length that have `marker` at `start`: looking for it finds them all at once."""

    marker: bytes
    start: int
    words: Mapping[bytes, str]

    def within(self, content: bytes) -> Iterator[str]:
        length, at = len(next(iter(self.words))), content.find(self.marker)
        while at >= 0:
            begin = at - self.start
            word = self.words.get(content[begin : begin + length]) if begin >= 0 else None
            if word is not None:
                yield word
            at = content.find(self.marker, at + 1)


class Words:
    """Words to look for, as they are and as PostgreSQL shows bytes: in hexadecimal digits."""

    def __init__(self, words: Iterable[str]) -> None:
        forms = {form: it for it in words for form in (it.encode(), it.encode().hex().encode())}
        by_length: dict[int, dict[bytes, str]] = {}
        for form, word in forms.items():
            by_length.setdefault(len(form), {})[form] = word
        self._families = [family for it in by_length.values() for family in _families(it)]

    def within(self, content: bytes) -> set[str]:
        """Those that are in `content`."""
        return {word for it in self._families for word in it.within(content)}


def search(words: Words, services: Collection[str], dsn_of: Reachable, state_dir: Path) -> Found:
    """Where each of `words` is in what `services` keep in their databases, and a stack in the folders of its state."""
    found: Found = {}
    with ThreadPoolExecutor() as threads:
        for service, in_tables in zip(
            services, threads.map(lambda it: _in_tables(words, dsn_of(it)), services), strict=True
        ):
            found |= {f"{service}.{table}": it for table, it in in_tables.items()}
    for file in sorted(it for it in (state_dir / "nats").rglob("*") if it.is_file()):
        _note(found, "files of NATS", words.within(file.read_bytes()))
    for log in sorted((state_dir / "logs").glob("*")):
        _note(found, f"log {log.name}", words.within(log.read_bytes()))
    return found


def texts(connection: psycopg.Connection, left_out: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
    """All rows of every table but those `left_out`, as text in pieces and as of one moment; the months of what was accepted go
    by one name."""
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    connection.execute("SET LOCAL client_encoding TO 'UTF8'")
    for schema, table, pages, columns in connection.execute(_TABLES).fetchall():
        if table in left_out or not columns:
            continue
        name = table.partition("_")[0] if table.startswith("accepted_") else table
        fields = sql.SQL(", ").join(sql.Identifier("t", it) for it in columns)
        for first in range(0, pages, _PAGES_AT_ONCE):
            ends = (f"({page},0)" for page in (first, first + _PAGES_AT_ONCE))
            query = sql.SQL(_TEXT).format(fields, sql.Identifier(schema, table), *map(sql.Literal, ends))
            found = connection.execute(query, binary=True).pgresult
            if found and (content := found.get_value(0, 0)):
                yield name, bytes(content)


def _in_tables(words: Words, dsn: str) -> Found:
    found: Found = {}
    with psycopg.connect(dsn) as connection:
        for table, content in texts(connection):
            _note(found, table, words.within(content))
    return found


def _note(found: Found, where: str, words: set[str]) -> None:
    if words:
        found.setdefault(where, set()).update(words)


def _families(words: Mapping[bytes, str]) -> Iterator[_Family]:
    """Words of one length, again and again by the part that most of the rest have in common; each by itself where none has."""
    length, rest = len(next(iter(words))), dict(words)
    while rest:
        parts = Counter(
            (start, form[start : start + size])
            for size in _LENGTHS
            for form in rest
            for start in range(length - size + 1)
        )
        (start, marker), count = max(parts.items(), key=lambda it: it[1], default=((0, b""), 1))
        if count == 1:
            yield from (_Family(form, 0, {form: word}) for form, word in rest.items())
            return
        members = {form: word for form, word in rest.items() if form.startswith(marker, start)}
        yield _Family(marker, start, members)
        rest = {form: word for form, word in rest.items() if form not in members}
