"""What waits for the dispatcher, looked up in PostgreSQL."""

import sqlalchemy as sa

from chassis.quick_look import QuickLook
from services.campaigns.application.ports import Backlog

_PENDING = "SELECT tenant, broadcast FROM dispatches UNION ALL SELECT DISTINCT tenant, NULL::uuid FROM credits_due"


class SqlWorkList:
    """All tenants; `engine` is the writer's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._look = QuickLook.of(engine)

    async def pending(self) -> Backlog:
        found = await self._look.ask(_PENDING)
        return Backlog(
            broadcasts=[(tenant, broadcast) for tenant, broadcast in found if broadcast],
            tenants=[tenant for tenant, broadcast in found if broadcast is None],
        )
