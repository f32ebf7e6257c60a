"""Kills: SIGKILL to services, broker and database at any moment under load; nothing acknowledged may be lost or done twice."""

import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic, sleep
from typing import Final

from deploy.local.processes import Child
from faults import judging, read_models
from faults.journal import Entry
from faults.stage import Recovery, Stage, opened
from faults.traffic import Traffic
from faults.verdict import Control, Scale, Verdict
from faults.workplace import KEPT

BAR_SECONDS: Final = 5.0
SERVICES: Final = {
    Scale.FULL: ("identity", "tracking", "tagging", "membership"),
    Scale.SMALL: ("identity", "membership"),
}
KILLS: Final = {Scale.FULL: 24, Scale.SMALL: 3}
CALM_SECONDS: Final = (0.2, 1.2)
_MOST_CONTROL_KILLS: Final = 3
_PAUSE_SECONDS: Final = 0.25
"""Between two calls of each caller: a machine that has no processor left to start a process with says nothing about the process."""


def run(scale: Scale) -> Verdict:
    with opened("kills", SERVICES[scale]) as stage:
        stage.traffic.pause_seconds = _PAUSE_SECONDS
        stage.traffic.start()
        recoveries = [_kill(stage, name) for name in _victims(scale, stage.dice)]
        _note(recoveries)
        stage.traffic.finish()
        stage.caller.rest()
        finding = judging.judge(stage.brand, stage.stack)
        finding.add(read_models.judge(stage.stack))
        finding.add(stage.findings())
        acknowledged, repeats = stage.journal.counts(), stage.caller.repeats
        control = _control(stage)
    slowest = max(recoveries, key=lambda it: it.seconds)
    worst = {name: max(it.seconds for it in recoveries if it.name == name) for name in {it.name for it in recoveries}}
    kills = ", ".join(f"{count} {name}" for name, count in sorted(Counter(it.name for it in recoveries).items()))
    return Verdict(
        fault="kills",
        done=f"{len(recoveries)} SIGKILLs: {kills}",
        acknowledged=sum(acknowledged.values()),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        worst=slowest.seconds,
        bar=BAR_SECONDS,
        control=control,
        problems=[*finding.lost[:5], *finding.doubled[:5], *finding.problems],
        figures={f"worst recovery of {name}, s": it for name, it in sorted(worst.items())}
        | {"CPU seconds the slowest needed": slowest.cpu_seconds}
        | {f"{name}s": count for name, count in sorted(acknowledged.items())}
        | {"requests sent again": repeats},
    )


def _note(recoveries: Sequence[Recovery]) -> None:
    """One line per kill, in their order."""
    file = KEPT / "kills" / "recoveries.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{it.name} {it.seconds:.2f} s, {it.cpu_seconds:.2f} s of CPU\n" for it in recoveries))


def _victims(scale: Scale, dice: random.Random) -> Sequence[str]:
    """Every part equally often, in random order."""
    if scale is Scale.SMALL:
        return ["identity", "membership", "postgres"][: KILLS[scale]]
    parts = [*SERVICES[scale], "nats", "postgres"]
    found = parts * (KILLS[scale] // len(parts))
    dice.shuffle(found)
    return found


def _kill(stage: Stage, name: str) -> Recovery:
    sleep(stage.dice.uniform(*CALM_SECONDS))  # so that the moment is any moment
    return stage.kill_and_restart(name)


def _control(stage: Stage) -> Control:
    """Visitors at an identity that answers before it commits, killed in the same way until somebody is lost."""
    identity = stage.stack.services["identity"]
    identity.stop()
    identity.child = Child(
        replace(identity.child.program, command=(sys.executable, "-m", "faults.hasty_identity", "all"))
    )
    identity.start()
    visits = Traffic(stage.brand, callers=3, only_visits=True)
    visits.start()
    earlier, kills = len(stage.journal.acknowledged_of("visitor")), 0
    in_danger: Sequence[Entry] = []
    lost: Sequence[Entry] = []
    while not lost and kills < _MOST_CONTROL_KILLS:
        _wait_for_visitors(stage, 5)
        in_danger = stage.journal.acknowledged_of("visitor")[earlier:]
        stage.kill_and_restart("identity")
        lost = [it for it in in_danger if not judging.is_known(stage.caller, it)]
        kills += 1
    visits.finish()
    found = f"{len(lost)} of {len(in_danger)} acknowledged visitors are lost in {kills} kills"
    return Control("an answer before the commit", found, bool(lost))


def _wait_for_visitors(stage: Stage, more: int) -> None:
    """So many acknowledged after we began to wait, so that all of them may be in danger."""
    enough, give_up = len(stage.journal.acknowledged_of("visitor")) + more, monotonic() + 60
    while len(stage.journal.acknowledged_of("visitor")) < enough:
        if monotonic() > give_up:
            raise TimeoutError("nobody visits")
        sleep(0.01)
