"""The search for what must not be left finds it in whatever form a table or a file has it, and nowhere else."""

from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from deploy.local import canaries
from deploy.local.canaries import Hunt, Snapshot, Words, search
from deploy.local.erasure_check import hunt_of
from scrm.identity.v1.erasure_pb2 import ErasureCertificate
from tests.conftest import DatabaseFactory

WORD = "Canary Ann"
OTHERS = ("Canary Bob", "+13525550101", "wx-cdnow-08301______", "a:cdnow:08301:0", "00c77aaf4a007ab6b4bd55fc40b03f11")
FORMS = {
    "plain": ("text", WORD),
    "packed": ("bytea", f"\x01\\{WORD}\x02".encode()),
    "digits": ("text", WORD.encode().hex()),
    "documents": ("jsonb", f'{{"a": ["\\n{WORD}"]}}'),
    "lists": ("text[]", ["\\", f'say "{WORD}"']),
    "large": ("text", "x\t" * 1_000 + WORD),
    "generated": ("text", WORD[::-1]),
}


def test_words_are_found_in_every_form_and_nowhere_else(
    database: DatabaseFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canaries, "_PAGES_AT_ONCE", 1)
    fresh = database("canaries")
    with psycopg.connect(fresh.owner_dsn) as connection:
        for table, (kind, _) in FORMS.items():
            connection.execute(f"CREATE TABLE {table} (t {kind})")
        connection.execute("ALTER TABLE generated ADD again text GENERATED ALWAYS AS (reverse(t)) STORED")
        connection.execute("CREATE TABLE months (t text, month int) PARTITION BY LIST (month)")
        connection.execute("CREATE TABLE accepted_2025 PARTITION OF months FOR VALUES IN (1)")

    def found() -> dict[str, set[str]]:
        places = search(Words((WORD, *OTHERS)), [fresh.name], lambda _: fresh.owner_dsn, tmp_path)
        return {place.removeprefix(f"{fresh.name}."): words for place, words in places.items()}

    assert found() == {}
    with psycopg.connect(fresh.owner_dsn) as connection:
        for table, (_, value) in FORMS.items():
            connection.cursor().executemany(
                sql.SQL("INSERT INTO {} VALUES (%s)").format(sql.Identifier(table)), [(value,)] * 10
            )
        connection.execute("INSERT INTO months VALUES (%s, 1), (%s, 1)", [WORD, OTHERS[0]])
    for folder, name in (("nats", "block"), ("logs", "tracking.log")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"\x00" + WORD.encode())
    expected = {place: {WORD} for place in (*FORMS, "files of NATS", "log tracking.log")}
    assert found() == {**expected, "accepted": {WORD, OTHERS[0]}}


def test_what_was_there_is_found_though_it_is_removed_meanwhile(database: DatabaseFactory) -> None:
    fresh = database("canaries_then")
    with psycopg.connect(fresh.owner_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE plain AS SELECT %s AS t", [WORD])
        with Snapshot.taken("then", fresh.owner_dsn) as snapshot:
            connection.execute("DELETE FROM plain")
            assert snapshot.look([Hunt(Words([WORD]))]) == [{"then.plain": {WORD}}]
        with Snapshot.taken("now", fresh.owner_dsn) as snapshot:
            assert snapshot.look([Hunt(Words([WORD]))]) == [{}]


def test_nodes_are_found_as_ids_and_within_bytes_but_where_they_may_be(database: DatabaseFactory) -> None:
    fresh = database("canaries_nodes")
    node, other = uuid4(), uuid4()
    forms = {"ids": node, "listed": [node], "written": str(node), "digits": node.hex, "packed": b"\x01" + node.bytes,
             "packed_text": f"<{node}>".encode(), "several": [node.bytes], "elsewhere": other, "stored_events": node}  # fmt: skip
    with psycopg.connect(fresh.owner_dsn) as connection:
        for table, value in forms.items():
            connection.execute(sql.SQL("CREATE TABLE {} AS SELECT {} AS it").format(sql.Identifier(table), value))
    hunt = hunt_of([ErasureCertificate(node_ids=[str(node)])])
    hunts = [Hunt(hunt.words, {"here": ["stored_events"]}), Hunt(Words([str(other)]))]
    with Snapshot.taken("here", fresh.owner_dsn) as snapshot:
        theirs, others = snapshot.look(hunts)
    assert theirs == {f"here.{it}": {str(node)} for it in forms.keys() - {"elsewhere", "stored_events"}}
    assert others == {"here.elsewhere": {str(other)}}
