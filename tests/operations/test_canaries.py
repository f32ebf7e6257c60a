"""The search for what must not be left finds it in whatever form a table or a file has it, and nowhere else."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from deploy.local import canaries
from deploy.local.canaries import Words, search
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
