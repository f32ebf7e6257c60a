"""Rolling restarts: every role of every service is replaced under load. No call may fail, nothing may be lost or done twice.

Callers are ours: they know all replicas and send a call again where nobody took it (chassis.grpc_client), and give up after that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, perf_counter, sleep
from typing import Final

from chassis.grpc_client import OPTIONS
from deploy.k8s.parts import SERVE
from deploy.local.stack import SERVICES as ALL
from deploy.local.stack import LocalStack
from faults import judging, read_models
from faults.caller import Caller, Manner
from faults.fleet import Fleet
from faults.journal import Journal
from faults.stage import Stage, played
from faults.traffic import Brand, Traffic
from faults.verdict import Control, Scale, Verdict
from faults.workplace import workplace

SERVICES: Final = {Scale.FULL: ALL, Scale.SMALL: ("identity", "membership")}
_CALLED: Final = ("identity", "tracking", "tagging", "membership")
_NO_RETRIES: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
)
_MOST_KILLS: Final = 5
_PAUSE_SECONDS: Final = 0.3


def run(scale: Scale) -> Verdict:
    with _running(scale) as (stage, fleet):
        stage.traffic.pause_seconds = _PAUSE_SECONDS
        stage.traffic.start()
        _wait_for_facts(stage.journal, 30)
        started = perf_counter()
        fleet.replace_all()
        seconds = perf_counter() - started
        _wait_for_facts(stage.journal, 30)
        stage.traffic.finish()
        stage.caller.watch(fleet.processes)
        stage.caller.rest()
        finding = judging.judge(stage.brand, stage.stack)
        if scale is Scale.FULL:
            finding.add(read_models.judge(stage.stack))
        failed = len(stage.traffic.failures)
        finding.add(stage.findings())
        finding.problems += [it for one in fleet.workloads for it in one.ended_badly]
        acknowledged = stage.journal.counts()
        control = _control(stage.stack, fleet)
    return Verdict(
        fault="rolling",
        done=f"{sum(it.replaced for it in fleet.workloads)} processes of {len(fleet.workloads)} workloads replaced under load",
        acknowledged=sum(acknowledged.values()),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        control=control,
        problems=[*finding.lost[:5], *finding.doubled[:5], *finding.problems],
        figures={"failed calls": failed, "seconds of restarting": seconds},
    )


@contextmanager
def _running(scale: Scale) -> Iterator[tuple[Stage, Fleet]]:
    """The fleet under the callers whose calls may not fail; the traffic has not begun yet."""
    with workplace("rolling") as folder:
        stack = LocalStack(folder, SERVICES[scale])
        fleet = Fleet(stack, apart=scale is Scale.FULL)
        try:
            stack.prepare()
            fleet.start()
            with played("rolling", stack, _caller(stack, fleet, OPTIONS)) as stage:
                yield stage, fleet
        finally:
            fleet.stop()
            stack.stop()


def _caller(stack: LocalStack, fleet: Fleet, options: tuple[tuple[str, object], ...]) -> Caller:
    """Who has no patience: what fails, retries of gRPC included, has failed."""
    called = {name: target for name, target in fleet.targets.items() if name in _CALLED}
    return Caller(stack, Manner(called, options, patience=0))


def _control(stack: LocalStack, fleet: Fleet) -> Control:
    """Processes that are killed instead of stopped, and callers who send nothing again."""
    caller = _caller(stack, fleet, _NO_RETRIES)
    visits = Traffic(Brand(caller, Journal()), only_visits=True, pause_seconds=0)
    workload = fleet.of("identity", SERVE)
    visits.start()
    kills = 0
    while not visits.failures and kills < _MOST_KILLS:
        _wait_for_facts(visits.brand.journal, 20)
        victim = workload.running[kills % len(workload.running)]
        victim.kill()
        kills += 1
        victim.start()
    visits.finish()
    caller.close()
    found = f"{len(visits.failures)} calls fail in {kills} kills"
    return Control("killed, and nothing sent again", found, bool(visits.failures))


def _wait_for_facts(journal: Journal, more: int) -> None:
    enough, give_up = sum(journal.counts().values()) + more, monotonic() + 120
    while sum(journal.counts().values()) < enough:
        if monotonic() > give_up:
            raise TimeoutError("the callers do not get on")
        sleep(0.02)
