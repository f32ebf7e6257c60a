"""Read models: the same rows however they came about, built anew while they are read, and one tenant at a time."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.aggregate import natural_id
from chassis.builds import Projection, canonical_hash
from chassis.commands import UnitOfWork
from chassis.consumer import Incoming
from chassis.context import Context, entered
from chassis.errors import ProjectionLagging
from chassis.log import Recorded
from chassis.projection import AlreadyRebuilding, Projector, Source
from chassis.read_models import ReadModels
from deploy.local.broker import NatsServer
from tests.chassis.accounts import Account
from tests.chassis.consuming import Credit, Desk, credit, opened
from tests.chassis.streams import NOON, connected, fill, number_in, running, saying, settled, until
from tests.conftest import Migrated

CUT = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Balances:
    """A row per account; from version 2 on the deposits are counted as well."""

    name = "balances"
    source: Source = "events"

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.tables = sa.MetaData()
        self.table = sa.Table(
            "balances",
            self.tables,
            sa.Column("tenant", sa.Text, primary_key=True),
            sa.Column("account_id", sa.Uuid, primary_key=True),
            sa.Column("balance", sa.BigInteger, nullable=False),
            *([sa.Column("deposits", sa.BigInteger, nullable=False)] if version > 1 else []),
        )

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        for it in items:
            match it.event:
                case Account.Deposited(amount=amount):
                    self._add(rows, it, amount)

    def _add(self, rows: sa.Connection, it: Recorded, amount: int) -> None:
        values = {"tenant": it.tenant, "account_id": it.event.originator_id, "balance": amount}
        more = {"balance": self.table.c.balance + amount}
        if self.version > 1:
            values["deposits"] = 1
            more["deposits"] = self.table.c.deposits + 1
        keys = ["tenant", "account_id"]
        rows.execute(insert(self.table).values(values).on_conflict_do_update(index_elements=keys, set_=more))


class Sums:
    """The same out of the inbox."""

    name, version = "sums", 1
    source: Source = "inbox"
    tables = sa.MetaData()
    table = sa.Table(
        "sums",
        tables,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("total", sa.BigInteger, nullable=False),
    )

    def apply(self, items: Sequence[Incoming], rows: sa.Connection) -> None:
        for it in items:
            values = {"tenant": it.tenant, "key": it.key, "total": number_in(it)}
            keys, more = ["tenant", "key"], {"total": self.table.c.total + number_in(it)}
            rows.execute(insert(self.table).values(values).on_conflict_do_update(index_elements=keys, set_=more))


@pytest.fixture
def desk(migrated: Migrated) -> Iterator[Desk]:
    with opened(migrated("projection", None)) as desk:
        yield desk


@pytest.fixture
def read_models(desk: Desk) -> Iterator[ReadModels]:
    made = ReadModels(desk.database.reader_dsn)
    yield made
    made.close()


def projector(desk: Desk, *projections: Any, **options: Any) -> Projector:
    chosen: list[Any] = list(projections) or [Balances()]
    return Projector(chosen, desk.engine, desk.store, poll=0.005, **options)


async def deposits(desk: Desk, count: int, accounts: int = 20, tenant: str = "acme", each: int = 1) -> None:
    """`count` deposits in one transaction."""

    def deposit(work: UnitOfWork) -> None:
        for n in range(count):
            credit(Credit(natural_id(tenant, "account", n % accounts), each), work)

    await desk.bus.effect(deposit, Context.system(tenant, "test"))


async def asked(read_models: ReadModels, sql: str, tenant: str = "acme") -> Any:
    with entered(Context.system(tenant, "test")):
        return await read_models.query(lambda rows: rows.execute(sa.text(sql)).all())


def test_whoever_reads_before_there_is_a_read_model_waits_for_it_afterwards(
    loop: Any, desk: Desk, read_models: ReadModels
) -> None:
    async def scenario() -> None:
        await read_models.wait_for(5)
        async with running(following := projector(desk)):
            await until(lambda: settled(following))
        with pytest.raises(ProjectionLagging):
            await read_models.wait_for(5, seconds=0.05)

    loop.run_until_complete(scenario())


def test_a_read_model_follows_the_log(loop: Any, desk: Desk, read_models: ReadModels) -> None:
    async def scenario() -> None:
        await deposits(desk, 100)
        async with running(one := projector(desk)):
            await until(lambda: settled(one))
            await deposits(desk, 40)
            await read_models.wait_for(desk.store.head())
            (row,) = await asked(read_models, "SELECT count(*), sum(balance) FROM balances")
        assert tuple(row) == (20, 140)

    loop.run_until_complete(scenario())


def test_a_reader_sees_its_own_tenant_only_and_nothing_but_read_models(
    loop: Any, desk: Desk, read_models: ReadModels
) -> None:
    async def scenario() -> None:
        await deposits(desk, 10)
        await deposits(desk, 4, tenant="globex", each=5)
        async with running(one := projector(desk)):
            await until(lambda: settled(one))
        assert (await asked(read_models, "SELECT sum(balance) FROM balances"))[0][0] == 10
        assert (await asked(read_models, "SELECT sum(balance) FROM balances", "globex"))[0][0] == 20
        assert (await asked(read_models, "SELECT sum(balance) FROM balances", "nobody"))[0][0] is None
        for table in ("stored_events", "receipts", "inbox", "parked", "timers", "consumer_positions"):
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                await asked(read_models, f"SELECT * FROM {table}")

    loop.run_until_complete(scenario())


def test_a_table_without_a_tenant_is_refused(desk: Desk) -> None:
    projection: Any = Balances()
    projection.tables = sa.MetaData()
    sa.Table("loose", projection.tables, sa.Column("id", sa.Integer, primary_key=True))
    with pytest.raises(ValueError, match="no column tenant"):
        projector(desk, projection)._ensure_live(projection)


def test_waiting_for_a_position_that_does_not_come_ends(loop: Any, desk: Desk, read_models: ReadModels) -> None:
    async def scenario() -> None:
        projector(desk)._ensure_live(Balances())
        with pytest.raises(ProjectionLagging):
            await read_models.wait_for(1, seconds=0.05)

    loop.run_until_complete(scenario())


class Witness:
    """Reads without pause, and remembers every answer."""

    def __init__(self, read_models: ReadModels, sql: str) -> None:
        self.by_reader: list[list[tuple[Any, ...]]] = []
        self._read_models = read_models
        self._sql = sql

    @property
    def answers(self) -> list[tuple[Any, ...]]:
        return [it for answers in self.by_reader for it in answers]

    async def read_on(self) -> None:
        self.by_reader.append(answers := [])
        while True:
            (row,) = await asked(self._read_models, self._sql)
            answers.append(tuple(row))

    @asynccontextmanager
    async def reading(self, readers: int = 2) -> AsyncIterator[None]:
        """Fails when one of the reads did."""
        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(self.read_on()) for _ in range(readers)]
            await until(lambda: len(self.answers) > 5)
            yield
            seen = len(self.answers)
            await until(lambda: len(self.answers) > seen + 5)
            for it in started:
                it.cancel()


ONE_MOMENT = (
    "SELECT (SELECT sum(balance) FROM balances), (SELECT current_setting('search_path')),"
    " (SELECT position FROM projections WHERE name = 'balances' AND live)"
)


def test_a_rebuild_under_readers_and_writers_gives_the_same_rows_without_an_error_or_a_mixed_answer(
    loop: Any, desk: Desk, read_models: ReadModels
) -> None:
    async def scenario() -> None:
        await deposits(desk, 2_000)
        one = projector(desk, batch_limit=100)
        async with running(one):
            await until(lambda: settled(one))
            before = one.canonical_hash("balances")
            witness = Witness(read_models, ONE_MOMENT)
            async with witness.reading():
                rebuilding = asyncio.create_task(one.rebuild("balances"))
                for _ in range(5):
                    await deposits(desk, 100)
                build = await rebuilding
                await until(lambda: settled(one))
        rebuilt = one.canonical_hash("balances")
        async with running(again := projector(desk)):
            await again.rebuild("balances")
            await until(lambda: settled(again))
        assert again.canonical_hash("balances") == rebuilt != before
        for answers in witness.by_reader:
            sums = [int(it[0]) for it in answers]
            assert sums == sorted(sums), "no answer is older than one before"
        assert {it[1].split(",")[0] for it in witness.answers} == {"balances_v1_b1", build.schema}
        assert all(int(total) == opened_and_deposited(position) for total, _, position in witness.answers)

    def opened_and_deposited(position: int) -> int:
        """Of the first `position` events 20 open accounts, the others deposit 1."""
        return position - 20

    loop.run_until_complete(scenario())


def test_a_higher_version_is_built_beside_the_live_one_and_takes_over(
    loop: Any, desk: Desk, read_models: ReadModels
) -> None:
    async def scenario() -> None:
        await deposits(desk, 500)
        async with running(old := projector(desk)):
            await until(lambda: settled(old))
            witness = Witness(read_models, "SELECT count(*), sum(balance) FROM balances")
            async with witness.reading(1):
                new = projector(desk, Balances(version=2))
                async with running(new):
                    await until(lambda: settled(new))
                    await deposits(desk, 60)
                    await until(lambda: settled(new))
        (row,) = await asked(read_models, "SELECT sum(balance), sum(deposits) FROM balances")
        assert tuple(row) == (560, 560)
        assert {it[0] for it in witness.answers} == {20}
        (progress,) = await new.progress()
        assert progress.version == 2

    loop.run_until_complete(scenario())


def test_an_older_version_of_the_code_leaves_a_newer_build_alone(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        new = projector(desk, Balances(version=2))
        async with running(new):
            await until(lambda: settled(new))
        await deposits(desk, 10)
        async with running(old := projector(desk)), running(new):
            await until(lambda: settled(new))
        assert old.applied == 0

    loop.run_until_complete(scenario())


def test_two_projectors_do_not_work_on_the_same_build(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        one, other = projector(desk, batch_limit=10), projector(desk, batch_limit=10)
        async with running(one, other):
            for _ in range(10):
                await deposits(desk, 50)
            await until(lambda: settled(one, other))
        assert one.applied + other.applied == desk.store.head()
        assert 0 in (one.applied, other.applied)

    loop.run_until_complete(scenario())


def test_only_one_rebuild_of_a_read_model_goes_on_at_a_time(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        await deposits(desk, 3_000)
        one, other = projector(desk, batch_limit=50), projector(desk)
        first = asyncio.create_task(one.rebuild("balances"))
        await until(lambda: one.applied > 0)
        with pytest.raises(AlreadyRebuilding):
            await other.rebuild("balances")
        await first

    loop.run_until_complete(scenario())


def test_interruptions_at_random_points_do_not_show_in_the_rows(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        chance = random.Random(7)
        for _ in range(5):
            await deposits(desk, 400)
            async with running(one := projector(desk, batch_limit=25)):
                target = chance.randrange(50, 350)
                await until(lambda target=target: one.applied >= target)  # type: ignore[misc]
                with desk.engine.connect() as rows:
                    rows.execute(CUT)
        async with running(last := projector(desk)):
            await until(lambda: settled(last))
        live = last.canonical_hash("balances")
        await last.rebuild("balances")
        assert last.canonical_hash("balances") == live

    loop.run_until_complete(scenario())


def test_a_projection_that_forgets_its_position_is_found_out_by_the_hash(
    loop: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above: rows that commit without their position are applied twice."""

    async def scenario() -> None:
        await deposits(desk, 100)
        one = projector(desk, batch_limit=25)
        build = one._ensure_live(one._projections["balances"])
        entries = one._sources["events"].read(0, 30)
        with desk.engine.begin() as rows:
            rows.exec_driver_sql(f"SET LOCAL search_path TO {build.schema}")
            one._projections["balances"].apply([it for _, it in entries], rows)
        async with running(one):
            await until(lambda: settled(one))
        live = one.canonical_hash("balances")
        await one.rebuild("balances")
        assert one.canonical_hash("balances") != live

    loop.run_until_complete(scenario())


def test_a_reader_that_takes_ids_as_they_appear_misses_some(desk: Desk) -> None:
    """The negative control of the log's order: without the lock a later id may be visible before an earlier one."""
    with desk.engine.connect() as slow, desk.engine.connect() as fast:
        slow.exec_driver_sql(_NAIVE, ([uuid4()],))
        fast.exec_driver_sql(_NAIVE, ([uuid4()],))
        fast.commit()
        seen = desk.store.head()
        slow.commit()
    with desk.engine.connect() as rows:
        after = rows.scalar(sa.text("SELECT count(*) FROM stored_events WHERE notification_id > :seen"), {"seen": seen})
    assert after == 0
    assert desk.count() == 2


_NAIVE = (
    "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
    " SELECT id, 1, 'x', '' FROM unnest(%s::uuid[]) AS id"
)


def test_builds_that_no_longer_serve_are_dropped_later(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        await deposits(desk, 10)
        async with running(one := projector(desk, drop_after_seconds=0.0)):
            await until(lambda: settled(one))
            await one.rebuild("balances")
            await until(lambda: desk.count("projections") == 1)
            query = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'balances%'"
            with desk.engine.connect() as rows:
                assert rows.scalar(sa.text(query)) == 1

    loop.run_until_complete(scenario())


def test_a_read_model_of_other_services_messages_is_rebuilt_from_the_inbox(
    loop: Any, desk: Desk, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        projection: Projection = Sums()
        one = projector(desk, projection)
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n, f"k{n % 7}") for n in range(1, 501)])
            consumer = desk.consumer(broker, lambda message: [], keep=True)
            async with running(consumer, one):
                await until(lambda: settled(consumer, one))
        live = canonical_hash(desk.engine, projection)
        await one.rebuild("sums")
        assert canonical_hash(desk.engine, projection) == live
        assert one.applied == 1_000

    loop.run_until_complete(scenario())


def test_the_hash_covers_every_value(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        await deposits(desk, 10)
        async with running(one := projector(desk)):
            await until(lambda: settled(one))
        before = one.canonical_hash("balances")
        with desk.engine.begin() as rows:
            rows.exec_driver_sql(
                "UPDATE balances_v1_b1.balances SET balance = balance + 1"
                " WHERE account_id = (SELECT account_id FROM balances_v1_b1.balances LIMIT 1)"
            )
        assert one.canonical_hash("balances") != before

    loop.run_until_complete(scenario())


def test_time_of_the_store_is_that_of_the_clock(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        desk.clock.set(NOON + timedelta(days=3))
        await deposits(desk, 1)
        assert desk.store.read_log(0, 1)[0].recorded_at == NOON + timedelta(days=3)

    loop.run_until_complete(scenario())


class Counted(Balances):
    """The deposits of each account; refuses an entry as often as it is told to."""

    name = "counted"

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        super().apply(items, rows)
        if self.failures:
            self.failures -= 1
            raise RuntimeError("cannot be read")


async def together(desk: Desk, one: Projector) -> bool:
    """Whether the batch after one more deposit took one transaction for all read models."""
    await deposits(desk, 1, accounts=1)
    await until(lambda: settled(one))
    with desk.engine.connect() as rows:
        return len(set(rows.scalars(sa.text("SELECT xmin::text FROM projections")))) == 1


def test_read_models_of_one_log_advance_in_one_transaction(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        async with running(one := projector(desk, Balances(), Counted())):
            await until(lambda: together(desk, one))
            for _ in range(5):
                assert await together(desk, one)
        assert one.canonical_hash("balances") == one.canonical_hash("counted")

    loop.run_until_complete(scenario())


def test_a_read_model_that_fails_is_left_behind_and_joins_the_others_again(loop: Any, desk: Desk) -> None:
    async def scenario() -> None:
        counted = Counted()
        async with running(one := projector(desk, Balances(), counted)):
            await until(lambda: together(desk, one))
            counted.failures = 4
            await deposits(desk, 50)
            await until(lambda: at_head(one, "balances"))
            assert counted.failures > 0, "the others do not wait for it"
            await until(lambda: settled(one))
            await until(lambda: together(desk, one))
        assert counted.failures == 0
        assert one.canonical_hash("balances") == one.canonical_hash("counted")

    async def at_head(one: Projector, name: str) -> bool:
        return next(it.backlog for it in await one.progress() if it.name == name) == 0

    loop.run_until_complete(scenario())
