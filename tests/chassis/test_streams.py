"""A stream passes the steps of any call, and ends so that somebody can go on where it ended."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
import pytest

from chassis import context
from chassis.context import Context
from chassis.credentials import KeySet, Verifier
from chassis.errors import FailedPrecondition, ProjectionLagging
from chassis.grpc_server import Gate, GrpcServer, Requests, UnguardedMethodError
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from tests.chassis import echo_contract as echo

SCOPES = ("echo.read", "echo.write")
RECITE, DICTATE = "scrm.echo.v1.EchoService/Recite", "scrm.echo.v1.EchoService/Dictate"
SIXTEEN_KIB = "x" * (16 << 10)


class OutOfBreath(FailedPrecondition):
    """Nobody recites for ever."""


async def nothing(number: int) -> None:
    """What happens before each message, if a test does not say more."""


@dataclass
class Reciter:
    """Recites numbers up to the count asked for, and joins the words it is dictated; `before` each of them something may happen."""

    before: Callable[[int], Awaitable[None]] = nothing
    text: str = ""
    told: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    contexts: list[Context] = field(default_factory=list)

    async def Recite(self, request: Any, call: Any) -> AsyncIterator[Any]:
        self.contexts.append(context.current())
        try:
            for number in range(int(request.page_token or 0), request.count):
                await self.before(number)
                self.told += 1
                following = str(number + 1) if number + 1 < request.count else ""
                yield echo.ReciteResponse(text=self.text or str(number), next_page_token=following)
        finally:
            self.closed.set()

    async def Dictate(self, requests: Requests, call: Any) -> Any:
        self.contexts.append(context.current())
        words: list[str] = []
        try:
            async for request in requests:
                await self.before(len(words))
                words.append(request.word)
                requests.reached(len(words))
        finally:
            self.closed.set()
        return echo.DictateResponse(text=" ".join(words))


@dataclass
class Caller:
    channel: grpc.aio.Channel
    credentials: Credentials
    metrics: Metrics
    server: GrpcServer

    def headers(self, token: str | None = None, **more: str) -> tuple[tuple[str, str], ...]:
        bearer = self.credentials.mint("acme", SCOPES) if token is None else token
        return (("authorization", f"Bearer {bearer}"), *((key.replace("_", "-"), it) for key, it in more.items()))

    def recite(self, count: int, token: str = "", *, bearer: str | None = None, **options: Any) -> Any:
        request = echo.ReciteRequest(count=count, page_token=token)
        metadata = self.headers(bearer, **options.pop("headers", {}))
        return echo.method(self.channel, "Recite")(request, metadata=metadata, **{"timeout": 20, **options})

    def dictate(self, words: Any, *, bearer: str | None = None, **options: Any) -> Any:
        metadata = self.headers(bearer, **options.pop("headers", {}))
        return echo.method(self.channel, "Dictate")(words, metadata=metadata, **{"timeout": 20, **options})

    def counted(self, metric: str, rpc: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(metric, {"rpc": rpc, **labels}) or 0


def words(*texts: str, request_id: str = "") -> list[Any]:
    number = request_id or str(uuid4())
    return [echo.DictateRequest(request_id=number, word=it) for it in texts]


async def texts(call: Any) -> list[str]:
    return [it.text async for it in call]


async def refused(call: Any) -> Refusal:
    """How the stream ended, after whatever came before."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (texts(call) if hasattr(call, "__aiter__") else call)
    return refusal(caught.value)


Run = Callable[..., None]


@pytest.fixture
def run(credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Run:
    """`run(check, servicer, **gate)` runs `check(caller)` against a server."""

    @asynccontextmanager
    async def served(servicer: Reciter, **gate: Any) -> AsyncIterator[Caller]:
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        metrics = Metrics()
        server = GrpcServer(
            Gate("echo", verifier, metrics, Tracing(), **gate), [(echo.add_streaming_servicer, servicer)]
        )
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            try:
                yield Caller(channel, credentials, metrics, server)
            finally:
                await server.stop(0)

    def run(check: Callable[[Caller], Coroutine[Any, Any, None]], servicer: Reciter, **gate: Any) -> None:
        async def checked() -> None:
            async with served(servicer, **gate) as caller:
                await check(caller)

        loop.run_until_complete(checked())

    return run


def test_streams_both_ways_are_answered_in_the_context_of_their_token_and_headers(run: Run) -> None:
    servicer = Reciter()

    async def check(caller: Caller) -> None:
        assert await texts(caller.recite(3, headers={"scrm_correlation_id": "c-1"})) == ["0", "1", "2"]
        spoken = words("a", "b")
        assert (await caller.dictate(spoken)).text == "a b"
        read, written = servicer.contexts
        assert (read.tenant, read.actor, read.correlation, read.call) == ("acme", "developer", "c-1", None)
        assert (written.tenant, written.call) == ("acme", None)

    run(check, servicer)


def test_a_stream_is_gone_on_with_where_it_broke(run: Run) -> None:
    async def check(caller: Caller) -> None:
        call = caller.recite(1000)
        read = [await anext(aiter(call)) for _ in range(3)]
        call.cancel()
        rest = await texts(caller.recite(1000, read[-1].next_page_token))
        assert [it.text for it in read] + rest == [str(it) for it in range(1000)]

    run(check, Reciter())


@pytest.mark.parametrize("kind", ["recite", "dictate"])
def test_nobody_streams_without_a_token_or_scope(run: Run, kind: str) -> None:
    servicer = Reciter()

    async def check(caller: Caller) -> None:
        def call(bearer: str) -> Any:
            return caller.recite(3, bearer=bearer) if kind == "recite" else caller.dictate(words("a"), bearer=bearer)

        assert (await refused(call("nonsense"))).reason == "INVALID_TOKEN"
        other = caller.credentials.mint("acme", ["echo.write" if kind == "recite" else "echo.read"])
        assert (await refused(call(other))).reason == "MISSING_SCOPE"
        assert servicer.contexts == []

    run(check, servicer)


def test_a_malformed_message_is_refused_wherever_in_the_stream_it_is(run: Run) -> None:
    async def check(caller: Caller) -> None:
        asked = await refused(caller.recite(2_000_000))
        assert (asked.reason, asked.fields) == ("OUT_OF_RANGE", ("count",))
        spoken = [*words("a", "b", request_id=str(uuid4())), *words("much too long")]
        spoken[2].request_id = spoken[0].request_id
        found = await refused(caller.dictate(spoken))
        assert (found.code, found.reason, found.fields) == ("INVALID_ARGUMENT", "FIELD_TOO_LONG", ("word",))
        assert found.metadata["position"] == "2"
        assert (await refused(caller.dictate([b"\xff\xff"]))).reason == "BAD_FORMAT"
        assert (await refused(caller.dictate(words("te\0a")))).reason == "BAD_FORMAT"

    run(check, Reciter())


def test_a_stream_is_one_request_and_has_at_least_one_message(run: Run) -> None:
    async def check(caller: Caller) -> None:
        found = await refused(caller.dictate([*words("a"), *words("b")]))
        assert (found.reason, found.fields, found.metadata["position"]) == ("BAD_FORMAT", ("request_id",), "1")
        assert (await refused(caller.dictate([]))).reason == "FIELD_REQUIRED"

    run(check, Reciter())


def test_a_refusal_in_the_middle_arrives_with_reason_and_position(run: Run) -> None:
    async def tire(number: int) -> None:
        if number == 2:
            raise OutOfBreath(kind="long")

    async def check(caller: Caller) -> None:
        for call in (caller.recite(9), caller.dictate(words(*"abcd"))):
            found = await refused(call)
            assert (found.code, found.reason) == ("FAILED_PRECONDITION", "OUT_OF_BREATH")
            assert found.metadata == {"kind": "long", "position": "2"}

    run(check, Reciter(tire))


def test_a_defect_of_ours_tells_the_caller_of_a_stream_nothing_but_an_id_and_the_position(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(number: int) -> None:
        if number == 1:
            raise ValueError("secret detail")

    async def check(caller: Caller) -> None:
        found = await refused(caller.recite(9))
        assert (found.code, found.message, found.metadata) == ("INTERNAL", "internal error", {"position": "1"})
        assert found.request_id in capsys.readouterr().out

    run(check, Reciter(fail))


def test_a_stream_without_a_deadline_gets_one_and_one_with_is_cut_at_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever(number: int) -> None:
        if number == 1:
            await asyncio.Event().wait()

    async def check(caller: Caller) -> None:
        assert (await refused(caller.recite(9, timeout=0.1))).code == "DEADLINE_EXCEEDED"
        monkeypatch.setattr("chassis.stream_steps.STREAM_SECONDS", 0.1)
        for call in (caller.recite(9, timeout=None), caller.dictate(words(*"abcd"), timeout=None)):
            found = await refused(call)
            assert (found.reason, found.metadata) == ("DEADLINE_EXCEEDED", {"position": "1"})

    run(check, Reciter(for_ever))


def test_streams_beyond_their_share_are_refused_and_leave_room_for_other_calls(run: Run) -> None:
    gate = asyncio.Event()

    async def wait(number: int) -> None:
        await gate.wait()

    async def check(caller: Caller) -> None:
        running = [asyncio.ensure_future(texts(caller.recite(1))) for _ in range(5)]
        done, waiting = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        assert [refusal(it.exception()).reason for it in done] == ["OVERLOADED"]  # type: ignore[arg-type]
        gate.set()
        assert [await it for it in waiting] == [["0"]] * 4
        assert await texts(caller.recite(1)) == ["0"]

    run(check, Reciter(wait), most_calls=16)


@pytest.mark.parametrize("kind", ["recite", "dictate"])
def test_a_stream_that_its_caller_gives_up_frees_what_it_held(run: Run, kind: str) -> None:
    reached, servicer = asyncio.Event(), Reciter()

    async def reach(number: int) -> None:
        if number == 2:
            reached.set()
            await asyncio.Event().wait()

    servicer.before = reach

    async def check(caller: Caller) -> None:
        call = caller.recite(9) if kind == "recite" else caller.dictate(words(*"abcd"))
        task = asyncio.ensure_future(texts(call) if kind == "recite" else call)
        await reached.wait()
        call.cancel()
        await asyncio.wait_for(servicer.closed.wait(), 10)
        await asyncio.wait({task})
        servicer.before = nothing
        for _ in range(8):  # of four places
            assert await texts(caller.recite(1)) == ["0"]
        rpc = RECITE if kind == "recite" else DICTATE
        assert caller.counted("scrm_grpc_stream_seconds_count", rpc, code="CANCELLED") == 1

    run(check, servicer, most_calls=16)


def test_no_more_is_made_than_is_read(run: Run) -> None:
    """10,000 messages of 16 KiB would be 160 MB."""
    servicer = Reciter(text=SIXTEEN_KIB)

    async def check(caller: Caller) -> None:
        call = aiter(caller.recite(10_000))
        assert (await anext(call)).text == SIXTEEN_KIB
        told = -1
        while told != servicer.told:
            told = servicer.told
            await asyncio.sleep(0.05)
        assert told < 1000
        for _ in range(told + 10):
            await anext(call)
        assert servicer.told > told  # it goes on when there is somebody who reads
        del call
        gc.collect()

    run(check, servicer)


def test_no_more_is_read_than_is_taken_in(run: Run) -> None:
    gate, sent = asyncio.Event(), 0

    async def wait(number: int) -> None:
        await gate.wait()

    async def speak() -> AsyncIterator[Any]:
        nonlocal sent
        request = echo.DictateRequest(request_id=str(uuid4()), word="a")
        filler = request.SerializeToString() + b"\xfa\xff\xff\xff\x0f\x80\x80\x01" + bytes(16 << 10)  # an unknown field
        for _ in range(3000):
            yield filler
            sent += 1

    async def check(caller: Caller) -> None:
        answer = asyncio.ensure_future(caller.dictate(speak()))
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.05)
        assert before < 1000
        gate.set()
        assert (await answer).text == " ".join(["a"] * 3000)

    run(check, Reciter(wait))


def test_a_server_that_stops_ends_streams_at_their_next_message_and_says_where_to_go_on(run: Run) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def wait(number: int) -> None:
        if number == 3:
            entered.set()
            await gate.wait()

    async def check(caller: Caller) -> None:
        call = caller.recite(9)
        ended = asyncio.ensure_future(refused(call))
        await entered.wait()
        stopping = asyncio.ensure_future(caller.server.stop(10))
        gate.set()
        found = await ended
        assert (found.code, found.reason, found.metadata) == ("UNAVAILABLE", "INTERRUPTED", {"position": "4"})
        assert found.retry_after_ms is not None
        await stopping

    run(check, Reciter(wait))


def test_a_server_that_stops_does_not_wait_for_somebody_who_says_nothing(run: Run) -> None:
    async def check(caller: Caller) -> None:
        said = asyncio.Event()

        async def speak() -> AsyncIterator[Any]:
            for it in words("a", "b"):
                yield it
            said.set()
            await asyncio.Event().wait()

        ended = asyncio.ensure_future(refused(caller.dictate(speak())))
        await said.wait()
        await heard.wait()
        await asyncio.wait_for(caller.server.stop(60), 20)
        found = await ended
        assert (found.reason, found.metadata) == ("INTERRUPTED", {"position": "2"})

    heard = asyncio.Event()

    async def note(number: int) -> None:
        if number == 1:
            heard.set()

    run(check, Reciter(note))


def test_a_stream_that_has_told_everything_ends_well_although_the_server_stops(run: Run) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def wait(number: int) -> None:
        if number == 2:
            entered.set()
            await gate.wait()

    async def check(caller: Caller) -> None:
        answer = asyncio.ensure_future(texts(caller.recite(3)))
        await entered.wait()
        stopping = asyncio.ensure_future(caller.server.stop(10))
        gate.set()
        assert await answer == ["0", "1", "2"]
        await stopping

    run(check, Reciter(wait))


def test_streams_are_counted_by_code_and_each_is_in_the_log(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def check(caller: Caller) -> None:
        await texts(caller.recite(3))
        await refused(caller.recite(2_000_000))
        await caller.dictate(words("a", "b"))
        assert caller.counted("scrm_grpc_stream_seconds_count", RECITE, code="OK") == 1
        assert caller.counted("scrm_grpc_stream_seconds_count", RECITE, code="INVALID_ARGUMENT") == 1
        assert caller.counted("scrm_grpc_stream_messages_total", RECITE) == 3
        assert caller.counted("scrm_grpc_stream_messages_total", DICTATE) == 2
        assert caller.counted("scrm_grpc_seconds_count", RECITE, code="OK") == 0

    run(check, Reciter())
    lines = capsys.readouterr().out.splitlines()
    assert sum("stream ended" in it for it in lines) == 3


def test_a_stream_waits_for_the_position_asked_for(run: Run) -> None:
    async def wait_for(position: int) -> None:
        if position > 10:
            raise ProjectionLagging

    async def check(caller: Caller) -> None:
        assert await texts(caller.recite(1, headers={"scrm_position": "10"})) == ["0"]
        assert (await refused(caller.recite(1, headers={"scrm_position": "11"}))).reason == "PROJECTION_LAGGING"

    run(check, Reciter(), wait_for=wait_for)


def test_the_position_of_what_a_stream_wrote_comes_back_as_a_trailer(run: Run) -> None:
    async def write(number: int) -> None:
        holder = context.last_position.get()
        assert holder is not None
        holder[0] = 42

    async def check(caller: Caller) -> None:
        call = caller.dictate(words("a"))
        await call
        assert dict(await call.trailing_metadata())["scrm-position"] == "42"

    run(check, Reciter(write))


@pytest.mark.parametrize(("method", "fault"), [("Mutter", "nobody can go on with"), ("Converse", "both ways")])
def test_a_stream_that_cannot_be_gone_on_with_keeps_the_server_from_starting(
    credentials: Credentials, loop: asyncio.AbstractEventLoop, method: str, fault: str
) -> None:
    class Endless:
        async def Mutter(self, request: Any, call: Any) -> AsyncIterator[Any]:
            yield echo.SayResponse()

        async def Converse(self, requests: Any, call: Any) -> AsyncIterator[Any]:
            yield echo.SayResponse()

    async def start() -> None:
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        add = echo.adder("EndlessService", method)
        GrpcServer(Gate("echo", verifier, Metrics(), Tracing()), [(add, Endless())])

    with pytest.raises(UnguardedMethodError, match=fault):
        loop.run_until_complete(start())
