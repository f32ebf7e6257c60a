"""A service with nothing behind it: the role that answers calls in a process and a database of its own.

What others make of an event runs in other processes, and in production on other machines; on this one it would take the processor
from the call that is measured.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from chassis.service import SERVE
from deploy.local.postgres import Database
from deploy.local.processes import free_port
from deploy.local.stack import LocalStack, Service


@dataclass(frozen=True, slots=True)
class Alone:
    """Its process, where it listens, and its database; the port of its HTTP door, if it has that role."""

    pid: int
    address: str
    database: Database
    edge_port: int


@contextmanager
def serving_alone(stack: LocalStack, name: str, roles: Sequence[str] = (SERVE,)) -> Iterator[Alone]:
    """Service `name` with `roles`, which answer calls, and no others."""
    database = stack.postgres.create_database(f"bench_{name}")
    _service(stack, name, database, roles)[0].migrate()
    with _serving(stack, name, database, roles) as alone:
        yield alone


@contextmanager
def second_replica(stack: LocalStack, name: str, first: Alone, roles: Sequence[str] = (SERVE,)) -> Iterator[Alone]:
    """Another process of the same service on the same database, as a Deployment with two replicas has."""
    with _serving(stack, name, first.database, roles) as second:
        yield second


@contextmanager
def _serving(stack: LocalStack, name: str, database: Database, roles: Sequence[str]) -> Iterator[Alone]:
    service, edge_port = _service(stack, name, database, roles)
    service.start()
    try:
        yield Alone(service.child.pid, service.address, database, edge_port)
    finally:
        service.stop()


def _service(stack: LocalStack, name: str, database: Database, roles: Sequence[str]) -> tuple[Service, int]:
    edge_port = free_port()
    environment = {
        **stack.environment_of(name),
        "SCRM_DATABASE_URL": database.writer_dsn,
        "SCRM_READER_DATABASE_URL": database.reader_dsn,
        "SCRM_OWNER_DATABASE_URL": database.owner_dsn,
        "SCRM_GRPC_PORT": str(free_port()),
        "SCRM_METRICS_PORT": str(free_port()),
        "SCRM_EDGE_PORT": str(edge_port),
    }
    return Service(name, environment, stack.log_of(f"{name}_alone"), roles), edge_port
