"""What a process tells about itself, and what it must not tell."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis.commands import UnitOfWork
from chassis.consumer import Incoming, Subscription
from chassis.context import Context
from chassis.loops import Loop, Progress, supervised, watched
from chassis.roles import traced
from chassis.telemetry import Metrics, Tracing, valid_traceparent
from deploy.local.processes import free_port

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

LOGGING = """
import logging, structlog
from chassis import context
from chassis.roles import traced
from chassis.telemetry import configure_logs
configure_logs("echo", {level!r})
log = structlog.get_logger("test")
with context.entered(context.Context("acme", "dev", traceparent={traceparent!r})):
    log.info("brewed", cups=3)
try:
    raise ValueError("13800138000")
except ValueError:
    log.exception("failed")
    logging.getLogger("library").exception("also failed")
logging.getLogger("library").info("chatter")
"""


def logged(level: str) -> list[dict[str, Any]]:
    """The log of a process of its own, since logging is configured once per process."""
    code = LOGGING.format(level=level, traceparent=TRACEPARENT)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_logs_are_json_with_service_tenant_and_trace() -> None:
    brewed = logged("INFO")[0]
    assert (brewed["event"], brewed["cups"], brewed["level"]) == ("brewed", 3, "info")
    assert (brewed["service"], brewed["tenant"]) == ("echo", "acme")
    assert brewed["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert brewed["timestamp"].endswith("Z")


def test_the_text_of_an_exception_is_logged_in_development_only() -> None:
    lines = logged("INFO")
    assert len(lines) == 3
    for line in lines[1:]:
        assert line["exception"] == "builtins.ValueError"
        assert line["frames"]
    assert "13800138000" not in json.dumps(lines)
    assert "13800138000" in json.dumps(logged("DEBUG"))


def test_metrics_are_served_over_http() -> None:
    metrics, port = Metrics(), free_port()
    metrics.concluded("LinkIdentifier", "OK")
    metrics.committed(commands=3, events=5, seconds=0.004)
    metrics.observe(Progress("consumer", "facts", position=7, backlog=2, stream="tracking", parked=1))
    metrics.serve(port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    assert 'scrm_commands_total{command="LinkIdentifier",outcome="OK"} 1.0' in lines
    assert "scrm_events_total 5.0" in lines
    assert "scrm_batch_size_sum 3.0" in lines
    assert 'scrm_lag{kind="consumer",loop="facts",stream="tracking"} 2.0' in lines
    assert 'scrm_parked{loop="facts",stream="tracking"} 1.0' in lines


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (TRACEPARENT, True),
        (None, False),
        (b"x", False),
        (TRACEPARENT + "\n", False),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", False),
        (TRACEPARENT.upper(), False),
    ],
)
def test_only_a_well_formed_traceparent_is_taken(text: object, valid: bool) -> None:
    assert valid_traceparent(text) == (text if valid else None)


def test_a_trace_is_passed_on_as_it_is_without_an_exporter() -> None:
    with Tracing.from_environment("echo", {}).span("call", TRACEPARENT, {}) as traceparent:
        assert traceparent == TRACEPARENT


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_traces_are_off_unless_an_exporter_is_named(environment: dict[str, str], on: bool) -> None:
    assert Tracing.from_environment("echo", environment).is_on == on


def test_a_span_continues_the_trace_it_came_with() -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with (
        pytest.raises(ValueError, match="13800138000"),
        Tracing(provider).span("scrm.echo.v1.EchoService/Say", TRACEPARENT, {"rpc.system": "grpc"}) as traceparent,
    ):
        raise ValueError("13800138000")
    (span,) = spans.get_finished_spans()
    assert traceparent is not None
    assert traceparent[3:35] == TRACEPARENT[3:35]
    assert traceparent != TRACEPARENT
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == TRACEPARENT[36:52]
    assert not span.status.is_ok
    assert "13800138000" not in span.to_json()


@pytest.mark.parametrize("batches", [False, True])
def test_a_consumer_continues_the_trace_of_a_message_and_opens_one_for_a_batch(batches: bool) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    context = Context("acme", "system/consume/tea", traceparent=TRACEPARENT)
    message = Incoming("a", 1, 1, 0, 1, "acme", "t", "k", 0, "a/1/1", datetime(2026, 1, 1, tzinfo=UTC), context, b"")
    handled: list[Any] = []

    def react(incoming: Incoming) -> list[Any]:
        handled.append(incoming)
        return ["command"]

    def absorb(batch: Sequence[Incoming], work: UnitOfWork) -> None:
        handled.extend(batch)

    subscription = traced(Subscription("tea", ["a"], absorb if batches else react), Tracing(provider))
    assert subscription.absorbs == batches
    handle: Any = subscription.handle
    assert handle([message], None) is None if batches else handle(message) == ["command"]
    assert handled == [message]
    (span,) = spans.get_finished_spans()
    assert span.name == "process tea"
    assert (span.parent is None) == batches


class Failing:
    """A loop that fails the first time it is run."""

    name = "failing"

    def __init__(self) -> None:
        self.runs = 0
        self.again = asyncio.Event()

    async def run(self) -> None:
        self.runs += 1
        if self.runs == 1:
            raise RuntimeError
        self.again.set()
        await asyncio.Event().wait()

    async def progress(self) -> list[Progress]:
        return [Progress("loop", self.name, position=self.runs, backlog=0)]


def test_a_loop_that_fails_is_started_again_and_watched(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.loops._RESTART_SECONDS", 0)

    async def run() -> Progress:
        failing = Failing()
        _: Loop = failing
        seen: list[Progress] = []
        looked = asyncio.Event()

        def observe(found: Progress) -> None:
            seen.append(found)
            looked.set()

        tasks = [asyncio.ensure_future(supervised(failing))]
        await failing.again.wait()
        tasks.append(asyncio.ensure_future(watched([failing], observe, 0)))
        await looked.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return seen[0]

    assert loop.run_until_complete(run()).position == 2
