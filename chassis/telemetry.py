"""What a running service tells about itself: structured logs, Prometheus metrics, OpenTelemetry traces.

Logs are JSON lines on stdout with the trace and tenant of the call they belong to; no personal data goes in. Traces
are off unless an exporter is named by the standard OTEL_* variables; an incoming trace is carried on in any case.
"""

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from chassis import context
from chassis.loops import Progress

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_TRACEPARENT: Final = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_STREAM_SECONDS: Final = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def configure_logs(service: str, level: str = "INFO") -> None:
    """Send every log line to stdout as JSON. Once per process, before the first channel or server of grpc is made.

    At level DEBUG, for development, the text of exceptions is logged too.
    """

    def add_service(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_service,
        _add_call,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if level == "DEBUG" else _add_frames,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_json)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(logging.getLevelNamesMapping()[level], logging.WARNING))


def _add_call(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    try:
        call = context.current()
    except LookupError:
        return event
    event.setdefault("tenant", call.tenant)
    if call.traceparent:
        event.setdefault("trace_id", call.traceparent[3:35])
    return event


def _add_frames(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Where an exception came from, without its text: that may quote a row or a value, and so a person."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()[1]
    elif isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        frames = traceback.extract_tb(found.__traceback__)
        event["exception"] = f"{type(found).__module__}.{type(found).__qualname__}"
        event["frames"] = [f"{it.filename}:{it.lineno} {it.name}" for it in frames]
    return event


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


class Metrics:
    """The numbers of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.calls = Histogram(
            "scrm_grpc_seconds", "Duration of gRPC calls.", ["rpc", "code"], buckets=_SECONDS, registry=self.registry
        )
        # Streams last as long as their callers read or write: among the calls they would hide how fast those are.
        self.streams = Histogram(
            "scrm_grpc_stream_seconds",
            "Duration of gRPC streams.",
            ["rpc", "code"],
            buckets=_STREAM_SECONDS,
            registry=self.registry,
        )
        self.stream_messages = Counter(
            "scrm_grpc_stream_messages", "Messages of gRPC streams.", ["rpc"], registry=self.registry
        )
        self.http = Histogram(
            "scrm_http_seconds",
            "Duration of HTTP requests.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.commands = Counter("scrm_commands", "Commands by outcome.", ["command", "outcome"], registry=self.registry)
        self._concluded = cache(self.commands.labels)
        self.events = Counter("scrm_events", "Events appended.", registry=self.registry)
        self.batch_size = Histogram(
            "scrm_batch_size", "Commands per transaction.", buckets=_SIZES, registry=self.registry
        )
        self.commit_seconds = Histogram(
            "scrm_commit_seconds", "Duration of a transaction.", buckets=_SECONDS, registry=self.registry
        )
        self.lag = Gauge(
            "scrm_lag", "Pieces of work a loop is behind.", ["kind", "loop", "stream"], registry=self.registry
        )
        self.position = Gauge(
            "scrm_position", "How far a loop has come.", ["kind", "loop", "stream"], registry=self.registry
        )
        self.parked = Gauge(
            "scrm_parked", "Messages put aside by a consumer.", ["loop", "stream"], registry=self.registry
        )

    def serve(self, port: int) -> None:
        """Answer GET /metrics on `port` from a thread of its own; 0 for not at all."""
        if port:
            start_http_server(port, registry=self.registry)

    def committed(self, commands: int, events: int, seconds: float) -> None:
        """Take in one transaction of the command bus."""
        self.batch_size.observe(commands)
        self.events.inc(events)
        self.commit_seconds.observe(seconds)

    def concluded(self, command: str, outcome: str) -> None:
        """Take in how one command ended."""
        self._concluded(command, outcome).inc()

    def observe(self, found: Progress) -> None:
        """Take in how far a loop is."""
        labels = (found.kind, found.name, found.stream)
        self.lag.labels(*labels).set(found.backlog)
        self.position.labels(*labels).set(found.position)
        if found.kind == "consumer":
            self.parked.labels(found.name, found.stream).set(found.parked)


def valid_traceparent(text: object) -> str | None:
    """`text` when it is a W3C traceparent, else None."""
    return text if isinstance(text, str) and _TRACEPARENT.fullmatch(text) else None


class Tracing:
    """Spans around calls and batches, or nothing but the trace passed on when no exporter is configured."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("scrm") if provider else None

    @classmethod
    def from_environment(cls, service: str, environment: Mapping[str, str]) -> "Tracing":
        """On when OTEL_TRACES_EXPORTER is "otlp" or OTEL_EXPORTER_OTLP_ENDPOINT is set, unless OTEL_SDK_DISABLED."""
        endpoint = any(
            environment.get(it) for it in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        )
        exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp" if endpoint else "none")
        if exporter != "otlp" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return cls()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider)

    @property
    def is_on(self) -> bool:
        return self._tracer is not None

    @contextmanager
    def span(
        self, name: str, traceparent: str | None, attributes: Mapping[str, str | int], kind: str = "SERVER"
    ) -> Iterator[str | None]:
        """A span below `traceparent`, or a root without one; gives the traceparent for what happens inside."""
        if self._tracer is None:
            yield traceparent
            return
        from opentelemetry import context as contexts
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": traceparent} if traceparent else {}
        propagator = TraceContextTextMapPropagator()
        with self._tracer.start_as_current_span(
            name,
            context=propagator.extract(carrier, contexts.Context()),
            kind=trace.SpanKind[kind],
            attributes=attributes,
            record_exception=False,  # the text of an exception may hold personal data
            set_status_on_exception=False,
        ) as span:
            inner: dict[str, str] = {}
            propagator.inject(inner)
            try:
                yield inner.get("traceparent")
            except BaseException:
                span.set_status(trace.StatusCode.ERROR)
                raise

    def close(self) -> None:
        """Send what is waiting to be sent."""
        if self._provider is not None:
            self._provider.shutdown()
