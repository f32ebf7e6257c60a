"""The services as they are on Kubernetes: each role a process of its own, two of those that answer, and replaced one by one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from deploy.k8s.parts import CONSUME, EDGE, PARTS, SERVE
from deploy.local.processes import free_port
from deploy.local.stack import LocalStack, Service, all_at_once

REPLICAS: Final = 2
_DRAIN_SECONDS: Final = "0.2"


@dataclass(slots=True)
class Workload:
    """Processes with the same roles; `ports` are one more than there are replicas, for the new one beside the old."""

    service: str
    roles: Sequence[str]
    ports: Sequence[int]
    make: Callable[[int], Service]
    running: list[Service] = field(default_factory=list)
    ended_badly: list[str] = field(default_factory=list)
    replaced: int = 0

    @property
    def name(self) -> str:
        return f"{self.service}-{'-'.join(self.roles)}"

    @property
    def answers(self) -> bool:
        return self.roles[0] in (SERVE, EDGE)

    def start(self) -> None:
        self.running = [self.make(port) for port in self.ports[:-1]]
        for it in self.running:
            it.start()

    def replace_all(self) -> None:
        """Replace each process: the new one serves before the old one is told to stop, but for numbered ones (StatefulSet)."""
        for old in list(self.running):
            new = self.make(self._free_port())
            if CONSUME in self.roles:
                self._stop(old)
                new.start()
            else:
                new.start()
                self._stop(old)
            self.running[self.running.index(old)] = new
            self.replaced += 1

    def _stop(self, old: Service) -> None:
        old.stop()
        if old.child.status != 0:
            said = old.child.log_tail()
            self.ended_badly.append(
                f"a process of {self.name} ended with {old.child.status}; its service said:\n{said}"
            )

    def _free_port(self) -> int:
        taken = {it.address for it in self.running}
        return next(it for it in self.ports if f"127.0.0.1:{it}" not in taken)


class Fleet:
    """All workloads of a prepared stack. `apart`: each role by itself; otherwise all that nobody waits for in one process."""

    def __init__(self, stack: LocalStack, *, apart: bool) -> None:
        self._stack = stack
        self._serving = {name: [free_port() for _ in range(REPLICAS + 1)] for name in stack.services}
        self.workloads = [it for name in stack.services for it in self._workloads(name, apart=apart)]

    @property
    def targets(self) -> Mapping[str, str]:
        """All addresses that a service may answer at, as gRPC takes them; at one of them nobody is."""
        return {
            name: "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports) for name, ports in self._serving.items()
        }

    @property
    def processes(self) -> Mapping[str, str]:
        """The addresses of the processes that run, by a name."""
        return {f"{it.name}/{n}": one.address for it in self.workloads for n, one in enumerate(it.running)}

    def start(self) -> None:
        all_at_once([partial(self._each, name, Workload.start) for name in self._stack.services])

    def stop(self) -> None:
        all_at_once([one.stop for it in self.workloads for one in it.running])

    def replace_all(self) -> None:
        """A new version of everything at once: the workloads of a service one after the other, the services side by side."""
        all_at_once([partial(self._each, name, Workload.replace_all) for name in self._stack.services])

    def of(self, service: str, role: str) -> Workload:
        (found,) = [it for it in self.workloads if it.service == service and role in it.roles]
        return found

    def _each(self, service: str, do: Callable[[Workload], None]) -> None:
        for it in self.workloads:
            if it.service == service:
                do(it)

    def _workloads(self, name: str, *, apart: bool) -> list[Workload]:
        (roles,) = [[role.name for role in part.roles] for part in PARTS if part.name == name]
        behind = [it for it in roles if it not in (SERVE, EDGE)]
        groups = [[it] for it in behind] if apart else [behind]
        found = [self._workload(name, [SERVE], self._serving[name])]
        if EDGE in roles:
            found.append(self._workload(name, [EDGE], [free_port() for _ in range(REPLICAS + 1)]))
        return found + [self._workload(name, group, [free_port(), free_port()]) for group in groups]

    def _workload(self, name: str, roles: Sequence[str], ports: Sequence[int]) -> Workload:
        return Workload(name, roles, ports, partial(self._process, name, roles))

    def _process(self, name: str, roles: Sequence[str], port: int) -> Service:
        told = {
            **self._stack.environment_of(name),
            **{f"SCRM_{other.upper()}_ADDRESS": target for other, target in self.targets.items()},
            "SCRM_GRPC_PORT": str(port),
            "SCRM_METRICS_PORT": "0",
            "SCRM_EDGE_PORT": "0",
            "SCRM_DRAIN_SECONDS": _DRAIN_SECONDS,
            "SCRM_POLL_SECONDS": "0.05",
        }
        return Service(name, told, self._stack.log_of(name), roles)
