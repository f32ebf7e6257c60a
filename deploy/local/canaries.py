"""Looks for words in everything that a stack keeps: in every table of every service, in the files of NATS and in the logs.

Of a table everything is read, past row-level security; bytes are looked through as they are.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql

_PAGES_AT_ONCE: Final = 1_000
_TABLES: Final = (
    "SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int,"
    " array_agg(a.attname::text) FILTER (WHERE a.atttypid <> 'bytea'::regtype),"
    " array_agg(a.attname::text) FILTER (WHERE a.atttypid = 'bytea'::regtype)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    " AND a.attnum > 0 AND NOT a.attisdropped GROUP BY c.oid, n.nspname, c.relname ORDER BY 1, 2"
)
_PIECE: Final = "SELECT {} FROM ONLY {} AS t WHERE t.ctid >= {}::tid AND t.ctid < {}::tid"
# Column by column: a row as one text is quoted, which is nearly half of the server's work.
_TEXT: Final = "string_agg(concat_ws(E'\\t', {}), E'\\n')"
_BYTES: Final = "string_agg({}, '\\x09'::bytea)"
_LENGTHS: Final = (12, 8, 7, 5, 4, 3, 2)
_MARKED: Final = 4
_SHORTEST: Final = 8
_BLOCK: Final = 1 << 18

Numbers = npt.NDArray[np.uint64]

Found = dict[str, set[str]]
"""Words, by where they are: "tracking.behaviours", "files of NATS", "log tracking.log"."""


class Reachable(Protocol):
    """Says how to reach a database as somebody who sees all rows."""

    def __call__(self, database: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class _Family:
    """Words of one length that have `marker` at `start`: looking for it finds them all at once. Of what has the marker, only what
    has the eight bytes from `telling` on in common with a word (`ends`, sorted) is looked at more closely."""

    marker: bytes
    start: int
    words: Mapping[bytes, str]
    length: int
    telling: int
    ends: Numbers

    @classmethod
    def of(cls, marker: bytes, start: int, words: Mapping[bytes, str]) -> "_Family":
        """Raises ValueError for a word that is too short to be looked for."""
        length = len(next(iter(words)))
        if length < _SHORTEST:
            raise ValueError("a word to look for has eight bytes or more")
        parts = {it: {word[it : it + _SHORTEST] for word in words} for it in range(length - _SHORTEST + 1)}
        telling = max(parts, key=lambda it: len(parts[it]))
        return cls(marker, start, words, length, telling, np.sort(np.frombuffer(b"".join(parts[telling]), np.uint64)))

    def within(self, content: bytes) -> Iterator[str]:
        there = np.frombuffer(content, np.uint8)
        begins = _occurrences(there, self.marker) - self.start
        begins = begins[(begins >= 0) & (begins + self.length <= len(there))]
        ends = there[(begins + self.telling)[:, None] + np.arange(_SHORTEST)].view(np.uint64).ravel()
        alike = self.ends[np.searchsorted(self.ends, ends).clip(max=len(self.ends) - 1)] == ends
        for begin in begins[alike]:
            word = self.words.get(content[begin : begin + self.length])
            if word is not None:
                yield word


def _occurrences(content: npt.NDArray[np.uint8], marker: bytes) -> npt.NDArray[np.int64]:
    """Where the first bytes of `marker` are, up to four of them. A block at a time, which fits into the cache of a processor; other
    threads go on meanwhile, as they do not where bytes.find looks."""
    last = len(content) - len(marker) + 1
    found = [np.empty(0, np.int64)]
    for start in range(0, last, _BLOCK):
        end = min(start + _BLOCK, last)
        alike = content[start:end] == marker[0]
        for index, byte in enumerate(marker[1:_MARKED], 1):
            alike &= content[start + index : end + index] == byte
        found.append(np.flatnonzero(alike) + start)
    return np.concatenate(found)


class Words:
    """Words to look for, as they are and as PostgreSQL shows bytes within something else: in hexadecimal digits."""

    def __init__(self, words: Iterable[str], forms: Mapping[bytes, str] | None = None) -> None:
        """`forms` are others in which words may be found, with the word that each stands for."""
        plain = {form: it for it in words for form in (it.encode(), it.encode().hex().encode())}
        by_length: dict[int, dict[bytes, str]] = {}
        for form, word in {**plain, **(forms or {})}.items():
            by_length.setdefault(len(form), {})[form] = word
        self._families = [family for it in by_length.values() for family in _families(it)]

    def within(self, content: bytes) -> set[str]:
        """Those that are in `content`."""
        return {word for it in self._families for word in it.within(content)}


@dataclass(frozen=True, slots=True)
class Hunt:
    """What to look for, and in which tables not, by service."""

    words: Words
    left_out: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The database of `service` as of one moment, to look through once."""

    service: str
    _connection: psycopg.Connection
    _tables: Sequence[tuple[str, str, int, Sequence[str] | None, Sequence[str] | None]]

    @classmethod
    @contextmanager
    def taken(cls, service: str, dsn: str) -> Iterator["Snapshot"]:
        """As it is now, for as long as the context lasts."""
        with psycopg.connect(dsn) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SET LOCAL client_encoding TO 'UTF8'")
            yield cls(service, connection, connection.execute(_TABLES).fetchall())

    def look(self, hunts: Sequence[Hunt]) -> Sequence[Found]:
        """What each of `hunts` finds, where everything is read once for all of them."""
        left_out = [hunt.left_out.get(self.service, ()) for hunt in hunts]
        found: Sequence[Found] = [{} for _ in hunts]
        for table, content in _ahead(self._pieces(set.intersection(*map(set, left_out)))):
            for hunt, its, elsewhere in zip(hunts, found, left_out, strict=True):
                if table not in elsewhere:
                    _note(its, f"{self.service}.{table}", hunt.words.within(content))
        return found

    def _pieces(self, left_out: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """All rows of every table but those `left_out`: columns of bytes as they are, all others as text. The months of what was
        accepted go by one name."""
        for schema, table, pages, texts, packed in self._tables:
            name = table.partition("_")[0] if table.startswith("accepted_") else table
            if name in left_out:
                continue
            columns = sql.SQL(", ").join(_columns(texts or (), packed or ()))
            for first in range(0, pages, _PAGES_AT_ONCE):
                ends = (f"({page},0)" for page in (first, first + _PAGES_AT_ONCE))
                query = sql.SQL(_PIECE).format(columns, sql.Identifier(schema, table), *map(sql.Literal, ends))
                yield from ((name, content) for content in self._values(query))

    def _values(self, query: sql.Composed) -> Iterator[bytes]:
        """What there is in the only row of the answer."""
        found = self._connection.execute(query, binary=True).pgresult
        for column in range(found.nfields if found else 0):
            if found and (content := found.get_value(0, column)):
                yield bytes(content)


def search(words: Words, services: Collection[str], dsn_of: Reachable, state_dir: Path) -> Found:
    """Where each of `words` is in what `services` keep in their databases, and a stack in the folders of its state."""
    (found,) = in_tables([Hunt(words)], services, dsn_of)
    return found | in_files(words, state_dir)


def in_tables(hunts: Sequence[Hunt], services: Collection[str], dsn_of: Reachable) -> Sequence[Found]:
    """What each of `hunts` finds, where everything is read once for all of them; each database as of one moment."""

    def look(service: str) -> Sequence[Found]:
        with Snapshot.taken(service, dsn_of(service)) as database:
            return database.look(hunts)

    found: Sequence[Found] = [{} for _ in hunts]
    with ThreadPoolExecutor() as threads:
        for its in threads.map(look, services):
            for everywhere, there in zip(found, its, strict=True):
                everywhere.update(there)
    return found


def in_files(words: Words, state_dir: Path) -> Found:
    """Where each of `words` is in the files of NATS and in the logs of a stack."""
    found: Found = {}
    for file in sorted(it for it in (state_dir / "nats").rglob("*") if it.is_file()):
        _note(found, "files of NATS", words.within(file.read_bytes()))
    for log in sorted((state_dir / "logs").glob("*")):
        _note(found, f"log {log.name}", words.within(log.read_bytes()))
    return found


def _columns(texts: Sequence[str], packed: Sequence[str]) -> Iterator[sql.Composable]:
    """Expressions for everything that a piece of a table holds."""
    if texts:
        yield sql.SQL(_TEXT).format(sql.SQL(", ").join(sql.Identifier("t", it) for it in texts))
    yield from (sql.SQL(_BYTES).format(sql.Identifier("t", it)) for it in packed)


def _ahead(pieces: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """The same `pieces`; the server makes the next one while the last one is looked through."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, pieces, None)
        while (piece := coming.result()) is not None:
            coming = thread.submit(next, pieces, None)
            yield piece


def _note(found: Found, where: str, words: set[str]) -> None:
    if words:
        found.setdefault(where, set()).update(words)


def _families(words: Mapping[bytes, str]) -> Iterator[_Family]:
    """Words of one length, again and again by a part that many of the rest have in common, and a long one: both are quick to look
    for. Each by itself where none has."""
    length, rest = len(next(iter(words))), dict(words)
    while rest:
        parts = Counter(
            (start, form[start : start + size])
            for size in _LENGTHS
            for form in rest
            for start in range(length - size + 1)
        )
        shared = {part: count for part, count in parts.items() if count > 1}
        if not shared:
            yield from (_Family.of(form, 0, {form: word}) for form, word in rest.items())
            return
        start, marker = max(shared, key=lambda it: shared[it] * len(it[1]))
        members = {form: word for form, word in rest.items() if form.startswith(marker, start)}
        yield _Family.of(marker, start, members)
        rest = {form: word for form, word in rest.items() if form not in members}
