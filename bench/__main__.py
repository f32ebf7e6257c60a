"""`python -m bench`: measures the local stack, prints a table and writes build/bench.json; fails if a bar is missed."""

import asyncio
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
from rich.console import Console

from bench import commands, doors, edge, figures, freshness, gateway, growth, identities, ingest, logs, matching
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


def measure(parts: Sequence[str], state: Path, console: Console) -> list[Figure]:
    shutil.rmtree(state, ignore_errors=True)
    found: list[Figure] = []
    with LocalStack(state, environment=_AS_DEPLOYED) as stack:
        for name in parts:
            asyncio.run(rested(stack))
            console.print(f"measuring {name} …")
            found += PARTS[name](stack)
    return found


def main(arguments: Sequence[str]) -> int:
    console = Console()
    unknown = set(arguments) - PARTS.keys()
    if unknown:
        console.print(f"usage: python -m bench [{'|'.join(PARTS)}]…")
        return 2
    found = measure(arguments or list(PARTS), STATE, console)
    figures.show(found, console)
    figures.write(found, RESULT)
    console.print(f"written to {RESULT.relative_to(ROOT)}")
    missed = [it.name for it in found if it.met is False]
    if missed:
        console.print(f"[red]below the bar: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
