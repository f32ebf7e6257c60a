"""Pods of the overlay `dev` as containers of this machine, against a PostgreSQL and a NATS of it.

Image, arguments, variables, rights, room and mounts are those of the rendered manifests; only what differs here is put in their place:
the version of the image, the values of secrets, where PostgreSQL, NATS and the pods themselves are, and on which port each listens.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.k8s.parts import GRPC_PORT, PARTS
from deploy.k8s.workloads import USER
from deploy.local.broker import NatsServer
from deploy.local.credentials import Credentials
from deploy.local.postgres import Database
from deploy.local.processes import Child, Program, free_port
from tests.images.engine import Engine, Json, Mounts
from tests.k8s.cluster import objects, variables, workload

OVERLAY = "dev"
_GATEWAY_PORT, _ADMIN_PORT = 8080, 9901


def pod_of(name: str) -> Json:
    """The specification of the pods of the workload of that name, such as "identity-serve"."""
    found: Json = workload(objects(OVERLAY), name)["spec"]["template"]["spec"]
    return found


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the pods of one service are put: `version` of the images, files and logs below `folder`."""

    engine: Engine
    version: str
    service: str
    database: Database
    nats: NatsServer
    credentials: Credentials
    folder: Path
    ports: Mapping[str, int] = field(default_factory=lambda: {it: free_port() for it in ("grpc", "metrics", "edge")})

    def image(self, container: Json) -> str:
        return f"{container['image'].partition(':')[0]}:{self.version}"

    def started(self, role: str, container: Json, pod: Json) -> Child:
        """A container of the role, which runs."""
        name = f"{self.database.name}-{role}".replace("_", "-")
        options = [f"--name={name}", *self.engine.of_manifest(pod, container, self.mounts(container))]
        command = self.engine.command(self.image(container), options, container["args"])
        child = Child(Program(name, command, self.folder / f"{name}.log"))
        child.start()
        return child

    def mounts(self, container: Json) -> Mounts:
        """What its manifest refers to, with the values that hold here."""
        told = {name: self._value(it) for name, it in variables(container, objects(OVERLAY)).items()}
        here = {
            "SCRM_NATS_MONITOR_URL": self.nats.monitor_url,
            **{f"SCRM_{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
        }
        told |= {name: value for name, value in here.items() if name in told}
        return Mounts(self.mounts_of_files(), told)

    def mounts_of_files(self) -> Mapping[str, Path]:
        """The folders that stand for ConfigMaps and Secrets, by the name of the volume."""
        return {name: self._files(name) for name in ("jwks", *KEY_FILES)}

    def _value(self, told: str) -> str:
        if not told.startswith("<"):
            return told
        secret, _, key = told.strip("<>#").partition("/")
        if secret == f"{self.service}-database":
            return str(getattr(self.database, f"{key}_dsn"))
        return self.nats.url if secret == "scrm-nats" else self.credentials.secret(secret)

    def _files(self, volume: str) -> Path:
        """A folder as a Secret or ConfigMap would be: of root, readable by the group of the pod and by nobody else."""
        folder, (name, source) = self.folder / volume, self._sources()[volume]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source.read_bytes())
        is_root = os.geteuid() == 0
        (folder / name).chmod(0o440 if is_root else 0o444)
        if is_root:
            os.chown(folder / name, 0, USER)
        return folder

    def _sources(self) -> Mapping[str, tuple[str, Path]]:
        keys = {it: ("keys.json", self.credentials.key_file(it)) for it in KEY_FILES if it.endswith("-keys")}
        tokens = {
            it: ("private-key.pem", self.credentials.private_key) for it in KEY_FILES if it.endswith("-service-key")
        }
        return {"jwks": ("jwks.json", self.credentials.jwks), **keys, **tokens}


KEY_FILES = ("identity-keys", "tracking-keys", "identity-service-key", "tracking-service-key", "campaigns-service-key")


def serves(port: int) -> bool:
    """Whether gRPC health, which the probes ask, says SERVING."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # stubs lack it
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def gateway_configuration(found: str, listens: int, backend: int) -> str:
    """The configuration of Envoy for one that listens at another port, and for services that are all at `backend` of this machine."""
    for port, here in ((_GATEWAY_PORT, listens), (_ADMIN_PORT, free_port()), (GRPC_PORT, backend)):
        found = found.replace(f'"port_value": {port}', f'"port_value": {here}')
    return re.sub(f'"address": "({"|".join(it.name for it in PARTS)})"', '"address": "127.0.0.1"', found)
