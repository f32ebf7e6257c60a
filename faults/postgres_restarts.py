"""Restarts of PostgreSQL under load, half of them by SIGKILL: services heal by themselves and nothing gets stuck.

The stock subscription of the library, which LISTENs, is over after the first.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic, perf_counter, sleep
from typing import Final

import psycopg

from deploy.local.postgres import Postgres
from faults import judging, stock
from faults.stage import Stage, opened
from faults.verdict import Control, Scale, Verdict

BAR_SECONDS: Final = 5.0
CROSSING_SECONDS: Final = 1.0
RESTARTS: Final = {Scale.FULL: 20, Scale.SMALL: 3}
SERVICES: Final = {
    Scale.FULL: ("identity", "tracking", "tagging", "membership"),
    Scale.SMALL: ("identity", "membership"),
}
CALM_SECONDS: Final = (0.3, 1.2)
IDLE_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 5.0
_STOCK: Final = "stock_subscription"


@dataclass(slots=True)
class Listener:
    """Somebody who follows the stock subscription; `end` is what it ended with."""

    received: list[int] = field(default_factory=list)
    end: BaseException | None = None

    def wait_for(self, count: int) -> bool:
        """Whether so many events arrive in time; it is no use waiting for a subscription that has ended."""
        give_up = monotonic() + _PATIENCE_SECONDS
        while len(self.received) < count and self.end is None and monotonic() < give_up:
            sleep(0.01)
        return len(self.received) >= count


def run(scale: Scale) -> Verdict:
    with opened("postgres_restarts", SERVICES[scale]) as stage, _listening(stage.stack.postgres) as listener:
        pids = {name: stage.stack.pid(name) for name in stage.stack.services}
        stage.traffic.start()
        found = [_restart(stage, number) for number in range(RESTARTS[scale])]
        stage.traffic.finish()
        stage.caller.rest()
        finding = judging.judge(stage.brand, stage.stack)
        finding.add(stage.findings())
        finding.require_equal(
            "the set of processes", {name: stage.stack.pid(name) for name in pids if _runs(stage, name)}, pids
        )
        acknowledged, repeats = stage.journal.counts(), stage.caller.repeats
        control = _control(stage.stack.postgres, listener)
    healed, crossed = max(it.healed for it in found), max(it.crossed for it in found)
    late = f"after an idle moment one event takes {crossed:.2f} s, more than {CROSSING_SECONDS:g} s"
    return Verdict(
        fault="postgres_restarts",
        done=f"{len(found)} restarts under load, every other one by SIGKILL, with {len(pids)} services",
        acknowledged=sum(acknowledged.values()),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        worst=healed,
        bar=BAR_SECONDS,
        control=control,
        problems=[*finding.lost[:5], *finding.doubled[:5], *finding.problems],
        slow=[late] if crossed > CROSSING_SECONDS else [],
        figures={"worst idle-then-one-event, s": crossed, "requests sent again": repeats},
    )


@dataclass(frozen=True, slots=True)
class Restart:
    """Seconds from PostgreSQL being up until everything works, and those an event takes from service to service after a rest."""

    healed: float
    crossed: float


def _restart(stage: Stage, number: int) -> Restart:
    sleep(stage.dice.uniform(*CALM_SECONDS))  # so that the moment is any moment
    server = stage.stack.postgres
    if number % 2:
        server.kill()
    else:
        server.child.stop(signal.SIGQUIT)  # immediate: as after a crash, without a checkpoint
    server.child.start()
    server.child.wait_until(lambda: _answers(server))
    up = perf_counter()
    stage.probe("postgres")
    healed = perf_counter() - up
    stage.traffic.pause()
    stage.caller.rest()
    sleep(IDLE_SECONDS)  # long enough for whoever would fall asleep
    crossed = stage.crossing()
    stage.traffic.resume()
    return Restart(healed, crossed)


def _runs(stage: Stage, name: str) -> bool:
    return stage.stack.component(name).child.is_running


def _answers(server: Postgres) -> bool:
    try:
        psycopg.connect(server.dsn("postgres", "postgres"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def _listening(server: Postgres) -> Iterator[Listener]:
    """A stock subscription that works: it has delivered an event."""
    dsn = server.create_database(_STOCK).owner_dsn
    listener = Listener()
    with stock.recorder(dsn) as recorder:
        subscription = recorder.subscribe(gt=0)

        def follow() -> None:
            try:
                for it in subscription:
                    listener.received.append(it.id)
            except BaseException as error:  # noqa: BLE001 - how it ends is what we are here for
                listener.end = error

        follower = Thread(target=follow, daemon=True)
        follower.start()
        stock.append(recorder, [stock.event(1, 1, 1)])
        if not listener.wait_for(1):
            raise AssertionError("the stock subscription does not even work before the restarts")
        try:
            yield listener
        finally:
            with suppress(Exception):
                subscription.stop()
            follower.join(5)


def _control(server: Postgres, listener: Listener) -> Control:
    """One more event for the subscription, appended by somebody else."""
    before: Sequence[int] = list(listener.received)
    with psycopg.connect(server.dsn(_STOCK, "scrm_owner")) as rows:
        event = stock.event(1, 2, 2)
        rows.execute(
            "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (%s, %s, %s, %s)",
            [event.originator_id, event.originator_version, event.topic, event.state],
        )
        rows.execute("NOTIFY stored_events")
    delivered = listener.wait_for(len(before) + 1)
    end = f"ended with {type(listener.end).__name__}" if listener.end else f"is silent after {_PATIENCE_SECONDS:g} s"
    return Control("the stock subscription", "goes on" if delivered else end, not delivered)
