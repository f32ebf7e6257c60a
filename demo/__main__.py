"""`python -m demo`: the main job on real data through all five services."""

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from demo import tables
from demo.backend import TENANT
from demo.barrier import MessagesParked, NeverSettled
from demo.dataset import DataUnavailable
from demo.driver import FOLDER, Job
from demo.replay import FactRefused
from deploy.local.processes import DidNotStart


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="take one customer in ten")
    parser.add_argument("--into", type=Path, default=FOLDER, help="where to write the report")
    chosen = parser.parse_args()
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the services are stopped then, too
    try:
        report = Job(chosen.into, console, smoke=chosen.smoke).run()
    except (DataUnavailable, DidNotStart) as reason:
        sys.exit(str(reason))
    except (FactRefused, MessagesParked, NeverSettled) as reason:
        sys.exit(f"{reason}\nThe services wrote their logs to {chosen.into}/state/logs/")
    except KeyboardInterrupt:
        sys.exit(130)
    tables.show(report, console)
    _show_where_to_look_next(chosen.into, console)


def _show_where_to_look_next(folder: Path, console: Console) -> None:
    console.print()
    console.print("[bold]Where to look next[/bold]")
    for path, what in (
        (f"{folder}/report.md", "this report; report.json beside it for programs"),
        (f"{folder}/rfm_rows.csv", "every customer with scores, type and segment at the end"),
        (f"{folder}/state/logs/", "what the five services, PostgreSQL and NATS had to say"),
        ("demo/brand.py", "how the brand set itself up and decided, call by call"),
        ("README.md", "how the five services work together, and where to change what"),
    ):
        console.print(f"  [cyan]{path:<26}[/cyan] {what}")
    console.print(f"  [cyan]{'make up':<26}[/cyan] the same services, empty, on fixed ports, to try calls of your own")
    console.print(
        f"  [cyan]{'make test':<26}[/cyan] the proofs; one of them holds the report of tenant {TENANT} against the raw file"
    )


if __name__ == "__main__":
    main()
