"""Sets of customers as Roaring bitmaps of their ordinals, stored in chunks of 65,536 ordinals.

Names: "known" and "anonymous" (canonical customers), "tag:<key>", "tag:<key>=<value>", "tag:said:<key>=<value>" (of whom a
rule or fact says so, whether it holds or not), "segment:<id>", "layer:<model>:<layer>". A chunk that would be empty is not
there, so that equal sets are equal rows.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.ports import Change
from services.tagging.read_models import sql
from services.tagging.read_models.kept_chunks import KeptChunks

KNOWN = "known"
ANONYMOUS = "anonymous"

_NAMES = "SELECT DISTINCT name FROM bitmaps WHERE tenant = %s AND starts_with(name, %s)"
_BEGINNING = "SELECT members FROM bitmaps WHERE tenant = %s AND starts_with(name, %s)"
_WRITE = (
    "INSERT INTO bitmaps (tenant, name, chunk, members)"
    " SELECT %s, * FROM unnest(%s::text[], %s::int[], %s::bytea[])"
    " ON CONFLICT (tenant, name, chunk) DO UPDATE SET members = excluded.members"
)
_DELETE = (
    "DELETE FROM bitmaps b USING (SELECT %s::text AS tenant, * FROM unnest(%s::text[], %s::int[]) AS k(name, chunk)) k"
    " WHERE (b.tenant, b.name, b.chunk) = (k.tenant, k.name, k.chunk)"
)

_CHUNKS: Final = KeptChunks()
_NOBODY: Final = BitMap()


def of_tag(tag: str) -> str:
    return f"tag:{tag}"


def of_segment(segment: UUID) -> str:
    return f"segment:{segment}"


def segment_named(name: str) -> UUID | None:
    """The segment whose set has this name; None if it is that of something else."""
    return UUID(name.removeprefix("segment:")) if name.startswith("segment:") else None


def of_layer(model: str, layer: str) -> str:
    return f"layer:{model}:{layer}"


def in_any_layer(rows: sa.Connection, tenant: str, model: str) -> BitMap:
    """Everybody who is in a layer of an active model."""
    found = sql.fetch(rows, _BEGINNING, tenant, of_layer(model, ""))
    return BitMap.union(BitMap(), *(BitMap.deserialize(members) for (members,) in found))


def load(rows: sa.Connection, tenant: str, names: Iterable[str]) -> dict[str, BitMap]:
    """The whole sets; an unknown name is an empty set."""
    found: dict[str, list[BitMap]] = {name: [BitMap()] for name in names}
    for (name, _), members in _CHUNKS.of_sets(rows, tenant, found).items():
        found[name].append(members)
    return {name: BitMap.union(*chunks) for name, chunks in found.items()}


def starting_with(rows: sa.Connection, tenant: str, prefix: str) -> dict[str, BitMap]:
    """The sets with such names that have members."""
    return load(rows, tenant, [name for (name,) in sql.fetch(rows, _NAMES, tenant, prefix)])


def among(rows: sa.Connection, tenant: str, names: Iterable[str], who: BitMap) -> dict[str, BitMap]:
    """The sets as far as `who` is concerned."""
    return parts(rows, tenant, dict.fromkeys(names, who))


def parts(rows: sa.Connection, tenant: str, wanted: Mapping[str, BitMap]) -> dict[str, BitMap]:
    """Each set as far as its ordinals are concerned; reads only the chunks that these are in."""
    found = {name: BitMap() for name in wanted}
    chunks = [(name, chunk) for name, who in wanted.items() for chunk in _chunks_of(who)]
    for (name, _), members in _CHUNKS.these(rows, tenant, chunks).items():
        found[name] |= members & wanted[name]
    return found


def change(rows: sa.Connection, tenant: str, changes: Mapping[str, Change]) -> None:
    """Apply all `changes`; reads and writes only the chunks concerned."""
    concerned = [(name, chunk) for name, it in changes.items() for chunk in _chunks_of(it.add | it.remove)]
    if not concerned:
        return
    stored = _CHUNKS.these(rows, tenant, concerned)
    written: list[sql.Row] = []
    emptied: list[sql.Row] = []
    for name, chunk in concerned:
        old = stored.get((name, chunk), _NOBODY)
        window = BitMap(range(chunk << 16, (chunk + 1) << 16))
        new = (old - changes[name].remove) | (changes[name].add & window)
        if new == old:
            continue
        if new:
            packed = _packed(new)
            written.append((name, chunk, packed))
            _CHUNKS.note(tenant, (name, chunk), new, packed)
        else:
            emptied.append((name, chunk))
    sql.run_all(rows, _WRITE, tenant, written)
    sql.run_all(rows, _DELETE, tenant, emptied)


def replace(rows: sa.Connection, tenant: str, name: str, members: BitMap) -> None:
    """Make the set `members`, whatever it was."""
    sql.run(rows, "DELETE FROM bitmaps WHERE tenant = %s AND name = %s", tenant, name)
    change(rows, tenant, {name: Change(members, BitMap())})


def pack(members: BitMap) -> bytes:
    """The portable Roaring format, the same for equal sets."""
    return _packed(BitMap(members))


def unpack(packed: bytes) -> BitMap:
    return BitMap.deserialize(packed)


def _packed(members: BitMap) -> bytes:
    if members.get_statistics()["n_run_containers"]:
        # What set operations leave as a run stays one even where a new set would have an array of the same length.
        members = BitMap(members.to_array())
    members.run_optimize()
    return members.serialize()


def _chunks_of(who: BitMap) -> list[int]:
    """The numbers of the chunks that hold `who`, each found by a jump to the first ordinal after the last chunk."""
    chunks: list[int] = []
    position = 0
    while position < len(who):
        chunk = who[position] >> 16
        chunks.append(chunk)
        position = who.rank(((chunk + 1) << 16) - 1)
    return chunks
