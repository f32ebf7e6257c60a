"""The whole system on one machine: PostgreSQL, NATS, the five services and the gateway, as child processes."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final, Protocol, Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.migrations import migrate_now
from deploy.local.broker import NatsServer
from deploy.local.contracts import DESCRIPTORS, ROOT
from deploy.local.credentials import Credentials
from deploy.local.envoy_process import Envoy
from deploy.local.gateway import Gateway
from deploy.local.postgres import Postgres
from deploy.local.processes import Child, Program, free_port
from deploy.local.subscribers import Register

SERVICES: Final = ("identity", "tracking", "tagging", "membership", "campaigns")
ROLES: Final = ("all",)
_MIGRATING: Final = Lock()
"""Alembic keeps what it is at in variables of its module."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, all on 127.0.0.1; `grpc` and `metrics` are per service."""

    postgres: int
    nats: int
    nats_monitor: int
    gateway: int
    gateway_admin: int
    edge: int
    grpc: Mapping[str, int]
    metrics: Mapping[str, int]

    @classmethod
    def fixed(cls) -> Self:
        """The ports of `make up`: the same every time, so that they can be bookmarked."""
        return cls(
            postgres=15432,
            nats=14222,
            nats_monitor=18222,
            gateway=8080,
            gateway_admin=9901,
            edge=8081,
            grpc={name: 7101 + i for i, name in enumerate(SERVICES)},
            metrics={name: 9461 + i for i, name in enumerate(SERVICES)},
        )

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody uses now."""
        return cls(
            postgres=free_port(),
            nats=free_port(),
            nats_monitor=free_port(),
            gateway=free_port(),
            gateway_admin=free_port(),
            edge=free_port(),
            grpc={name: free_port() for name in SERVICES},
            metrics={name: free_port() for name in SERVICES},
        )


class Component(Protocol):
    """A part of the stack."""

    child: Child

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


class Service:
    """One service in one process, with all its roles or those that are named; `folder` holds its code."""

    def __init__(
        self, name: str, environment: Mapping[str, str], log: Path, roles: Sequence[str] = ROLES, folder: Path = ROOT
    ) -> None:
        self.name = name
        self.address = f"127.0.0.1:{environment['SCRM_GRPC_PORT']}"
        self._command = (sys.executable, "-m", f"services.{name}")
        self._environment = dict(environment)
        self._log = log
        self._folder = folder
        self.child = Child(Program(name, (*self._command, *roles), log, self._environment, folder=folder))

    def migrate(self) -> None:
        """Bring the tables of the service to the present version; wait until that is done."""
        program = Program(
            f"{self.name} migrate", (*self._command, "migrate"), self._log, self._environment, folder=self._folder
        )
        migration = Child(program)
        migration.start()
        migration.wait(timeout_seconds=120)

    def start(self) -> None:
        """Start the process and wait until its gRPC health says SERVING."""
        self.child.start()
        with grpc.insecure_channel(self.address, options=[("grpc.max_reconnect_backoff_ms", 100)]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            self.child.wait_until(lambda: _is_serving(health))

    def stop(self) -> None:
        self.child.stop()

    def kill(self) -> None:
        self.child.kill()


class LocalStack:
    """The real components and the services `services`, with all they keep in `state_dir`.

    `clock` is "system" or "replay"; `environment` is added to what every service gets. A context manager: `with` starts and stops.
    """

    def __init__(
        self,
        state_dir: Path,
        services: Sequence[str] = SERVICES,
        ports: Ports | None = None,
        clock: str = "system",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self.ports = ports or Ports.free()
        self.credentials = Credentials.in_folder(self.state_dir / "credentials")
        self.postgres = Postgres(self.state_dir / "postgres", self.ports.postgres, {"shared_buffers": "512MB"})
        self.nats = nats_server(self.state_dir, self.ports)
        extra = {"SCRM_CLOCK": clock, **(environment or {})}
        self.services = {
            name: Service(name, {**self.environment_of(name), **extra}, self.log_of(name)) for name in services
        }
        self.envoy = Envoy(self.state_dir, self._gateway(services))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything in the order of need and wait until all of it serves."""
        all_at_once([self.postgres.start, self.nats.start])
        all_at_once([partial(self._bring_up, service) for service in self.services.values()])
        self.envoy.start()

    def prepare(self) -> None:
        """Start PostgreSQL and NATS, and make the databases of the services, which somebody else is to run."""
        all_at_once([self.postgres.start, self.nats.start])
        all_at_once([partial(self._migrate, service) for service in self.services.values()])

    def stop(self) -> None:
        """Stop everything in the opposite order; what is not running is left alone."""
        self.envoy.stop()
        all_at_once([service.stop for service in self.services.values()])
        self.nats.stop()
        self.postgres.stop()

    def component(self, name: str) -> Component:
        """A part by its name: "postgres", "nats", "envoy" or that of a service."""
        others: dict[str, Component] = {"postgres": self.postgres, "nats": self.nats, "envoy": self.envoy}
        return others.get(name) or self.services[name]

    def kill(self, name: str) -> None:
        """SIGKILL one part and wait until it is gone."""
        self.component(name).kill()

    def restart(self, name: str) -> None:
        """Stop one part where it still runs, start it, and wait until it serves."""
        self.component(name).stop()
        self.component(name).start()

    def pid(self, name: str) -> int:
        return self.component(name).child.pid

    def address(self, service: str) -> str:
        """host:port of the gRPC server of a service, past the gateway."""
        return f"127.0.0.1:{self.ports.grpc[service]}"

    def log_of(self, name: str) -> Path:
        return self.state_dir / "logs" / f"{name}.log"

    def _bring_up(self, service: Service) -> None:
        self._migrate(service)
        service.start()

    def _migrate(self, service: Service) -> None:
        """In this process: one that does nothing else takes three times as long to import what it needs as to migrate."""
        database = self.postgres.create_database(service.name)
        migrations = ROOT / "services" / service.name / "migrations"
        with _MIGRATING:
            migrate_now(database.owner_dsn, migrations if migrations.is_dir() else None)

    def environment_of(self, name: str) -> dict[str, str]:
        """The whole environment of a service: ours without our own settings, and what ARCHITECTURE calls its settings."""
        database = self.postgres.database(name)
        # Compiling our sources and the generated ones anew at every start takes as long as a quarter of the start.
        ours = ("SCRM_", "PYTHONDONTWRITEBYTECODE")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return {
            **inherited,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}",
            "PYTHONUNBUFFERED": "1",
            "GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR"),
            "SCRM_DATABASE_URL": database.writer_dsn,
            "SCRM_READER_DATABASE_URL": database.reader_dsn,
            "SCRM_OWNER_DATABASE_URL": database.owner_dsn,
            "SCRM_NATS_URL": self.nats.url,
            "SCRM_NATS_MONITOR_URL": self.nats.monitor_url,
            "SCRM_GRPC_PORT": str(self.ports.grpc[name]),
            "SCRM_METRICS_PORT": str(self.ports.metrics[name]),
            "SCRM_EDGE_PORT": str(self.ports.edge),
            "SCRM_JWKS": str(self.credentials.jwks),
            "SCRM_REFLECTION": "1",
            "SCRM_RECEIPT_KEY": self.credentials.secret("receipt_key"),
            # One process has all roles of its service: what it commits wakes its loops, nobody else commits.
            "SCRM_POLL_SECONDS": "0.5",
            # With this key a service signs its own token for calling another one; on Kubernetes it gets one from its platform.
            "SCRM_SERVICE_KEY": str(self.credentials.private_key),
            **{f"SCRM_{other.upper()}_ADDRESS": self.address(other) for other in SERVICES},
            **self._secrets_of(name),
        }

    def _secrets_of(self, name: str) -> dict[str, str]:
        """What only one service is told."""
        match name:
            case "identity":
                hash_key, keys = (
                    self.credentials.secret("identity_hash_key"),
                    self.credentials.key_file("identity_keys"),
                )
                return {"SCRM_IDENTITY_HASH_KEY": hash_key, "SCRM_IDENTITY_KEYS": str(keys)}
            case "tracking":
                return {"SCRM_TRACKING_KEYS": str(self.credentials.key_file("tracking_keys"))}
        return {}

    def _gateway(self, services: Sequence[str]) -> Gateway:
        return Gateway(
            listen=("127.0.0.1", self.ports.gateway),
            admin=("127.0.0.1", self.ports.gateway_admin),
            backends={name: ("127.0.0.1", self.ports.grpc[name]) for name in services},
            descriptors=DESCRIPTORS,
            jwks=self.credentials.jwks,
            edge=("127.0.0.1", self.ports.edge) if "tracking" in services else None,
            pages=self.state_dir / "docs",
            access_log=self.log_of("access"),
        )


def nats_server(state_dir: Path, ports: Ports) -> NatsServer:
    """NATS as the stack has it: with the password and the subscribers that are kept in `state_dir`."""
    credentials = Credentials.in_folder(state_dir / "credentials")
    return NatsServer(
        state_dir / "nats",
        ports.nats,
        ports.nats_monitor,
        credentials.secret("nats_password"),
        register(state_dir).all(),
    )


def register(state_dir: Path) -> Register:
    """The subscribers of the stack."""
    return Register(state_dir / "credentials" / "subscribers.json")


def _is_serving(health: health_pb2_grpc.HealthStub) -> bool:
    try:
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1)  # type: ignore[attr-defined]  # stubs lack it
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def all_at_once(actions: Sequence[Callable[[], None]]) -> None:
    """Run `actions` side by side, wait for all, raise the first failure."""
    if not actions:
        return
    with ThreadPoolExecutor(len(actions)) as pool:
        for done in [pool.submit(action) for action in actions]:
            done.result()
