"""A client of the services that does not give up: the same request again, with the same number, until it is answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final

import grpc

from chassis.status import refusal
from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from scrm.membership.v1.membership_service_pb2_grpc import MembershipServiceStub
from scrm.ops.v1.operations_service_pb2 import GetProgressRequest
from scrm.ops.v1.operations_service_pb2_grpc import OperationsServiceStub
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub
from scrm.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub

TENANT: Final = "faults"
_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.3
_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.enable_retries", 0),
)
_STUBS: Final[Mapping[str, Callable[[grpc.Channel], Any]]] = {
    "identity": IdentityServiceStub,
    "tracking": TrackingServiceStub,
    "tagging": TaggingServiceStub,
    "membership": MembershipServiceStub,
}


class NeverAnsweredError(Exception):
    """A request was not answered for as long as we were willing to wait."""


class NeverAtRestError(Exception):
    """The services did not come to rest; says what they were still doing."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a caller calls: where the services are, by name, with which options, and for how many seconds it does not give up."""

    targets: Mapping[str, str]
    options: Sequence[tuple[str, Any]] = _OPTIONS
    patience: float = 90.0


class Caller:
    """Calls the services of a stack for one tenant, from any thread."""

    def __init__(self, stack: LocalStack, manner: Manner | None = None) -> None:
        self._manner = manner or Manner({name: stack.address(name) for name in stack.services})
        self._metadata = (("authorization", f"Bearer {stack.credentials.mint(TENANT, scopes())}"),)
        self._channels = {
            name: grpc.insecure_channel(target, self._manner.options) for name, target in self._manner.targets.items()
        }
        self._stubs = {name: _STUBS[name](channel) for name, channel in self._channels.items()}
        self._operations = {name: OperationsServiceStub(channel) for name, channel in self._channels.items()}
        self._watched: list[grpc.Channel] = []
        self.repeats = 0

    def watch(self, processes: Mapping[str, str]) -> None:
        """Ask these for their progress from now on, by their addresses, where a service is more than one process."""
        self._watched += (channels := [grpc.insecure_channel(it, _OPTIONS) for it in processes.values()])
        self._operations = dict(zip(processes, map(OperationsServiceStub, channels), strict=True))

    def close(self) -> None:
        for it in (*self._channels.values(), *self._watched):
            it.close()

    @property
    def services(self) -> Sequence[str]:
        return tuple(self._stubs)

    def call(self, rpc: str, request: Any, seconds: float = 10.0) -> Any:
        """One attempt at `rpc`, such as "identity.ResolveIdentity". Raises grpc.RpcError."""
        service, _, method = rpc.partition(".")
        return getattr(self._stubs[service], method)(request, metadata=self._metadata, timeout=seconds)

    def insist(self, rpc: str, request: Any, *, eager: bool = False) -> Any:
        """The answer, however often the service has to be asked. Raises grpc.RpcError for a refusal, NeverAnsweredError.

        It is asked with growing pauses, or in quick succession by who is `eager` to know when it is back.
        """
        give_up, pause = monotonic() + self._manner.patience, _PAUSE_SECONDS
        while True:
            try:
                return self.call(rpc, request)
            except grpc.RpcError as error:
                if not refusal(error).is_transient:
                    raise
                if monotonic() > give_up:
                    raise NeverAnsweredError(f"{rpc}: {error}") from error
                self.repeats += 1
                sleep(pause)
                pause = _PAUSE_SECONDS if eager else min(pause * 1.5, _LONGEST_PAUSE_SECONDS)

    def progress(self, service: str) -> Any:
        """What the service says about its background work. Raises grpc.RpcError."""
        return self._operations[service].GetProgress(GetProgressRequest(), metadata=self._metadata, timeout=10)

    def rest(self, patience: float = 120.0) -> None:
        """Wait until nothing is left to do anywhere: two rounds over all services find everything settled and unmoved."""
        give_up = monotonic() + patience
        seen: list[int] | None = None
        while True:
            found = self._round()
            chain = [it.chain for it in found if it.settled]
            if len(chain) == len(self._operations):
                if chain == seen:
                    return
                seen = chain
                continue
            seen = None
            if monotonic() > give_up:
                raise NeverAtRestError("\n".join(map(str, found)))
            sleep(_PAUSE_SECONDS)

    def _round(self) -> list[Any]:
        found = []
        for name in self._operations:
            try:
                found.append(self.progress(name))
            except grpc.RpcError as error:
                if not refusal(error).is_transient:
                    raise
        return found
