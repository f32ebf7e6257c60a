"""`python -m services.tracking import`: takes a file of events or orders in, shows how far it is, and says what became of how many rows."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chassis.context import Context
from chassis.credentials import is_tenant
from chassis.kit import Kit, opened
from chassis.service import Service
from chassis.settings import InvalidSettingsError
from services.tracking.adapters.identity_client import IdentityClient
from services.tracking.adapters.import_files import Progress
from services.tracking.adapters.importer import EventSink, Options, OrderSink, Sink, import_file
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.order_import import OrderReader
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.domain.source import is_source_key

FORMATS: Final = {".csv": True, ".ndjson": False, ".jsonl": False}
_WIDTH: Final = 30


async def import_rows(service: Service, arguments: Sequence[str]) -> None:
    """The role `import`. Raises InvalidSettingsError."""
    given = read_arguments(arguments)
    async with opened(service.settings, service.handlers) as kit:
        with progress_bar(given.file) as told:
            options = Options(FORMATS[given.file.suffix], given.dry_run, given.from_start, given.refused, told)
            found = await import_file(given.file, sink(kit, given), options)
    print(summary(found, rehearsed=given.dry_run))


def sink(kit: Kit, given: Namespace) -> Sink:
    context = Context(given.tenant, f"source/{given.source}")
    if given.kind == "orders":
        return OrderSink(kit.bus, OrderReader(IdentityClient(kit.channel("identity"))), context, given.source)
    return EventSink(IngestWriter(kit.engine), PlanBook(kit.store), kit.clock, context, given.source)


def read_arguments(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="python -m services.tracking import", description="Takes in events or orders of a file."
    )
    parser.add_argument("kind", choices=["events", "orders"])
    parser.add_argument(
        "file", type=Path, help="CSV with a header (.csv), or a JSON object in each line (.ndjson, .jsonl)"
    )
    parser.add_argument("--tenant", required=True, help="the brand they are of")
    parser.add_argument("--source", required=True, help="the key of the source they are from")
    parser.add_argument("--dry-run", action="store_true", help="say what would become of them, and take nothing in")
    parser.add_argument("--from-start", action="store_true", help="begin again, whatever was taken in before")
    parser.add_argument("--refused", type=Path, help="where rows go that are not taken in (<file>.refused if not said)")
    given = parser.parse_args(arguments)
    if not is_tenant(given.tenant) or not is_source_key(given.source):
        raise InvalidSettingsError("there is no such tenant, or no such source")
    if given.file.suffix not in FORMATS or not given.file.is_file():
        raise InvalidSettingsError(f"a file that ends in {', '.join(FORMATS)} is needed")
    return given


def summary(found: Progress, *, rehearsed: bool) -> str:
    """Rows by what became of them, or would."""
    counts = "".join(f"\n  {number:>9,} {outcome}" for outcome, number in sorted(found.counts.items()))
    return f"{found.rows:,} rows{' would be' if rehearsed else ''}{counts}"


@contextmanager
def progress_bar(file: Path) -> Iterator[Callable[[int, int], None]]:
    """How far it is, on a terminal; nothing where nobody looks."""
    size = max(1, file.stat().st_size)

    def told(rows: int, read: int) -> None:
        done = min(_WIDTH, _WIDTH * read // size)
        sys.stderr.write(f"\r[{'#' * done}{'.' * (_WIDTH - done)}] {rows:,} rows")
        sys.stderr.flush()

    if sys.stderr.isatty():
        yield told
        sys.stderr.write("\n")
    else:
        yield lambda rows, read: None
