"""Files that come in over a stream: what becomes of each row, and where to go on when the stream ends before its time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import orjson
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.credentials import KeySet, Verifier
from chassis.grpc_server import Gate, GrpcServer
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from scrm.tracking.v1 import import_service_pb2 as pb
from scrm.tracking.v1.import_service_pb2_grpc import ImportServiceStub, add_ImportServiceServicer_to_server
from services.tracking.adapters import import_servicer
from services.tracking.adapters.import_servicer import ImportServicer
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.source_book import SourceBook
from services.tracking.application.handlers import handlers
from services.tracking.application.source_commands import RegisterSource
from services.tracking.domain.source import SourceKind, Terms
from services.tracking.service import erasures
from tests.chassis.streams import until
from tests.tracking.audience import Audience
from tests.tracking.test_import import event, paid
from tests.tracking.touches import NOON

LATER = NOON + timedelta(hours=1)
OUTCOMES = pb.ImportOutcome


class Importer:
    """Somebody who imports files, and the server that takes them in."""

    def __init__(self, stub: Any, server: GrpcServer, credentials: Credentials) -> None:
        self._stub = stub
        self._credentials = credentials
        self.server = server

    def send(self, pieces: Any, tenant: str = "acme", scope: str = "tracking.write") -> Any:
        token = self._credentials.mint(tenant, [scope])
        return self._stub.ImportRows(pieces, metadata=(("authorization", f"Bearer {token}"),), timeout=120)

    async def refused(self, pieces: Any, **options: Any) -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.send(pieces, **options)
        return refusal(caught.value)


Serve = Callable[[], AbstractAsyncContextManager[Importer]]


@pytest.fixture
def serve(audience: Audience, credentials: Credentials) -> Iterator[Serve]:
    writer = IngestWriter(audience.store.engine)
    audience.studio.clock.set(LATER)
    clock = ReplayClock(LATER)
    door = Ingest(writer, SourceBook(audience.store), clock, PlanBook(audience.store))

    @asynccontextmanager
    async def served() -> AsyncIterator[Importer]:
        servicer: Any = ImportServicer(audience.bus, door, audience.tracking.identity, clock)  # type: ignore[arg-type]
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        server = GrpcServer(
            Gate("tracking", verifier, Metrics(), Tracing()), [(add_ImportServiceServicer_to_server, servicer)]
        )
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Importer(ImportServiceStub(channel), server, credentials)
        await server.stop(0)

    writer.start()
    audience.bus.start()
    yield served
    audience.bus.stop()
    writer.stop()


Run = Callable[[Callable[[Importer], Awaitable[None]]], None]


@pytest.fixture
def run(serve: Serve, loop: asyncio.AbstractEventLoop) -> Run:
    async def checked(check: Callable[[Importer], Awaitable[None]]) -> None:
        async with serve() as importer:
            await check(importer)

    return lambda check: loop.run_until_complete(checked(check))


def pieces(rows: Sequence[Any], size: int = 1000, first_line: int = 1, **more: Any) -> list[pb.ImportRowsRequest]:
    """A file of JSON lines in pieces of so many rows, from a line on."""
    number = str(uuid4())
    lines = [it if isinstance(it, bytes) else orjson.dumps(it) + b"\n" for it in rows][first_line - 1 :]
    said = {"kind": pb.IMPORT_KIND_EVENTS, "format": pb.IMPORT_FORMAT_NDJSON, "source_key": "till", **more}
    return [
        pb.ImportRowsRequest(
            request_id=number, first_line=first_line + start, content=b"".join(lines[start : start + size]), **said
        )
        for start in range(0, len(lines), size)
    ]


def sheet(header: str, lines: Iterable[str], first_line: int) -> pb.ImportRowsRequest:
    (piece,) = pieces([b"x"], format=pb.IMPORT_FORMAT_CSV)
    piece.content = "\n".join([header, *lines]).encode()
    piece.first_line = first_line
    return piece


def counts(answer: pb.ImportRowsResponse) -> dict[str, int]:
    def words(it: pb.ImportCount) -> str:
        return f"{OUTCOMES.Name(it.outcome).removeprefix('IMPORT_OUTCOME_')} {it.reason}".strip()

    return {words(it): it.rows for it in answer.counts}


def reason(answer: pb.ImportRowsResponse) -> str:
    """Of its end before its time."""
    info = ErrorInfo()
    assert answer.ended_by.details[0].Unpack(info)
    return info.reason


def refusals(answer: pb.ImportRowsResponse) -> list[tuple[int, str, str]]:
    return [(it.line, it.reason, it.field) for it in answer.refused]


def test_ten_thousand_events_come_in_by_a_stream_and_again_change_nothing(run: Run, audience: Audience) -> None:
    rows = [event(number) for number in range(10_000)]

    async def check(importer: Importer) -> None:
        answer = await importer.send(pieces(rows))
        assert (answer.rows, answer.next_line, counts(answer)) == (10_000, 0, {"ACCEPTED": 10_000})
        assert counts(await importer.send(pieces(rows, size=300))) == {"DUPLICATE": 10_000}

    run(check)
    assert audience.tracking.count("accepted") == 10_000


def test_each_row_that_is_not_taken_is_reported_with_its_line_and_the_reason(run: Run) -> None:
    rows = [
        event(0),
        b"\n",
        b"{nonsense\n",
        event(1, time="yesterday"),
        event(2),
        event(3, event_type="nosuch"),
        event(4, identifiers=[]),
        event(5, time="2026-01-01T00:00:00Z"),
        event(0, properties={"other": 1}),
    ]

    async def check(importer: Importer) -> None:
        answer = await importer.send(pieces(rows, size=4))
        assert refusals(answer) == [
            (3, "BAD_FORMAT", ""),
            (4, "BAD_FORMAT", "time"),
            (6, "UNKNOWN_TYPE", "event_type"),
            (7, "NO_IDENTITY", "identifiers"),
            (8, "TOO_LATE", "original_time"),
            (9, "CONTENT_CONFLICT", ""),
        ]
        assert answer.rows == sum(it.rows for it in answer.counts) == 8
        assert counts(answer)["ACCEPTED"] == 2

    run(check)


def test_a_sheet_comes_in_pieces_that_each_have_the_header(run: Run, audience: Audience) -> None:
    header = "message_id,event_type,time,id.member_no@club"

    async def check(importer: Importer) -> None:
        one = sheet(header, ["m1,checkin,2026-05-01T11:00:00Z,M-1", "m2,checkin,never,M-2"], 2)
        two = sheet(header, ["m3,checkin", "m4,checkin,2026-05-01T11:00:00Z,M-4"], 4)
        two.request_id = one.request_id
        answer = await importer.send([one, two])
        assert counts(answer) == {"ACCEPTED": 2, "REJECTED BAD_FORMAT": 2}
        assert [line for line, _, _ in refusals(answer)] == [3, 4]

    run(check)
    assert audience.tracking.count("accepted") == 2


def test_facts_of_orders_come_in_and_those_that_cannot_be_are_reported(run: Run, audience: Audience) -> None:
    audience.tracking.identity.refused.add("M-9")
    rows = [paid(0), paid(1, amount="x"), paid(9), {**paid(0), "fact": "refunded", "refund_no": "R1", "amount": "99"}]

    async def check(importer: Importer) -> None:
        answer = await importer.send(pieces(rows, size=2, kind=pb.IMPORT_KIND_ORDERS))
        assert refusals(answer) == [
            (2, "BAD_FORMAT", "amount"),
            (3, "CUSTOMER_UNRESOLVED", ""),
            (4, "REFUND_EXCEEDS_PAID", "amount"),
        ]
        again = await importer.send(pieces(rows, size=4, kind=pb.IMPORT_KIND_ORDERS))
        assert counts(again) == counts(answer), "facts that are known change nothing"

    run(check)


def test_a_rehearsal_over_the_stream_takes_nothing_in(run: Run, audience: Audience) -> None:
    rows = [event(0), event(1, event_type="nosuch"), event(2, time="x")]

    async def check(importer: Importer) -> None:
        answer = await importer.send(pieces(rows, validate_only=True))
        assert counts(answer) == {"ACCEPTED": 1, "QUARANTINED UNKNOWN_TYPE": 1, "REJECTED BAD_FORMAT": 1}

    run(check)
    assert [audience.tracking.count(it) for it in ("accepted", "quarantine", "tallies")] == [0, 0, 0]


def test_too_many_refusals_end_the_import_and_the_answer_says_where_to_go_on(
    run: Run, audience: Audience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_servicer, "MOST_REFUSED", 3)
    rows = [event(number, time="never" if number < 4 else "2026-05-01T11:00:00Z") for number in range(50)]

    async def check(importer: Importer) -> None:
        answer = await importer.send(pieces(rows, size=10))
        assert (answer.rows, answer.next_line, len(answer.refused)) == (10, 11, 4)
        rest = await importer.send(pieces(rows, size=10, first_line=answer.next_line))
        assert (rest.rows, rest.next_line) == (40, 0)

    run(check)
    assert audience.tracking.count("accepted") == 46


def test_a_server_that_stops_answers_for_what_it_took_in(run: Run, audience: Audience) -> None:
    rows = [event(number) for number in range(40)]

    async def check(importer: Importer) -> None:
        sent = pieces(rows, size=10)

        async def some() -> AsyncIterator[Any]:
            for it in sent[:2]:
                yield it
            await until(lambda: audience.tracking.count("accepted") == 20)
            stopping.append(asyncio.ensure_future(importer.server.stop(30)))
            await asyncio.Event().wait()

        stopping: list[Any] = []
        answer = await importer.send(some())
        await stopping[0]
        assert (answer.rows, answer.next_line, counts(answer)) == (20, 21, {"ACCEPTED": 20})

    run(check)


def test_a_piece_that_does_not_come_in_time_costs_nothing_that_is_known_of_those_before(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_servicer, "GRACE_SECONDS", 1.5 - import_servicer.LONGEST_SECONDS)

    async def check(importer: Importer) -> None:
        async def one() -> AsyncIterator[Any]:
            yield pieces([event(0), b"{nonsense\n"])[0]
            await asyncio.Event().wait()

        answer = await importer.send(one())
        assert (answer.rows, answer.next_line, refusals(answer)) == (2, 3, [(2, "BAD_FORMAT", "")])
        assert reason(answer) == "DEADLINE_EXCEEDED"

    run(check)


def test_a_piece_that_is_refused_costs_nothing_that_is_known_of_those_before(run: Run) -> None:
    rows = [event(0), b"{nonsense\n", *(event(number) for number in range(2, 30))]

    async def check(importer: Importer) -> None:
        sent = pieces(rows, size=10)
        sent[2].first_line = 0
        answer = await importer.send(sent)
        assert (answer.rows, answer.next_line, refusals(answer)) == (20, 21, [(2, "BAD_FORMAT", "")])
        assert reason(answer) == "OUT_OF_RANGE"
        found = await importer.refused(sent[2:])
        assert (found.reason, found.fields) == ("OUT_OF_RANGE", ("first_line",)), (
            "where nothing is known, it is an error"
        )

    run(check)


def test_what_is_no_piece_of_a_file_is_refused(run: Run) -> None:
    async def check(importer: Importer) -> None:
        many = await importer.refused(pieces([b"{}\n"] * 1001, size=1001))
        assert (many.reason, many.fields) == ("FIELD_TOO_LONG", ("content",))
        assert (await importer.refused([])).reason == "FIELD_REQUIRED"
        assert (await importer.refused(pieces([event(0)]), scope="tracking.read")).reason == "MISSING_SCOPE"

    run(check)


def test_a_source_that_is_switched_off_is_let_in_by_no_door(run: Run, audience: Audience) -> None:
    terms = Terms(enabled=False, rate_limit=0, user_namespace="", user_scope="")
    command = RegisterSource("acme", "till", SourceKind.IMPORT, terms, b"")

    bus = CommandBus(audience.store, ReplayClock(LATER), handlers(erasures))
    bus.execute_now(command, Context.system("acme", "test"))

    async def check(importer: Importer) -> None:
        assert "ACCEPTED" not in counts(await importer.send(pieces([event(0)])))

    run(check)


def test_an_import_is_of_the_brand_of_its_token(run: Run, audience: Audience) -> None:
    async def check(importer: Importer) -> None:
        await importer.send(pieces([event(0)]), tenant="globex")

    run(check)
    assert audience.tracking.rows("SELECT tenant FROM accepted") == [("globex",)]
