"""What every service is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

SYSTEM_CLOCK: Final = "system"
REPLAY_CLOCK: Final = "replay"
SHORTEST_SECRET: Final = 32


class InvalidSettingsError(Exception):
    """A variable is missing or makes no sense; names the variable, never its value."""


@dataclass(frozen=True, slots=True)
class ChassisSettings:
    """Addresses, credentials and switches; the variables are named `SCRM_` and the field in upper case.

    `service_addresses` are the `SCRM_<SERVICE>_ADDRESS`, by service. `jwks` is a file or an https URL,
    `service_key` the PEM file this service signs its own tokens with, `service_token_file` where tokens made by
    somebody else are found instead. `poll_seconds` is how often loops look for what another process committed; what
    their own process commits wakes them at once. Port 0 of gRPC and edge means any free one, of metrics none. Of up to `shard_count`
    processes with the role `consume` each reads its share, `shard_index`, and those of processes that are missing
    (chassis.shares). `receipt_key` (at least 32 characters) is behind the digests by which
    a request is known again: with another one, requests that were answered before are taken for others of the same id.
    `nats_replicas` is on how many servers of a cluster a new stream is kept.
    """

    service: str
    database_url: str = field(repr=False)
    reader_database_url: str = field(repr=False)
    owner_database_url: str = field(repr=False)
    nats_url: str = field(default="nats://127.0.0.1:4222", repr=False)
    nats_monitor_url: str = ""
    nats_replicas: int = 1
    allow_unsynced_broker: bool = False
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 0
    metrics_port: int = 0
    edge_host: str = "127.0.0.1"
    edge_port: int = 0
    jwks: str = ""
    issuer: str = "scrm-local"
    audience: str = "scrm"
    clock: str = SYSTEM_CLOCK
    service_key: str = ""
    service_token_file: str = ""
    reflection: bool = False
    max_calls: int = 1000
    shard_index: int = 0
    shard_count: int = 1
    drain_seconds: float = 0.0
    stop_grace_seconds: float = 25.0
    log_level: str = "INFO"
    poll_seconds: float = 0.05
    receipt_key: bytes = field(default=b"", repr=False)
    service_addresses: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, service: str, environment: Mapping[str, str] = os.environ) -> "ChassisSettings":
        """The settings of `service` (such as "identity"). Raises InvalidSettingsError."""
        read = Variables(environment)
        writer = read.text("SCRM_DATABASE_URL")
        return cls(
            service=service,
            database_url=writer,
            reader_database_url=read.text("SCRM_READER_DATABASE_URL", writer),
            owner_database_url=read.text("SCRM_OWNER_DATABASE_URL", writer),
            nats_url=read.text("SCRM_NATS_URL", "nats://127.0.0.1:4222"),
            nats_monitor_url=read.text("SCRM_NATS_MONITOR_URL", ""),
            nats_replicas=read.number("SCRM_NATS_REPLICAS", 1),
            allow_unsynced_broker=read.switch("SCRM_ALLOW_UNSYNCED_BROKER"),
            grpc_host=read.text("SCRM_GRPC_HOST", "127.0.0.1"),
            grpc_port=read.number("SCRM_GRPC_PORT", 0),
            metrics_port=read.number("SCRM_METRICS_PORT", 0),
            edge_host=read.text("SCRM_EDGE_HOST", "127.0.0.1"),
            edge_port=read.number("SCRM_EDGE_PORT", 0),
            jwks=read.text("SCRM_JWKS", ""),
            issuer=read.text("SCRM_ISSUER", "scrm-local"),
            audience=read.text("SCRM_AUDIENCE", "scrm"),
            clock=read.one_of("SCRM_CLOCK", (SYSTEM_CLOCK, REPLAY_CLOCK)),
            service_key=read.text("SCRM_SERVICE_KEY", ""),
            service_token_file=read.text("SCRM_SERVICE_TOKEN_FILE", ""),
            reflection=read.switch("SCRM_REFLECTION"),
            max_calls=read.number("SCRM_MAX_CALLS", 1000),
            shard_index=read.number("SCRM_SHARD_INDEX", 0),
            shard_count=read.number("SCRM_SHARD_COUNT", 1),
            drain_seconds=read.decimal("SCRM_DRAIN_SECONDS", 0.0),
            stop_grace_seconds=read.decimal("SCRM_STOP_GRACE_SECONDS", 25.0),
            log_level=read.one_of("SCRM_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
            poll_seconds=read.decimal("SCRM_POLL_SECONDS", 0.05),
            receipt_key=read.text("SCRM_RECEIPT_KEY", "").encode(),
            service_addresses=read.addresses(),
        )


class Variables:
    """Reads typed values out of an environment; for the settings of services too."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str, default: str | None = None) -> str:
        """The value; the default where it is missing or empty, and an error where there is no default either."""
        value = self._environment.get(name, "") or default
        if value is None:
            raise InvalidSettingsError(f"{name} is needed")
        return value

    def number(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not value.isdecimal():
            raise InvalidSettingsError(f"{name} must be a whole number")
        return int(value)

    def decimal(self, name: str, default: float) -> float:
        try:
            return float(self.text(name, str(default)))
        except ValueError:
            raise InvalidSettingsError(f"{name} must be a number") from None

    def switch(self, name: str) -> bool:
        """Whether the variable is 1 rather than 0 or missing."""
        return self.one_of(name, ("0", "1")) == "1"

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        """One of `choices`, the first by default."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise InvalidSettingsError(f"{name} must be one of {', '.join(choices)}")
        return value

    def addresses(self) -> dict[str, str]:
        """Address by service, out of SCRM_<SERVICE>_ADDRESS."""
        return {
            name.removeprefix("SCRM_").removesuffix("_ADDRESS").lower(): value
            for name, value in self._environment.items()
            if name.startswith("SCRM_") and name.endswith("_ADDRESS") and value
        }
