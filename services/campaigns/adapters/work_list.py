"""What waits for the dispatcher, looked up in PostgreSQL."""

import sqlalchemy as sa

from chassis.quick_look import QuickLook
from services.campaigns.application.ports import Backlog

_PENDING = (
    "SELECT 'broadcast', tenant, broadcast FROM dispatches"
    " UNION ALL SELECT DISTINCT 'credits', tenant, NULL::uuid FROM credits_due"
    " UNION ALL SELECT DISTINCT 'flows', tenant, NULL::uuid FROM flow_sends"
)


class SqlWorkList:
    """All tenants; `engine` is the writer's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._look = QuickLook.of(engine)

    async def pending(self) -> Backlog:
        found = await self._look.ask(_PENDING)
        return Backlog(
            broadcasts=[(tenant, broadcast) for what, tenant, broadcast in found if what == "broadcast"],
            tenants=[tenant for what, tenant, _ in found if what == "credits"],
            senders=[tenant for what, tenant, _ in found if what == "flows"],
        )
