"""Chunks of sets that are kept in memory are those of the transaction that asks, and are read again only when they are others."""

import pytest
import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.ports import Change
from services.tagging.read_models import bitmaps, sql
from services.tagging.read_models.kept_chunks import KeptChunks, _Kept
from tests.tagging.world import TENANT, World

FAR = BitMap((1, 2, 70_000, 200_000))
EVEN = BitMap(range(0, 3000, 2))


class Watched(KeptChunks):
    """Notes how many chunks were read or written."""

    def __init__(self, limit: int = 2**20) -> None:
        super().__init__(limit)
        self.read = 0

    def _keep(self, key: tuple[str, str, int], it: _Kept) -> None:
        self.read += 1
        super()._keep(key, it)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(bitmaps, "_CHUNKS", watched)
    return watched


def write(rows: sa.Connection, name: str, members: BitMap, tenant: str = TENANT) -> None:
    before = bitmaps.load(rows, tenant, (name,))[name]
    bitmaps.change(rows, tenant, {name: Change(members - before, before - members)})


def test_what_is_the_same_is_not_read_again_and_what_is_not_is(world: World, kept: Watched) -> None:
    with world.engine.begin() as rows:
        write(rows, "tag:a", FAR)
        write(rows, "tag:b", BitMap((5,)))
    for _ in range(3):
        with world.engine.begin() as rows:
            found = bitmaps.load(rows, TENANT, ("tag:a", "tag:b", "tag:none"))
            assert found == {"tag:a": FAR, "tag:b": BitMap((5,)), "tag:none": BitMap()}
            assert bitmaps.parts(rows, TENANT, {"tag:a": BitMap((2, 9, 70_000))}) == {"tag:a": BitMap((2, 70_000))}
    assert kept.read == 4
    with world.engine.begin() as rows:
        write(rows, "tag:a", FAR | BitMap((3,)))
    with world.engine.begin() as rows:
        assert bitmaps.parts(rows, TENANT, {"tag:a": BitMap((3, 4))}) == {"tag:a": BitMap((3,))}
        assert bitmaps.load(rows, TENANT, ("tag:a",)) == {"tag:a": FAR | BitMap((3,))}
    assert kept.read == 5  # of three chunks, the one that is another


def test_a_transaction_that_is_undone_leaves_nothing_behind(world: World, kept: Watched) -> None:
    with world.engine.connect() as rows:
        undone = rows.begin()
        write(rows, "tag:a", FAR)
        assert bitmaps.load(rows, TENANT, ("tag:a",))["tag:a"] == FAR
        undone.rollback()
        assert bitmaps.load(rows, TENANT, ("tag:a",))["tag:a"] == BitMap()
        write(rows, "tag:a", BitMap((9,)))
        assert bitmaps.load(rows, TENANT, ("tag:a",))["tag:a"] == BitMap((9,))


def test_who_asks_gets_a_set_of_its_own_and_of_its_own_tenant(world: World, kept: Watched) -> None:
    with world.engine.begin() as rows:
        write(rows, "tag:a", FAR)
        write(rows, "tag:a", BitMap((3,)), tenant="other")
        for _ in range(2):
            found = bitmaps.load(rows, TENANT, ("tag:a",))["tag:a"]
            some = bitmaps.parts(rows, TENANT, {"tag:a": FAR})["tag:a"]
            assert found == some == FAR
            found.clear()
            some.clear()
            assert bitmaps.load(rows, "other", ("tag:a",))["tag:a"] == BitMap((3,))


def test_the_ones_asked_for_longest_ago_make_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Watched(limit=2 * len(bitmaps.pack(EVEN)))
    monkeypatch.setattr(bitmaps, "_CHUNKS", kept)
    names = [f"tag:{it}" for it in "abc"]
    with world.engine.begin() as rows:
        for name in names:
            write(rows, name, EVEN)
        bitmaps.load(rows, TENANT, names[:2])
        bitmaps.load(rows, TENANT, names[:1])
        bitmaps.load(rows, TENANT, names[2:])  # in place of the second
        before = kept.read
        bitmaps.load(rows, TENANT, (names[0], names[2]))
        assert kept.read == before
        assert bitmaps.load(rows, TENANT, names[1:2]) == {names[1]: EVEN}
        assert kept.read == before + 1


def test_without_the_digest_an_old_set_would_be_answered(world: World, kept: Watched) -> None:
    """The control: what is kept is believed where PostgreSQL says that it is the same."""
    with world.engine.begin() as rows:
        write(rows, "tag:a", BitMap((8,)))
        bitmaps.load(rows, TENANT, ("tag:a",))
        key = TENANT, "tag:a", 0
        kept._kept[key] = kept._kept[key]._replace(members=BitMap((4,)))
        assert bitmaps.load(rows, TENANT, ("tag:a",))["tag:a"] == BitMap((4,))
        assert sql.fetch(rows, "SELECT count(*) FROM bitmaps WHERE digest <> sha256(members)") == [(0,)]
