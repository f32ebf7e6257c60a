"""`python -m faults [--small] [--result FILE] [name…]`: makes faults, prints a table, writes build/faults.json; fails if a bar is missed.

Without names it makes the faults, which takes a quarter of an hour; the long comparisons (`make differential`) and the drills of operators
(`make drill`) are made when they are named.
A negative control that is not caught is a failure too: what cannot fail proves nothing.
"""

import os
import signal
import sys
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter

from rich.console import Console

from deploy.local.contracts import ROOT
from faults import verdict
from faults.verdict import Control, Scale, Verdict

RESULT = ROOT / "build" / "faults.json"
_FORK_SUPPORT = "GRPC_ENABLE_FORK_SUPPORT"

# Each is the module of that name with `run(scale)`, imported when it is wanted: all of them together take seconds.
FAULTS = ("kills", "gaps", "lost_answers", "redelivery", "postgres_restarts", "maintenance")
DIFFERENTIAL = ("histories", "conditions", "sdks", "fuzz")
DRILLS = ("restore", "rolling")
ALL = (*FAULTS, *DIFFERENTIAL, *DRILLS)


def _made(name: str, scale: Scale) -> Verdict:
    """What became of one fault; one that cannot be brought to its end has failed, and the others go on."""
    try:
        run: Callable[[Scale], Verdict] = import_module(f"faults.{name}").run
        return run(scale)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        problem = "".join(traceback.format_exception(error))[-2000:]
        control = Control("", "not tried", fails=False)
        return Verdict(
            fault=name, done="broke off", acknowledged=0, lost=0, doubled=0, control=control, problems=[problem]
        )


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that what was started is stopped
    wanted = _parsed(arguments)
    console, scale = Console(), Scale.SMALL if wanted.small else Scale.FULL
    found: list[Verdict] = []
    for name in wanted.name or FAULTS:
        console.print(f"{name} …")
        started = perf_counter()
        found.append(_made(name, scale))
        console.print(f"{name} took {perf_counter() - started:.0f} s")
    verdict.show(found, console)
    verdict.write(found, scale, wanted.result)
    console.print(f"written to {wanted.result}")
    return 0 if all(it.passed for it in found) else 1


def _parsed(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m faults")
    parser.add_argument("--small", action="store_true", help="as in the tests")
    parser.add_argument("--result", type=Path, default=RESULT, metavar="FILE")
    parser.add_argument("name", nargs="*", type=_fault, help=" ".join(ALL))
    return parser.parse_args(arguments)


def _fault(name: str) -> str:
    """Not `choices`: below Python 3.12 they refuse no name at all."""
    if name not in ALL:
        raise ArgumentTypeError(f"{name} is none of {', '.join(ALL)}")
    return name


def _without_fork_handlers() -> None:
    """Begin again with those of gRPC switched off: PostgreSQL is started by a fork while calls are under way, which breaks them."""
    if os.environ.get(_FORK_SUPPORT) != "0":
        os.environ[_FORK_SUPPORT] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "faults", *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    _without_fork_handlers()
    sys.exit(main(sys.argv[1:]))
