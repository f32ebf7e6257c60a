"""What waits for the dispatcher, looked up in PostgreSQL."""

import asyncio

import sqlalchemy as sa

from services.campaigns.application.ports import Backlog

_PENDING = sa.text(
    "SELECT tenant, broadcast FROM dispatches UNION ALL SELECT DISTINCT tenant, NULL::uuid FROM credits_due"
)


class SqlWorkList:
    """All tenants; `engine` is the writer's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    async def pending(self) -> Backlog:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Backlog:
        with self._engine.connect() as rows:
            found = rows.execute(_PENDING).all()
        return Backlog(
            broadcasts=[(tenant, broadcast) for tenant, broadcast in found if broadcast],
            tenants=[tenant for tenant, broadcast in found if broadcast is None],
        )
