"""`python -m faults [--small] [name…]`: makes faults, prints a table and writes build/faults.json; fails if a bar is missed.

A negative control that is not caught is a failure too: what cannot fail proves nothing.
"""

import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from rich.console import Console

from deploy.local.contracts import ROOT
from faults import gaps, kills, lost_answers, maintenance, postgres_restarts, redelivery, verdict
from faults.verdict import Control, Scale, Verdict

RESULT = ROOT / "build" / "faults.json"

FAULTS: Mapping[str, Callable[[Scale], Verdict]] = {
    "kills": kills.run,
    "gaps": gaps.run,
    "lost_answers": lost_answers.run,
    "redelivery": redelivery.run,
    "postgres_restarts": postgres_restarts.run,
    "maintenance": maintenance.run,
}


def _made(name: str, scale: Scale) -> Verdict:
    """What became of one fault; one that cannot be brought to its end has failed, and the others go on."""
    try:
        return FAULTS[name](scale)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        problem = "".join(traceback.format_exception(error))[-2000:]
        control = Control("", "not tried", fails=False)
        return Verdict(
            fault=name, done="broke off", acknowledged=0, lost=0, doubled=0, control=control, problems=[problem]
        )


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is stopped
    console = Console()
    scale = Scale.SMALL if "--small" in arguments else Scale.FULL
    names = [it for it in arguments if it != "--small"] or list(FAULTS)
    if set(names) - FAULTS.keys():
        console.print(f"usage: python -m faults \\[--small] [{'|'.join(FAULTS)}]…")
        return 2
    found: list[Verdict] = []
    for name in names:
        console.print(f"{name} …")
        started = perf_counter()
        found.append(_made(name, scale))
        console.print(f"{name} took {perf_counter() - started:.0f} s")
    verdict.show(found, console)
    verdict.write(found, scale, RESULT)
    console.print(f"written to {RESULT.relative_to(ROOT)}")
    return 0 if all(it.passed for it in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
