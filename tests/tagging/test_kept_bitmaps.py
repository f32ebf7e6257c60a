"""Sets that are kept in memory are those of the transaction that asks, and are read again only when they are others."""

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.ports import Change
from services.tagging.read_models import bitmaps, sql
from services.tagging.read_models.kept_bitmaps import KeptBitmaps
from tests.tagging.world import TENANT, World

FAR = BitMap((1, 2, 70_000, 200_000))


class Watched(KeptBitmaps):
    """Notes how many chunks were read."""

    def __init__(self, limit: int = 2**20) -> None:
        super().__init__(limit)
        self.chunks = 0

    def _keep(self, key: tuple[str, str], chunks: object) -> BitMap:
        several = list(chunks)  # type: ignore[call-overload]
        self.chunks += len(several)
        return super()._keep(key, several)


def write(rows: sa.Connection, name: str, members: BitMap, tenant: str = TENANT) -> None:
    before = bitmaps.load(rows, tenant, (name,))[name]
    bitmaps.change(rows, tenant, {name: Change(members - before, before - members)})


def test_what_is_the_same_is_not_read_again_and_what_is_not_is(world: World) -> None:
    kept = Watched()
    with world.engine.begin() as rows:
        write(rows, "tag:a", FAR)
        write(rows, "tag:b", BitMap((5,)))
    for _ in range(3):
        with world.engine.connect() as rows:
            found = kept.load(rows, TENANT, ("tag:a", "tag:b", "tag:none"))
            assert found == {"tag:a": FAR, "tag:b": BitMap((5,)), "tag:none": BitMap()}
    assert kept.chunks == 4
    with world.engine.begin() as rows:
        write(rows, "tag:b", BitMap((6,)))
    with world.engine.connect() as rows:
        assert kept.load(rows, TENANT, ("tag:a", "tag:b"))["tag:b"] == BitMap((6,))
    assert kept.chunks == 5
    with world.engine.begin() as rows:
        write(rows, "tag:b", BitMap())
        assert kept.load(rows, TENANT, ("tag:b",)) == {"tag:b": BitMap()}


def test_a_transaction_that_is_undone_leaves_nothing_behind(world: World) -> None:
    kept = Watched()
    with world.engine.connect() as rows:
        undone = rows.begin()
        write(rows, "tag:a", FAR)
        assert kept.load(rows, TENANT, ("tag:a",))["tag:a"] == FAR
        undone.rollback()
        assert kept.load(rows, TENANT, ("tag:a",))["tag:a"] == BitMap()
        write(rows, "tag:a", BitMap((9,)))
        assert kept.load(rows, TENANT, ("tag:a",))["tag:a"] == BitMap((9,))


def test_who_asks_gets_a_set_of_its_own_and_of_its_own_tenant(world: World) -> None:
    kept = Watched()
    with world.engine.begin() as rows:
        write(rows, "tag:a", FAR)
        write(rows, "tag:a", BitMap((3,)), tenant="other")
        for _ in range(2):
            found = kept.load(rows, TENANT, ("tag:a",))["tag:a"]
            assert found == FAR
            found.clear()
            assert kept.load(rows, "other", ("tag:a",))["tag:a"] == BitMap((3,))


def test_the_ones_asked_for_longest_ago_make_room(world: World) -> None:
    one = len(bitmaps.pack(BitMap(range(0, 3000, 2))))
    kept = Watched(limit=2 * one)
    names = [f"tag:{it}" for it in "abc"]
    with world.engine.begin() as rows:
        for name in names:
            write(rows, name, BitMap(range(0, 3000, 2)))
        kept.load(rows, TENANT, names[:2])
        kept.load(rows, TENANT, names[:1])
        kept.load(rows, TENANT, names[2:])  # in place of the second
        assert kept.chunks == 3
        kept.load(rows, TENANT, (names[0], names[2]))
        assert kept.chunks == 3
        assert kept.load(rows, TENANT, names[1:2]) == {names[1]: BitMap(range(0, 3000, 2))}
        assert kept.chunks == 4


def test_without_the_digest_an_old_set_would_be_answered(world: World) -> None:
    """The control: what is kept is believed where PostgreSQL says that it is the same."""
    kept = Watched()
    with world.engine.begin() as rows:
        write(rows, "tag:a", FAR)
        kept.load(rows, TENANT, ("tag:a",))
        version, _, size = kept._kept[TENANT, "tag:a"]
        kept._kept[TENANT, "tag:a"] = type(kept._kept[TENANT, "tag:a"])(version, BitMap((4,)), size)
        assert kept.load(rows, TENANT, ("tag:a",))["tag:a"] == BitMap((4,))
        assert sql.fetch(rows, "SELECT count(*) FROM bitmaps WHERE digest <> sha256(members)") == [(0,)]
