"""`python -m demo`: the main job on real data through all five services."""

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from demo import tables
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
    here = folder.absolute()
    shown = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    console.print("[bold]Where to look next[/bold]")
    for path, what in (
        (f"{shown}/report.md", "this report; report.json is for programs"),
        (f"{shown}/rfm_rows.csv", "every customer, scored as of the end"),
        (f"{shown}/state/logs/", "what the services had to say"),
        ("make up DEMO=1", "all of it to call and to look at: scores and arms as charts at /docs/customers.html"),
        ("demo/brand.py", "what the brand set up and decided, call by call"),
        ("README.md", "how the services work together; where to change what"),
        ("make up", "the same services, empty, to try calls of your own"),
        ("make test", "the proofs; one holds this report against the raw file"),
    ):
        console.print(f"  [cyan]{path:<24}[/cyan] {what}", highlight=False)


if __name__ == "__main__":
    main()
