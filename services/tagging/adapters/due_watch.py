"""A loop that works off timers whose command takes longer to prepare than a commit may: one after the other, beside the writer."""

from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa
import structlog

from chassis import context as contexts
from chassis.clock import Clock
from chassis.context import Context
from chassis.due_times import Timer
from chassis.errors import TRANSIENT, DomainError
from chassis.group_commit import OUTAGES
from chassis.leadership import leading, persevere
from chassis.loops import Progress
from chassis.postgres import reading
from chassis.pulse import News, Pulse
from chassis.quick_look import QuickLook
from chassis.threads import in_thread

_log = structlog.get_logger(__name__)

_DUE: Final = sa.text(
    "SELECT tenant, kind, key, due_at, payload FROM timers WHERE kind = :kind AND due_at <= :now ORDER BY due_at LIMIT 1"
)
_COUNT: Final = "SELECT count(*) FROM timers WHERE kind = %(kind)s AND due_at <= %(now)s"


class DueWatch:
    """Gives `work` each timer of `kind` that is due, in the context of its tenant; the command of `work` takes the timer away. What
    cannot be done is given to `pass_over`, which takes it away too, so that nothing waits behind it for ever.

    `done` counts timers.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        work: Callable[[Timer], Awaitable[None]],
        pass_over: Callable[[Timer], Awaitable[None]],
        engine: sa.Engine,
        clock: Clock,
        *,
        poll: float = 0.05,
        pulse: Pulse | None = None,
    ) -> None:
        self.name = name
        self.done = 0
        self._kind = kind
        self._work = work
        self._pass_over = pass_over
        self._engine = engine
        self._clock = clock
        self._poll = poll
        self._news = (pulse or Pulse()).listener(News.TIMERS)

    async def run(self) -> None:
        """Work whenever this loop leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        return [Progress("loop", self.name, self.done, await self._waiting())]

    async def step(self) -> bool:
        """Do what has waited longest; whether there was anything."""
        if not await self._waiting():
            return False
        due = await in_thread(self._due)
        if due is None:
            return False
        tenant, timer = due
        with contexts.entered(Context.system(tenant, self.name)):
            await self._do(timer)
        self.done += 1
        return True

    async def _waiting(self) -> int:
        """How many timers are due, asked together with what else this process asks at the moment."""
        values = {"kind": self._kind, "now": self._clock.now()}
        return await QuickLook.of(self._engine).ask_scalar(_COUNT, values) or 0

    async def _do(self, timer: Timer) -> None:
        try:
            await self._work(timer)
        except (*TRANSIENT, *OUTAGES):
            raise
        except Exception as failure:  # noqa: BLE001 (whatever is wrong with one timer, those behind it are done)
            reason = failure.reason if isinstance(failure, DomainError) else type(failure).__name__
            _log.warning("timer.passed_over", loop=self.name, key=timer.key, reason=reason)
            await self._pass_over(timer)

    async def _lead(self) -> None:
        async with leading(self._engine, f"tagging/{self.name}") as leadership:
            await leadership.work(self.step, lambda: self._news.wait(self._poll))

    def _due(self) -> tuple[str, Timer] | None:
        with reading(self._engine) as rows:
            found = rows.execute(_DUE, {"kind": self._kind, "now": self._clock.now()}).one_or_none()
        return None if found is None else (found.tenant, Timer(found.kind, found.key, found.due_at, found.payload))
