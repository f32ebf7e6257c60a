"""The components that follow from the table of parts: more processes by lag (KEDA), and backups of each database (CloudNativePG).

An overlay takes one in by naming its folder under `components`; overlays/complete takes in all of them.
"""

import json
from pathlib import Path
from typing import Final

from deploy.k8s.parts import CONSUME, PARTS, Part
from deploy.k8s.service_files import FOLDER, text
from deploy.k8s.workloads import Json

COMPONENTS: Final = FOLDER / "components"
PROMETHEUS: Final = "http://prometheus.monitoring:9090"
MOST_CONSUMERS: Final = 4
"""A power of two, so that shares are even when all are there (chassis.shares)."""
BEHIND: Final = 2000
"""So many messages behind are work for one process."""
OBJECT_STORE: Final = "backups"
_PLUGIN: Final = "barman-cloud.cloudnative-pg.io"


def files() -> dict[Path, str]:
    """Every generated file of components/ with its content."""
    return {
        COMPONENTS / "autoscaling" / "scaledobjects.yaml": text([_scaled(it) for it in PARTS]),
        COMPONENTS / "autoscaling" / "kustomization.yaml": text([_autoscaling()]),
        COMPONENTS / "backups" / "schedules.yaml": text([_schedule(it) for it in PARTS]),
        COMPONENTS / "backups" / "kustomization.yaml": text([_backups()]),
    }


def _scaled(part: Part) -> Json:
    """As many consumers of a service as its lag asks for, by the number that they tell themselves."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": f"{part.name}-{CONSUME}"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": f"{part.name}-{CONSUME}"},
            "minReplicaCount": 1,
            "maxReplicaCount": MOST_CONSUMERS,
            "pollingInterval": 15,
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleDown": {"stabilizationWindowSeconds": 600},
                        "scaleUp": {"stabilizationWindowSeconds": 60},
                    }
                }
            },
            "triggers": [
                {
                    "type": "prometheus",
                    "metadata": {
                        "serverAddress": PROMETHEUS,
                        "query": f'sum(scrm_lag{{kind="consumer",service="{part.name}"}})',
                        "threshold": str(BEHIND),
                    },
                }
            ],
        },
    }


def _autoscaling() -> Json:
    return _component(
        resources=["scaledobjects.yaml"],
        configMapGenerator=[
            {"name": f"{it.name}-settings", "behavior": "merge", "literals": [f"SCRM_SHARD_COUNT={MOST_CONSUMERS}"]}
            for it in PARTS
        ],
        # How many there are is the autoscaler's.
        patches=[
            {
                "target": {"kind": "StatefulSet", "name": f"{it.name}-{CONSUME}"},
                "patch": _steps([{"op": "remove", "path": "/spec/replicas"}]),
            }
            for it in PARTS
        ],
    )


def _schedule(part: Part) -> Json:
    """A copy of all files every night; what changes in between is in the archive of the log at once."""
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "ScheduledBackup",
        "metadata": {"name": f"{part.name}-db"},
        "spec": {
            "schedule": "0 0 3 * * *",
            "backupOwnerReference": "self",
            "cluster": {"name": f"{part.name}-db"},
            "method": "plugin",
            "pluginConfiguration": {"name": _PLUGIN},
        },
    }


def _backups() -> Json:
    plugin = {"name": _PLUGIN, "isWALArchiver": True, "parameters": {"barmanObjectName": OBJECT_STORE}}
    return _component(
        resources=["store.yaml", "schedules.yaml"],
        patches=[
            {
                "target": {"kind": "Cluster", "name": f"{it.name}-db"},
                "patch": _steps([{"op": "add", "path": "/spec/plugins", "value": [plugin]}]),
            }
            for it in PARTS
        ],
    )


def _component(**steps: object) -> Json:
    return {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", **steps}


def _steps(steps: list[Json]) -> str:
    """A JSON patch as kustomize takes it inside of a kustomization."""
    return json.dumps(steps)
