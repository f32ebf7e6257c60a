"""Which processes the system has on Kubernetes: the one table that the manifests of the services are generated from.

What depends on the installation (images, addresses, replicas, hosts) is in the overlays; what is here follows from the code,
and tests/k8s compares the two. Memory was measured with every role as a process of its own, idle, on the local stack: 103 to 113 MiB;
158 with all subscriptions of identity, 174 with the names and rules that matching reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

GRPC_PORT: Final = 50051
METRICS_PORT: Final = 9464
EDGE_PORT: Final = 8081

SERVE: Final = "serve"
CONSUME: Final = "consume"
EDGE: Final = "edge"
MIGRATE: Final = "migrate"


@dataclass(frozen=True, slots=True)
class Size:
    """What a container asks for and may have: CPU in thousandths of a core, memory in MiB.

    There is no limit of CPU: a loop that is throttled in the middle of a transaction holds its locks for longer.
    """

    cpu: int
    memory: int
    most_memory: int


LOOP: Final = Size(cpu=100, memory=160, most_memory=512)
"""A background role: one and a half times what it takes idle, and room for a batch."""
ANSWERING: Final = Size(cpu=500, memory=256, most_memory=1024)
"""A role that callers wait for; one process uses one core at the most (docs/performance.md)."""
LARGE: Final = Size(cpu=250, memory=320, most_memory=1024)
"""A loop that holds much at once: dictionaries of names, or a large share of what other services publish."""


@dataclass(frozen=True, slots=True)
class Role:
    """One workload of a service.

    `calls` are the services whose gRPC it needs. `replicas` above 1 means the role may run side by side: callers are spread over
    them, and of a loop one works and the others wait to take over.
    """

    name: str
    size: Size = LOOP
    calls: tuple[str, ...] = ()
    replicas: int = 1

    @property
    def answers(self) -> bool:
        """Whether somebody waits for its answers, so that it is scaled by load and drained before it stops."""
        return self.name in (SERVE, EDGE)


@dataclass(frozen=True, slots=True)
class Part:
    """One service. `settings` are told to all its roles; SCRM_SHARD_COUNT among them is the number of processes that consume.

    `secrets` are variables by (name of the Secret, key), `files` variables by (Secret, file) that is mounted."""

    name: str
    roles: tuple[Role, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def database_secret(self) -> str:
        """The Secret with the connection strings of `owner`, `writer` and `reader`."""
        return f"{self.name}-database"


SERVING: Final = Role(SERVE, ANSWERING, replicas=2)
LEARNING: Final = Role(SERVE, replace(ANSWERING, most_memory=2048), replicas=2)
"""It starts a child that learns, which shares its memory: 150 MiB for scikit-learn, and what the child is given several times over."""
RELAY, PROJECT, CONSUMING, TIMERS = (Role(it) for it in ("relay", "project", CONSUME, "timers"))

PARTS: Final = (
    Part(
        "identity",
        (
            # It asks the others whether they are there, to say how far a profile can be relied on.
            Role(SERVE, ANSWERING, calls=("tracking", "tagging", "membership", "campaigns"), replicas=2),
            RELAY,
            PROJECT,
            Role(CONSUME, LARGE),
            TIMERS,
            Role("match", LARGE),
        ),
        settings={
            "SCRM_SHARD_COUNT": "1",
            "SCRM_IDENTITY_REGION": "CN",
            "SCRM_IDENTITY_REGIONS": "",
            "SCRM_IDENTITY_ERASURE_GRACE": "60",
            "SCRM_IDENTITY_ERASURE_GRACES": "",
        },
        secrets={"SCRM_IDENTITY_HASH_KEY": ("identity-hash-key", "hash-key")},
        files={
            "SCRM_IDENTITY_KEYS": ("identity-keys", "keys.json"),
            "SCRM_SERVICE_KEY": ("identity-service-key", "private-key.pem"),
        },
    ),
    Part(
        "tracking",
        (
            Role(SERVE, ANSWERING, calls=("identity",), replicas=2),
            Role(EDGE, ANSWERING, replicas=2),
            RELAY,
            PROJECT,
            CONSUMING,
            Role("resolve", LOOP, calls=("identity",)),
            TIMERS,
            Role("orders"),
            Role("facts"),
            Role("clicks"),
            Role("erase"),
            Role("retention"),
        ),
        settings={
            "SCRM_SHARD_COUNT": "1",
            "SCRM_TRACKING_ACCEPTED_DAYS": "100",
            "SCRM_TRACKING_ASIDE_DAYS": "90",
            "SCRM_TRACKING_BEHAVIOUR_DAYS": "1116",
        },
        files={
            "SCRM_TRACKING_KEYS": ("tracking-keys", "keys.json"),
            "SCRM_SERVICE_KEY": ("tracking-service-key", "private-key.pem"),
        },
    ),
    Part(
        "tagging",
        (
            LEARNING,
            RELAY,
            PROJECT,
            Role(CONSUME, LARGE),
            TIMERS,
            Role("alerts"),
            Role("refreshes"),
            Role("valuations", LARGE),
        ),
        settings={"SCRM_SHARD_COUNT": "1"},
    ),
    Part("membership", (SERVING, RELAY, PROJECT, CONSUMING, TIMERS), settings={"SCRM_SHARD_COUNT": "1"}),
    Part(
        "campaigns",
        (SERVING, RELAY, PROJECT, CONSUMING, TIMERS, Role("dispatch", LOOP, calls=("tagging",))),
        settings={"SCRM_SHARD_COUNT": "1", "SCRM_LEASE_SECONDS": "5"},
        files={"SCRM_SERVICE_KEY": ("campaigns-service-key", "private-key.pem")},
    ),
)
