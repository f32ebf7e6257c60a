"""The runner of a service: its parts put together, its roles started, and stopped in order.

A service describes itself in one `Service(...)`; `python -m services.<name> <role>…` runs the roles named, `all` every
role that goes on. `rebuild`, `redrive` and `restored` do one thing and end, and so do `migrate` and `schema` (chassis.migrations).
"""

import asyncio
import gc
import signal
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa
import structlog
import uvloop

from chassis import roles
from chassis.broker import Broker, current_clock, follow_clock
from chassis.clock import ReplayClock
from chassis.commands import Handlers
from chassis.credentials import KeySet, Verifier
from chassis.due_times import Together
from chassis.grpc_server import Gate, GrpcServer, Registration
from chassis.kit import Kit, opened
from chassis.loops import Loop, supervised, watched
from chassis.operations import OperationsServicer
from chassis.published_log import PartitionKey, PublicLog, Publish
from chassis.settings import SHORTEST_SECRET, ChassisSettings, InvalidSettingsError
from chassis.tail import Log
from chassis.telemetry import configure_logs
from scrm.ops.v1.operations_service_pb2_grpc import add_OperationsServiceServicer_to_server

if TYPE_CHECKING:  # who has no such door need not import a server for it
    from chassis.http_edge import HttpEdge

OBSERVE_SECONDS: Final = 5.0
_LITTLE_GARBAGE: Final = 50_000
"""Objects made more than freed, before they are looked through for garbage; with the 700 of Python that was a tenth of all time."""

LAG_SECONDS: Final = 2.0  # for how long a read waits for the position it asks for
SERVE: Final = "serve"
EDGE: Final = "edge"
_CANCEL_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
OneShot: TypeAlias = Callable[["Service", Sequence[str]], Coroutine[Any, Any, None]]
"""Does one thing with a service, for the arguments of the command line, and ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """All that makes one service out of the chassis.

    `servicers`, `subscriptions`, `public_logs` and each of `loops` are called once with the kit of the process.
    `publish` turns a recorded event into what other services read of it and `partition_key` names the customer it is
    about; with them the event store is published as a log of the service's name, beside `public_logs`, without the
    events of the classes `private`. `sources` are logs in the database that projections are made of, beside events and inbox.
    `timers` gives the command for a due timer by its kind. `edge` makes the HTTP server of the role of that name. `one_shots`
    are roles that end, beside those that every service has.
    """

    name: str
    settings: ChassisSettings
    handlers: Handlers
    servicers: Callable[[Kit], Sequence[Registration]]
    publish: Publish | None = None
    partition_key: PartitionKey | None = None
    private: Collection[type] = ()
    projections: Sequence[Any] = ()
    sources: Callable[[sa.Engine], Mapping[str, Log]] = lambda engine: {}
    subscriptions: Callable[[Kit], Sequence[Any]] = lambda kit: ()
    timers: Mapping[str, Callable[[Any], Any] | Together] = field(default_factory=dict)
    public_logs: Callable[[Kit], Sequence[PublicLog]] = lambda kit: ()
    loops: Mapping[str, Callable[[Kit], Loop]] = field(default_factory=dict)
    edge: Callable[[Kit], "HttpEdge"] | None = None
    one_shots: Mapping[str, OneShot] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that go on until stopped, in the order in which they start."""
        return (SERVE, *roles.LOOPS, *self.loops, *((EDGE,) if self.edge else ()))

    def run(self, arguments: Sequence[str]) -> None:
        """Run what `arguments` name until SIGTERM or SIGINT. Raises InvalidSettingsError when they name nothing we know."""
        configure_logs(self.name, self.settings.log_level)
        work = self._work(arguments)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work())

    def _work(self, arguments: Sequence[str]) -> Work:
        first, *rest = arguments or [""]
        one_shots = {**roles.ONE_SHOTS, **self.one_shots}
        if first in one_shots:
            return lambda: one_shots[first](self, rest)
        wanted = self.roles if list(arguments) == ["all"] else tuple(arguments)
        unknown = [it for it in wanted if it not in self.roles]
        if unknown or not wanted:
            raise InvalidSettingsError(
                f"usage: one or more of {' '.join(self.roles)}, or all, or one of migrate schema {' '.join(one_shots)}"
            )
        return lambda: self._until_signalled(wanted)

    async def _until_signalled(self, wanted: Sequence[str]) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_roles(self, wanted, stop=stop)


async def run_roles(
    service: Service, wanted: Sequence[str], *, stop: asyncio.Event, started: Callable[[int], None] | None = None
) -> None:
    """Run the roles `wanted` until `stop` is set; `started` is told the port of gRPC once they work."""
    settings = service.settings
    async with opened(settings, service.handlers) as kit, _Tasks() as tasks:
        connected = tasks.start("broker", kit.broker.connect())
        if isinstance(kit.clock, ReplayClock):
            await connected
            await _take_up_clock(kit.broker, kit.clock)
            tasks.start("clock", follow_clock(kit.broker, kit.clock))
        loops = [it for role in wanted if role not in (SERVE, EDGE) for it in roles.loops(service, kit, role)]
        server = await _server(service, kit, loops, tasks, serve=SERVE in wanted)
        edge = service.edge(kit) if service.edge and EDGE in wanted else None
        if edge:
            door = await edge.start(settings.edge_host, settings.edge_port)
            _log.info("service.edge", port=door)
        port = await server.start(f"{settings.grpc_host}:{settings.grpc_port}")
        kit.metrics.serve(settings.metrics_port)
        for loop in loops:
            tasks.start(loop.name, supervised(loop))
        tasks.start("watched", watched(loops, kit.metrics.observe, OBSERVE_SECONDS))
        gc.set_threshold(_LITTLE_GARBAGE)
        gc.freeze()  # what lives as long as the process need not be looked through again and again
        _log.info("service.started", roles=list(wanted), port=port)
        if started:
            started(port)
        await _until(stop, connected)
        _log.info("service.stopping")
        await server.drain()
        if edge:
            edge.drain()
        await asyncio.sleep(settings.drain_seconds)
        if edge:
            await edge.stop(settings.stop_grace_seconds)
        await server.stop(settings.stop_grace_seconds)


async def _server(service: Service, kit: Kit, loops: Sequence[Loop], tasks: "_Tasks", *, serve: bool) -> GrpcServer:
    """The server of this process: health and progress in any case, the service itself with the role `serve`."""
    settings = service.settings
    if not settings.jwks:
        raise InvalidSettingsError("SCRM_JWKS is needed")
    if len(settings.receipt_key) < SHORTEST_SECRET:
        raise InvalidSettingsError(f"SCRM_RECEIPT_KEY needs at least {SHORTEST_SECRET} characters")
    keys = await KeySet.opened(settings.jwks)
    tasks.start("keys", keys.follow())
    gate = Gate(
        service=service.name,
        verifier=Verifier(keys, settings.issuer, settings.audience),
        metrics=kit.metrics,
        tracing=kit.tracing,
        wait_for=lambda position: kit.read_models.wait_for(position, LAG_SECONDS),
        most_calls=settings.max_calls,
        receipt_key=settings.receipt_key,
    )
    progress = OperationsServicer(service.name, kit.clock, kit.store.head_now, loops)
    registrations: list[Registration] = [(add_OperationsServiceServicer_to_server, progress)]
    if serve:
        registrations.extend(service.servicers(kit))
    return GrpcServer(gate, registrations, reflect=settings.reflection)


async def _until(stop: asyncio.Event, connected: asyncio.Task[None]) -> None:
    """Wait for `stop`; a broker that is refused ends the process."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({stopped, connected}, return_when=asyncio.FIRST_COMPLETED)
        if connected.done():
            connected.result()
        await stopped
    finally:
        stopped.cancel()


async def _take_up_clock(broker: Broker, clock: ReplayClock) -> None:
    """Where the replay stands, for a process that starts in its middle."""
    at = await current_clock(broker)
    if at is not None:
        clock.set(at)


class _Tasks:
    """Everything that runs in the background, cancelled together."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._tasks.append(asyncio.create_task(work, name=name))
        return self._tasks[-1]

    async def __aenter__(self) -> "_Tasks":
        return self

    async def __aexit__(self, *_: object) -> None:
        running = {it for it in self._tasks if not it.done()}
        while running:  # Python 3.11's wait_for, below the client of NATS, forgets a cancellation that meets its answer
            for task in running:
                task.cancel()
            running = (await asyncio.wait(running, timeout=_CANCEL_SECONDS))[1]
        await asyncio.gather(*self._tasks, return_exceptions=True)
