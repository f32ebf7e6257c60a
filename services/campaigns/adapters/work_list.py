"""What waits for the dispatcher, looked up in PostgreSQL."""

import sqlalchemy as sa

from chassis.quick_look import QuickLook
from services.campaigns.application.ports import Backlog

# From one tenant to the next by the index, however much waits for each; DISTINCT would read all of it.
_TENANTS = (
    "{name} AS ((SELECT tenant FROM {table} ORDER BY tenant LIMIT 1) UNION ALL"
    " SELECT (SELECT t.tenant FROM {table} t WHERE t.tenant > {name}.tenant ORDER BY t.tenant LIMIT 1)"
    " FROM {name} WHERE tenant IS NOT NULL)"
)
_PENDING = (
    f"WITH RECURSIVE {_TENANTS.format(name='due', table='credits_due')}, {_TENANTS.format(name='sends', table='flow_sends')}"  # noqa: S608
    " SELECT 'broadcast', tenant, broadcast FROM dispatches"
    " UNION ALL SELECT 'credits', tenant, NULL::uuid FROM due WHERE tenant IS NOT NULL"
    " UNION ALL SELECT 'flows', tenant, NULL::uuid FROM sends WHERE tenant IS NOT NULL"
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
