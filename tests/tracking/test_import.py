"""Files of events and orders: what becomes of each row, how fast, and what is left to do after an interruption."""

import asyncio
import csv
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
import pytest

from chassis.clock import ReplayClock, SystemClock
from chassis.context import Context
from chassis.errors import Unavailable
from chassis.settings import InvalidSettingsError
from deploy.local.postgres import Database
from services.tracking.adapters import importer
from services.tracking.adapters.import_command import read_arguments, summary
from services.tracking.adapters.import_files import Progress, Row, rows_of
from services.tracking.adapters.importer import EventSink, Fate, Options, OrderSink, Sink, import_file
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.order_import import OrderReader
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.domain.order import order_id
from services.tracking.read_models.orders import order_totals
from services.tracking.service import service
from services.tracking.settings import Settings
from tests.tracking.audience import Audience
from tests.tracking.touches import NOON

LATER = NOON + timedelta(hours=1)


class Import:
    """Files of one brand, and where they go."""

    def __init__(self, audience: Audience, folder: Path) -> None:
        self.audience = audience
        self.folder = folder
        store = audience.store
        self.writer = IngestWriter(store.engine)
        audience.studio.clock.set(LATER)
        context = Context("acme", "source/till")
        self.events = EventSink(self.writer, PlanBook(store), ReplayClock(LATER), context, "till")
        self.orders = OrderSink(audience.bus, OrderReader(audience.tracking.identity), context, "till")

    def file(self, rows: Sequence[Any], name: str = "rows.ndjson") -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(it if isinstance(it, bytes) else orjson.dumps(it) + b"\n" for it in rows))
        return path

    def sheet(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
        path = self.folder / "rows.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    def run(self, path: Path, sink: Sink, **options: Any) -> Progress:
        given = Options(path.suffix == ".csv", **options)
        return self.audience.loop.run_until_complete(import_file(path, sink, given))

    def refused(self, path: Path) -> list[tuple[int, str, str]]:
        kept = path.with_name(path.name + ".refused").read_bytes().splitlines()
        return [(it["line"], it["reason"], it["field"]) for it in map(orjson.loads, kept)]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.audience.tracking.rows(query)


@pytest.fixture
def importing(audience: Audience, tmp_path: Path) -> Iterator[Import]:
    audience.bus.start()
    yield Import(audience, tmp_path)
    audience.bus.stop()


def event(number: int, **more: Any) -> dict[str, Any]:
    who = [{"namespace": "member_no", "scope": "club", "value": f"M-{number}"}]
    return {
        "message_id": f"m{number}",
        "event_type": "checkin",
        "time": "2026-05-01T11:00:00Z",
        "identifiers": who,
        **more,
    }


def paid(number: int, **more: Any) -> dict[str, Any]:
    who = [{"namespace": "member_no", "scope": "club", "value": f"M-{number}"}]
    said = {
        "fact": "paid",
        "order_no": f"O-{number}",
        "time": "2026-04-01T10:00:00+08:00",
        "currency": "EUR",
        "amount": "12.50",
    }
    return {**said, "identifiers": who, **more}


def test_thirty_thousand_events_come_in_within_seconds_and_again_change_nothing(importing: Import) -> None:
    path = importing.file([event(number) for number in range(30_000)])
    began = monotonic()
    assert importing.run(path, importing.events).counts == {"ACCEPTED": 30_000}
    assert monotonic() - began < 30
    assert importing.run(path, importing.events).rows == 30_000, "it is done"
    found = importing.run(path, importing.events, from_start=True)
    assert found.counts == {"DUPLICATE": 30_000}
    assert importing.audience.tracking.count("accepted") == 30_000


def test_what_is_not_taken_in_is_kept_with_its_line_and_the_reason(importing: Import) -> None:
    path = importing.file(
        [
            event(0),
            b"\n",
            b"{nonsense\n",
            b"[1]\n",
            event(1, time="yesterday"),
            event(2, time=None),
            event(3, event_type=""),
            event(4, event_type="nosuch"),
            event(5, identifiers=[]),
            event(6, identifiers=["x"]),
            event(7, time="2026-01-01T00:00:00Z"),
            event(8, event_type="cart_added", properties={"sku": 7}),
            event(9, tz_offset_minutes="x"),
            event(0, properties={"other": 1}),
            b'{"a": "' + b"x" * (1 << 20) + b'"}\n',
            event(10),
        ]
    )
    found = importing.run(path, importing.events)
    assert importing.refused(path) == [
        (3, "BAD_FORMAT", ""),
        (4, "BAD_FORMAT", ""),
        (5, "BAD_FORMAT", "time"),
        (6, "FIELD_REQUIRED", "time"),
        (7, "FIELD_REQUIRED", "event_type"),
        (8, "UNKNOWN_TYPE", "event_type"),
        (9, "NO_IDENTITY", "identifiers"),
        (10, "BAD_FORMAT", "identifiers"),
        (11, "TOO_LATE", "original_time"),
        (12, "SCHEMA", "properties.sku"),
        (13, "BAD_FORMAT", "tz_offset_minutes"),
        (14, "CONTENT_CONFLICT", ""),
        (15, "TOO_LARGE", ""),
    ]
    assert found.counts["ACCEPTED"] == 2
    assert found.rows == sum(found.counts.values()) == 15
    assert "15 rows" in summary(found, rehearsed=False)


def test_a_rehearsal_says_the_same_and_takes_nothing_in(importing: Import) -> None:
    path = importing.file([event(0), event(1, event_type="nosuch"), event(2, time="x")])
    found = importing.run(path, importing.events, rehearse=True)
    assert found.counts == {"ACCEPTED": 1, "QUARANTINED UNKNOWN_TYPE": 1, "REJECTED BAD_FORMAT": 1}
    assert [importing.audience.tracking.count(it) for it in ("accepted", "quarantine", "tallies")] == [0, 0, 0]
    assert {it.name for it in importing.folder.iterdir()} == {"rows.ndjson"}
    orders = importing.file(
        [paid(0), paid(1, amount="x"), paid(2, currency="EUROS"), paid(3, fact="stolen")], "orders.ndjson"
    )
    found = importing.run(orders, importing.orders, rehearse=True)
    assert (found.counts["RECORDED"], found.rows) == (1, 4)
    assert importing.audience.store.load([order_id("acme", "till", "O-0")]) == {}


class Failing:
    """A sink that ends at its third batch, before or after the batch is taken in."""

    def __init__(self, sink: Sink, after: bool) -> None:
        self.sink = sink
        self.after = after
        self.taken: list[UUID] = []

    def judge(self, rows: Sequence[Row]) -> list[Fate]:
        return self.sink.judge(rows)

    async def take(self, rows: Sequence[Row], number: UUID) -> list[Fate]:
        self.taken.append(number)
        is_third = len(self.taken) == 3
        found = await self.sink.take(rows, number) if self.after or not is_third else []
        if is_third:
            raise KeyboardInterrupt
        return found


@pytest.mark.parametrize("after", [False, True])
def test_an_import_that_was_interrupted_is_taken_up_where_it_was(importing: Import, after: bool) -> None:
    rows = [event(number, event_type="nosuch" if number % 1000 == 0 else "checkin") for number in range(3500)]
    path = importing.file(rows)
    failing = Failing(importing.events, after)
    with pytest.raises(KeyboardInterrupt):
        importing.run(path, failing)
    with path.with_name("rows.ndjson.refused").open("ab") as kept:
        kept.write(b'{"half a line')  # it died while it wrote this
    resumed = Failing(importing.events, after=True)
    found = importing.run(path, resumed)
    assert resumed.taken[0] == failing.taken[2], "the batch has the number it had"
    assert found.rows == 3500
    assert importing.audience.tracking.count("accepted") == 3496
    assert importing.audience.tracking.count("quarantine") == 4
    assert [it[0] for it in importing.refused(path)] == [1, 1001, 2001, 3001] if not after else True
    assert importing.run(path, importing.events).rows == 3500


def test_another_file_of_the_same_name_begins_anew(importing: Import) -> None:
    importing.run(importing.file([event(0), event(1)]), importing.events)
    found = importing.run(importing.file([event(2)]), importing.events)
    assert found.counts == {"ACCEPTED": 1}


def test_what_is_away_is_waited_for(importing: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "_PAUSE", 0.0)
    tries: list[int] = []

    class Shaky(Failing):
        async def take(self, rows: Sequence[Row], number: UUID) -> list[Fate]:
            tries.append(1)
            if len(tries) < 3:
                raise Unavailable("identity does not answer")
            return await self.sink.take(rows, number)

    assert importing.run(importing.file([event(0)]), Shaky(importing.events, False)).counts == {"ACCEPTED": 1}
    monkeypatch.setattr(importer, "_PATIENCE", -1.0)
    tries.clear()
    with pytest.raises(Unavailable):
        importing.run(importing.file([event(1)]), Shaky(importing.events, False))


def test_a_sheet_of_events_has_identifiers_and_properties_in_columns(importing: Import) -> None:
    header = [
        "message_id",
        "event_type",
        "time",
        "id.member_no@club",
        "id.phone",
        "channel",
        "page",
        "code_key",
        "p.sku",
        "p.qty",
    ]
    path = importing.sheet(
        header,
        [
            ["m1", "cart_added", "2026-05-01 11:00:00", "M-1", "13800000001", "store", "/x", "ST03", "SKU-1", "2"],
            ["", "cart_added", "2026-05-01T11:00:00Z", "M-2", "", "", "", "", "007", ""],
            ["m3", "cart_added", "2026-05-01T11:00:00Z", "M-3", "", "", "", "", "SKU-1", "many"],
            ["m4", "cart_added"],
        ],
    )
    found = importing.run(path, importing.events)
    assert found.counts == {"ACCEPTED": 2, "QUARANTINED SCHEMA": 1, "REJECTED BAD_FORMAT": 1}
    assert importing.refused(path) == [(4, "SCHEMA", "properties.qty"), (5, "BAD_FORMAT", "")]
    importing.audience.settle()
    columns = "channel, page, code_key, source_key, properties::jsonb ->> 'sku', properties::jsonb -> 'qty'"
    kept = importing.rows(f"SELECT {columns} FROM behaviours ORDER BY channel DESC")
    assert kept == [("store", "/x", "ST03", "till", "SKU-1", 2), ("", "", "", "till", "007", None)]


def test_ten_thousand_orders_come_in_with_their_placements_and_refunds(importing: Import) -> None:
    lines = [{"sku": "A", "category": "tea", "quantity": 2, "paid": 10.0, "list": "11"}]
    rows: list[Any] = [paid(number, shipping="2.50", guide_code="G1") for number in range(5000)]
    rows += [paid(number, fact="placed", lines=lines, shipping="2.50") for number in range(2500)]
    rows += [{**paid(number), "fact": "refunded", "refund_no": "R1", "amount": "5"} for number in range(2500)]
    path = importing.file(rows)
    began = monotonic()
    assert importing.run(path, importing.orders).counts == {"RECORDED": 10_000}
    assert monotonic() - began < 60
    again = importing.run(path, importing.orders, from_start=True)
    assert again.counts == {"RECORDED": 10_000}, "facts that are known change nothing"
    importing.audience.settle()
    totals = importing.audience.ask(lambda rows: order_totals(rows, None, "UTC", None, None))
    assert (totals.rows, totals.net) == (5000, {"EUR": 2500 * 500 + 2500 * 1000})


def test_orders_that_cannot_be_are_kept_with_the_reason(importing: Import) -> None:
    importing.audience.tracking.identity.refused.add("M-9")
    path = importing.file(
        [
            paid(0),
            paid(1, amount="-1"),
            paid(2, amount="1.234"),
            paid(3, order_no=""),
            paid(4, currency=""),
            paid(5, identifiers=[]),
            paid(9),
            {**paid(0), "fact": "refunded", "refund_no": "R1", "amount": "99"},
            {**paid(8), "fact": "refunded", "refund_no": "R1"},
            paid(6, fact="placed", lines=[{"sku": "A", "paid": "1"}]),
            paid(0, amount="13"),
        ]
    )
    found = importing.run(path, importing.orders)
    assert found.counts["RECORDED"] == 1
    assert [it[0] for it in importing.refused(path)] == list(range(2, 12))
    reasons = {line: reason for line, reason, _ in importing.refused(path)}
    assert (reasons[7], reasons[8], reasons[9], reasons[11]) == (
        "CUSTOMER_UNRESOLVED", "REFUND_EXCEEDS_PAID", "ORDER_NOT_FOUND", "ORDER_CONFLICT",
    )  # fmt: skip


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a\n")
    given = read_arguments(["events", str(path), "--tenant", "acme", "--source", "till", "--dry-run"])
    assert (given.kind, given.dry_run, given.from_start) == ("events", True, False)
    for wrong in (
        ["events", str(tmp_path / "nosuch.csv"), "--tenant", "acme", "--source", "till"],
        ["events", str(tmp_path), "--tenant", "acme", "--source", "till"],
        ["events", str(path), "--tenant", "ACME", "--source", "till"],
        ["events", str(path), "--tenant", "acme", "--source", ""],
    ):
        with pytest.raises(InvalidSettingsError):
            read_arguments(wrong)
    with pytest.raises(SystemExit):
        read_arguments(["people", str(path), "--tenant", "acme", "--source", "till"])


def test_rows_know_the_line_they_end_in(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\n"1\n2",x\n3,y,z\n"4\n')
    with path.open("rb") as file:
        found = [(it.line, dict(it.fields), it.fault) for it in rows_of(file, is_csv=True)]
    assert found == [(3, {"a": "1\n2", "b": "x"}, ""), (4, {}, "BAD_FORMAT"), (5, {}, "BAD_FORMAT")]


def test_the_command_takes_a_file_in_and_says_what_became_of_it(
    tables: Database, loop: asyncio.AbstractEventLoop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, path = tmp_path / "keys.json", tmp_path / "visits.ndjson"
    keys.write_text(json.dumps({"newest": "a", "keys": {"a": "0a" * 32}}))
    now = SystemClock().now().isoformat()
    path.write_bytes(b"".join(orjson.dumps(it) + b"\n" for it in (event(0, time=now), event(1, time="x"))))
    environment = {
        "SCRM_DATABASE_URL": tables.writer_dsn,
        "SCRM_READER_DATABASE_URL": tables.reader_dsn,
        "SCRM_TRACKING_KEYS": str(keys),
    }
    made = service(Settings.from_environment(environment))
    command = made.one_shots["import"](made, ["events", str(path), "--tenant", "acme", "--source", "till"])
    loop.run_until_complete(command)
    assert capsys.readouterr().out.splitlines() == ["2 rows", "          1 ACCEPTED", "          1 REJECTED BAD_FORMAT"]
