"""The read models of all services: their hashes as they are, and after they were made again from the logs."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from chassis import builds
from chassis.postgres import create_engine
from deploy.local.processes import Child
from deploy.local.stack import LocalStack
from faults.journal import Finding
from services.identity.read_models.customer_directory import CustomerDirectoryProjection
from services.identity.read_models.identity_statistics import IdentityStatisticsProjection
from services.membership.read_models.members import MembersProjection
from services.membership.read_models.points import PointsProjection
from services.tagging.read_models.rebuild import fingerprint
from services.tracking.read_models.customer_nodes import CustomerNodesProjection
from services.tracking.read_models.orders import OrdersProjection

_PROJECTIONS: Final[Mapping[str, tuple[Any, ...]]] = {
    "identity": (CustomerDirectoryProjection(), IdentityStatisticsProjection()),
    "tracking": (OrdersProjection(), CustomerNodesProjection()),
    "membership": (MembersProjection(), PointsProjection()),
}
_REBUILD_SECONDS: Final = 300


def hashes(stack: LocalStack) -> dict[str, str]:
    """The canonical hash of every read model, by service and name."""
    found: dict[str, str] = {}
    for service in stack.services:
        with _engine(stack, service) as engine:
            for it in _PROJECTIONS.get(service, ()):
                found[f"{service}/{it.name}"] = builds.canonical_hash(engine, it)
            if service == "tagging":
                with engine.begin() as rows:
                    found["tagging/derived tables"] = fingerprint(rows)
    return found


def rebuild(stack: LocalStack) -> None:
    """`python -m services.<name> rebuild` for every service, beside the running ones."""
    rebuilding: list[Child] = []
    for name, service in stack.services.items():
        command = (sys.executable, "-m", f"services.{name}", "rebuild")
        child = Child(replace(service.child.program, name=f"{name} rebuild", command=command))
        child.start()
        rebuilding.append(child)
    for child in rebuilding:
        child.wait(_REBUILD_SECONDS)


def judge(stack: LocalStack) -> Finding:
    """Rebuilt from the logs, every read model is what it was live."""
    live = hashes(stack)
    rebuild(stack)
    return compare(live, hashes(stack), "rebuilt")


def compare(before: Mapping[str, str], after: Mapping[str, str], how: str) -> Finding:
    differing = [name for name, it in before.items() if after.get(name) != it]
    return Finding(problems=[f"the read model {name} is another one {how}" for name in differing])


@contextmanager
def _engine(stack: LocalStack, service: str) -> Iterator[sa.Engine]:
    engine = create_engine(stack.postgres.dsn(service), pool_size=1)
    try:
        yield engine
    finally:
        engine.dispose()
