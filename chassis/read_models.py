"""The reading side: queries on the live builds, for the tenant of the caller and as of one moment.

`read_models = ReadModels(reader_dsn)`; `await read_models.query(lambda rows: ...)`; `await read_models.wait_for(position)`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Final, TypeVar

import sqlalchemy as sa

from chassis import context
from chassis.errors import ProjectionLagging
from chassis.postgres import create_engine

T = TypeVar("T")

_ENTER: Final = sa.text(
    "SELECT set_config('scrm.tenant', :tenant, true), set_config('search_path', concat_ws(', ',"
    " (SELECT string_agg(quote_ident(schema), ', ' ORDER BY name) FROM projections WHERE live), 'public'), true)"
)
_REACHED: Final = sa.text("SELECT min(position) FROM projections WHERE live AND source = 'events'")
_POLL_SECONDS: Final = 0.01


class ReadModels:
    """Read-only access under the reader's role, which sees the rows of one tenant at a time."""

    def __init__(self, reader_dsn: str, *, pool_size: int = 8, statement_seconds: float = 30) -> None:
        self._engine = create_engine(reader_dsn, pool_size=pool_size).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._threads = ThreadPoolExecutor(pool_size, thread_name_prefix="read")
        self._timeout = sa.text(f"SET LOCAL statement_timeout = {int(statement_seconds * 1000)}")
        self._reached = 0
        self._looking: asyncio.Future[int | None] | None = None

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._engine.dispose()

    async def query(self, ask: Callable[[sa.Connection], T]) -> T:
        """What `ask` returns, in the context of the call and in one snapshot: which build of a read model serves is part of it."""
        tenant, inside = context.current().tenant, copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, inside.run, self.query_now, ask, tenant)

    def query_now(self, ask: Callable[[sa.Connection], T], tenant: str) -> T:
        """`query` in the calling thread."""
        with self._engine.begin() as rows:
            rows.execute(_ENTER, {"tenant": tenant})
            return ask(rows)

    async def wait_for(self, position: int, seconds: float = 5) -> None:
        """Until every read model has seen the event at `position`; ProjectionLagging if that takes longer than `seconds`.

        Where there is none yet there is nothing to wait for, this time.
        """
        try:
            async with asyncio.timeout(seconds):
                while self._reached < position:
                    found = await asyncio.shield(self._look())
                    if found is None:
                        return
                    self._reached = found
                    if found < position:
                        await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise ProjectionLagging(position=position, reached=self._reached) from None

    def _look(self) -> "asyncio.Future[int | None]":
        """One look at the database for all who wait."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().run_in_executor(self._threads, self._look_now)
        return self._looking

    def _look_now(self) -> int | None:
        with self._engine.begin() as rows:
            reached: int | None = rows.scalar(_REACHED)
        return reached
