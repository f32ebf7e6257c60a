"""The files of an overlay that are rendered from its settings: the configuration of the gateway and what makes the databases."""

import json
import tomllib
from pathlib import Path
from typing import Final

from deploy.k8s.databases import dev_script, prod_clusters
from deploy.k8s.kustomize import variables
from deploy.k8s.parts import EDGE_PORT, GRPC_PORT, PARTS
from deploy.k8s.service_files import FOLDER
from deploy.local.contracts import DESCRIPTORS
from deploy.local.gateway import Gateway, envoy_configuration

OVERLAYS: Final = FOLDER / "overlays"
NAMES: Final = ("dev", "prod")
COMPLETE: Final = "complete"
"""`prod` with all components, to show how they are taken in, and for the tests."""
RENDERED: Final = (*NAMES, COMPLETE)
GATEWAY_PORT: Final = 8080
ADMIN_PORT: Final = 9901
DESCRIPTORS_IN_IMAGE: Final = Path("/etc/envoy/scrm.binpb")
JWKS: Final = Path("/etc/scrm/jwks/jwks.json")
TLS: Final = (Path("/etc/scrm/tls/tls.crt"), Path("/etc/scrm/tls/tls.key"))
STDOUT: Final = Path("/dev/stdout")


def files() -> dict[Path, str]:
    """Every generated file of overlays/ with its content. Needs gen/, which `make proto` makes."""
    found = {OVERLAYS / name / "envoy.json": gateway_configuration(OVERLAYS / name) for name in NAMES}
    found[OVERLAYS / "dev" / "init.sql"] = dev_script()
    found[OVERLAYS / "prod" / "postgres.yaml"] = prod_clusters()
    return found


def gateway_configuration(overlay: Path) -> str:
    """envoy.json: the template of the local stack, filled with the names of Services and the paths of mounted files."""
    chosen = tomllib.loads((overlay / "gateway.toml").read_text())
    common = variables((FOLDER / "base" / "common" / "settings.env").read_text())
    settings = common | variables((overlay / "settings.env").read_text())
    gateway = Gateway(
        listen=("0.0.0.0", GATEWAY_PORT),  # noqa: S104 (of its pod; who reaches it is for the NetworkPolicy to say)
        admin=("127.0.0.1", ADMIN_PORT),
        backends={part.name: (part.name, GRPC_PORT) for part in PARTS},
        edge=("tracking-edge", EDGE_PORT),
        descriptors=DESCRIPTORS,
        jwks=JWKS,
        issuer=settings["SCRM_ISSUER"],
        audience=settings["SCRM_AUDIENCE"],
        origins=chosen["origins"],
        requests_per_second=chosen["requests_per_second"],
        requests_per_second_of_caller=chosen["requests_per_second_of_caller"],
        tls=TLS if chosen["tls"] else None,
        access_log=STDOUT,
    )
    # The descriptors are read here to know the services, and by Envoy from its image.
    configuration = json.dumps(envoy_configuration(gateway), indent=1)
    return configuration.replace(json.dumps(str(DESCRIPTORS)), json.dumps(str(DESCRIPTORS_IN_IMAGE))) + "\n"
