"""The folder base/<service>: files with the manifests of one service, as they are checked in."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.k8s.network import policies
from deploy.k8s.parts import EDGE, EDGE_PORT, GRPC_PORT, MIGRATE, PARTS, SERVE, Part, Role
from deploy.k8s.workloads import Json, labels, migration, workload

FOLDER: Final = Path(__file__).parent
BASE: Final = FOLDER / "base"
_NOTE: Final = "# Made by `python -m deploy.k8s generate` from deploy/k8s/parts.py; what an installation changes is in overlays/.\n"
_BUSY_PERCENT: Final = 70
_MOST_REPLICAS: Final = 10


def files(parts: Sequence[Part] = PARTS) -> dict[Path, str]:
    """Every generated file of base/ with its content."""
    return {BASE / part.name / name: content for part in parts for name, content in files_of(part).items()}


def files_of(part: Part) -> dict[str, str]:
    """The files of one service by their names: one for each role, and what the roles share."""
    found = {f"{role.name}.yaml": text(_of_role(part, role)) for role in part.roles}
    found[f"{MIGRATE}.yaml"] = text([migration(part)])
    found["shared.yaml"] = text([_account(part), *_services(part)])
    found["network.yaml"] = text(policies(part))
    kustomization: Json = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(found),
    }
    kustomization["configMapGenerator"] = [{"name": f"{part.name}-settings", "envs": ["settings.env"]}]
    found["settings.env"] = "".join(f"{name}={value}\n" for name, value in part.settings.items())
    found["kustomization.yaml"] = text([kustomization])
    return found


def text(documents: Sequence[Mapping[str, Any]]) -> str:
    """The documents as one YAML file."""
    separate = json.loads(json.dumps(documents))  # what two of them share would become an anchor
    return _NOTE + "---\n".join(yaml.safe_dump(it, sort_keys=False, width=120) for it in separate)


def _account(part: Part) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": part.name},
        "automountServiceAccountToken": False,
    }


def _services(part: Part) -> list[Json]:
    """Headless, so that clients of gRPC, whose connections live long, see all pods and spread their calls."""
    doors = [
        (
            part.name,
            SERVE,
            {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"},
        )
    ]
    if any(role.name == EDGE for role in part.roles):
        doors.append((f"{part.name}-edge", EDGE, {"name": "http", "port": EDGE_PORT, "targetPort": "http"}))
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"clusterIP": "None", "selector": labels(part.name, role), "ports": [port]},
        }
        for name, role, port in doors
    ]


def _of_role(part: Part, role: Role) -> list[Json]:
    name, selector = f"{part.name}-{role.name}", {"matchLabels": labels(part.name, role.name)}
    found = [workload(part, role)]
    found.append(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector},
        }
    )
    if role.answers:
        found.append(
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": name},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                    "minReplicas": role.replicas,
                    "maxReplicas": _MOST_REPLICAS,
                    "metrics": [
                        {
                            "type": "Resource",
                            "resource": {
                                "name": "cpu",
                                "target": {"type": "Utilization", "averageUtilization": _BUSY_PERCENT},
                            },
                        }
                    ],
                },
            }
        )
        del found[0]["spec"]["replicas"]  # the autoscaler's
    return found
