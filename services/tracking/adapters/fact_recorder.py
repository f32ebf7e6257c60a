"""The loop that follows behaviours and records the facts behind them: who came by a channel code, and who is in a group.

`FactRecorder(bus, engine)` is a `Loop`. The facts and its cursor commit in one transaction, so that each behaviour counts once.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson
import sqlalchemy as sa

from chassis.commands import CommandBus, Unit
from chassis.context import Context
from chassis.group_commit import Outcome
from chassis.leadership import leading, persevere
from chassis.loops import Progress
from chassis.postgres import driver_cursor, reading
from chassis.pulse import News, Pulse
from chassis.quick_look import QuickLook
from chassis.threads import in_thread
from services.tracking.application.facts import BehaviourFact, commands_of

MOST_BEHAVIOURS: Final = 1000

_WANTED: Final = (
    "(event_type IN ('oa_subscribed', 'oa_unsubscribed', 'qr_scanned', 'wecom_friend_added', 'wecom_friend_deleted')"
    " OR group_id <> '')"
)
_CURSOR: Final = "SELECT position FROM resolver_cursor WHERE name = 'facts'"
_READ: Final = sa.text(
    "SELECT position, tenant, node, event_type, occurred_at, app, code_key, staff_code, group_id, properties"  # noqa: S608
    f" FROM behaviours WHERE {_WANTED} AND position > :after ORDER BY position LIMIT :limit"
)
_HEAD: Final = f"SELECT coalesce(max(position), 0) FROM behaviours WHERE {_WANTED}"  # noqa: S608
_WAITING: Final = f"SELECT ({_HEAD}) > ({_CURSOR})"
_MOVE: Final = "UPDATE resolver_cursor SET position = %s WHERE name = 'facts' AND position = %s"


class FactsTaken(Exception):
    """Somebody else recorded these facts meanwhile."""


class FactRecorder:
    """`recorded` counts the behaviours it has looked at."""

    name = "facts"

    def __init__(self, bus: CommandBus, engine: sa.Engine, *, poll: float = 0.05, pulse: Pulse | None = None) -> None:
        self.recorded = 0
        self._bus = bus
        self._engine = engine
        self._poll = poll
        self._news = (pulse or Pulse()).listener(News.BESIDE)

    async def run(self) -> None:
        """Record whenever this one leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """`position` is the last behaviour recorded, `head` the last one there is."""
        look = QuickLook.of(self._engine)
        asked = look.ask_scalar(_CURSOR), look.ask_scalar(_HEAD)
        position, head = await asked[0] or 0, await asked[1]
        return [Progress("loop", self.name, position, max(0, head - position), head)]

    async def step(self) -> int:
        """Record the next behaviours; how many there were. Raises DomainError for what passes, such as a lost race."""
        if not await QuickLook.of(self._engine).ask_scalar(_WAITING):
            return 0
        was, facts = await in_thread(self.read)
        if facts:
            outcomes = await self._bus.run(self._unit(was, facts))
            self._concluded(facts, outcomes)
        return len(facts)

    def step_now(self) -> int:
        """`step` in the calling thread."""
        was, facts = self.read()
        if facts:
            self._concluded(facts, self._bus.run_now(self._unit(was, facts)))
        return len(facts)

    def read(self) -> tuple[int, list[BehaviourFact]]:
        """The cursor, and the behaviours behind it."""
        with reading(self._engine) as rows:
            after = rows.exec_driver_sql(_CURSOR).scalar_one()
            found = rows.execute(_READ, {"after": after, "limit": MOST_BEHAVIOURS}).all()
        return after, [BehaviourFact(*(*known, orjson.loads(properties))) for *known, properties in found]

    def _unit(self, was: int, facts: Sequence[BehaviourFact]) -> Unit:
        def settle(rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
            for outcome in outcomes:
                if outcome.error:
                    raise outcome.error
            with driver_cursor(rows) as cursor:
                if cursor.execute(_MOVE, [facts[-1].position, was]).rowcount != 1:
                    raise FactsTaken

        items: list[tuple[Context, Any]] = [
            (Context.system(tenant, self.name), command) for tenant, command in commands_of(facts)
        ]
        return Unit(items, settle)

    def _concluded(self, facts: Sequence[BehaviourFact], outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.error:
                raise outcome.error
        self.recorded += len(facts)

    async def _lead(self) -> None:
        async with leading(self._engine, "tracking/facts") as leadership:
            await leadership.work(self.step, lambda: self._news.wait(self._poll))
