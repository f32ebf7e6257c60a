"""`python -m bench`: measures the local stack, prints a table and writes build/bench.json; fails if a bar is missed."""

import argparse
import asyncio
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from rich.console import Console

from bench import (
    audiences,
    commands,
    doors,
    edge,
    figures,
    freshness,
    gateway,
    growth,
    identities,
    ingest,
    logs,
    matching,
)
from bench.calls import rested
from bench.figures import Figure
from deploy.local.contracts import ROOT
from deploy.local.stack import LocalStack

STATE = ROOT / "build" / "bench"
RESULT = ROOT / "build" / "bench.json"
_AS_DEPLOYED = {"SCRM_POLL_SECONDS": "0.05"}  # the default of a service; the local stack saves processor time


def memory(stack: LocalStack) -> list[Figure]:
    """What each process holds after the work before."""
    names = [*stack.services, "nats", "envoy"]
    found = {name: psutil.Process(stack.pid(name)).memory_info().rss / 1e6 for name in names}
    return [Figure(f"rss_mb_{name}", it, "MB", f"resident memory of {name}") for name, it in found.items()]


PARTS: dict[str, Callable[[LocalStack], list[Figure]]] = {
    "commands": commands.measure,
    "ingest": ingest.measure,
    "growth": growth.measure,
    "edge": edge.measure,
    "doors": doors.measure,
    "gateway": gateway.measure,
    "logs": logs.measure,
    "freshness": freshness.measure,
    "identities": identities.measure,
    "matching": matching.measure,
    "memory": memory,
}


TAGGING = "tagging"
"""The part that has a stack of its own, since it takes the place of other services there."""


def measure(parts: Sequence[str], state: Path, console: Console, customers: Sequence[int]) -> list[Figure]:
    shutil.rmtree(state, ignore_errors=True)
    found: list[Figure] = []
    if shared := [it for it in parts if it != TAGGING]:
        with LocalStack(state / "shared", environment=_AS_DEPLOYED) as stack:
            for name in shared:
                asyncio.run(rested(stack))
                console.print(f"measuring {name} …")
                found += PARTS[name](stack)
    if TAGGING in parts:
        console.print(f"measuring {TAGGING} …")
        found += audiences.measure(state / TAGGING, [audiences.Scale(it) for it in customers], console.print)
    return found


def main(arguments: Sequence[str]) -> int:
    console = Console()
    names = [*PARTS, TAGGING]
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"all, or some of {', '.join(names)}")
    parser.add_argument("--customers", nargs="+", type=int, default=audiences.SIZES, help="of the part tagging")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.parts) - set(names):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    found = measure(chosen.parts or names, STATE, console, chosen.customers)
    figures.show(found, console)
    figures.write(found, RESULT)
    console.print(f"written to {RESULT.relative_to(ROOT)}")
    missed = [it.name for it in found if it.met is False]
    if missed:
        console.print(f"[red]below the bar: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
