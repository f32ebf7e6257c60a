"""The kinds of operators that our manifests use, as JSON schemas.

Their schemas are not published with those of Kubernetes. These hold what we use of them, after the definitions of KEDA 2.20,
CloudNativePG 1.30 and its plugin Barman Cloud; whatever else is in a manifest is refused as a misspelling would be.
"""

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
TEXT: Json = {"type": "string", "minLength": 1}
COUNT: Json = {"type": "integer", "minimum": 0}


def thing(required: Mapping[str, Json], optional: Mapping[str, Json] | None = None) -> Json:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def some(item: Json) -> Json:
    return {"type": "array", "items": item, "minItems": 1}


NAMED = thing({"name": TEXT})
KEY = thing({"name": TEXT, "key": TEXT})
METADATA = thing({"name": TEXT}, {"namespace": TEXT, "labels": {"type": "object"}})
STABILIZED = thing({"stabilizationWindowSeconds": COUNT})
PLUGIN = {"const": "barman-cloud.cloudnative-pg.io"}
ROLE = thing(
    {"name": TEXT, "ensure": {"enum": ["present", "absent"]}, "passwordSecret": NAMED},
    {"login": {"type": "boolean"}, "bypassrls": {"type": "boolean"}},
)
PROMETHEUS = thing(
    {
        "type": {"const": "prometheus"},
        "metadata": thing({"serverAddress": TEXT, "query": TEXT, "threshold": {"type": "string", "pattern": r"^\d+$"}}),
    }
)

SPECS: Mapping[tuple[str, str], Json] = {
    ("keda.sh/v1alpha1", "ScaledObject"): thing(
        {"scaleTargetRef": thing({"name": TEXT}, {"apiVersion": TEXT, "kind": TEXT}), "triggers": some(PROMETHEUS)},
        {
            "minReplicaCount": COUNT,
            "maxReplicaCount": COUNT,
            "pollingInterval": COUNT,
            "advanced": thing(
                {
                    "horizontalPodAutoscalerConfig": thing(
                        {"behavior": thing({}, {"scaleUp": STABILIZED, "scaleDown": STABILIZED})}
                    )
                }
            ),
        },
    ),
    ("postgresql.cnpg.io/v1", "ScheduledBackup"): thing(
        {
            # six fields: CloudNativePG begins with the seconds
            "schedule": {"type": "string", "pattern": r"^\S+( \S+){5}$"},
            "cluster": NAMED,
            "method": {"const": "plugin"},
            "pluginConfiguration": thing({"name": PLUGIN}),
        },
        {"backupOwnerReference": {"enum": ["none", "self", "cluster"]}},
    ),
    ("barmancloud.cnpg.io/v1", "ObjectStore"): thing(
        {
            "configuration": thing(
                {"destinationPath": {"type": "string", "pattern": "^s3://"}},
                {
                    "endpointURL": TEXT,
                    "s3Credentials": thing({"accessKeyId": KEY, "secretAccessKey": KEY}),
                    "wal": thing({}, {"compression": TEXT, "maxParallel": COUNT}),
                    "data": thing({}, {"compression": TEXT}),
                },
            )
        },
        {"retentionPolicy": {"type": "string", "pattern": r"^\d+[dwm]$"}},
    ),
    ("postgresql.cnpg.io/v1", "Cluster"): thing(
        {
            "instances": COUNT,
            "imageCatalogRef": thing({"apiGroup": TEXT, "kind": TEXT, "name": TEXT, "major": COUNT}),
            "bootstrap": thing(
                {
                    "initdb": thing(
                        {"database": TEXT, "owner": TEXT, "secret": NAMED},
                        {"postInitSQL": some(TEXT), "postInitApplicationSQL": some(TEXT)},
                    )
                }
            ),
            "storage": thing({"size": TEXT}),
        },
        {
            "inheritedMetadata": thing({"labels": {"type": "object"}}),
            "managed": thing({"roles": some(ROLE)}),
            "postgresql": thing(
                {
                    "synchronous": thing({"method": {"enum": ["any", "first"]}, "number": COUNT}),
                    "parameters": {"type": "object"},
                }
            ),
            "resources": {"type": "object"},
            "plugins": some(
                thing(
                    {
                        "name": PLUGIN,
                        "isWALArchiver": {"type": "boolean"},
                        "parameters": thing({"barmanObjectName": TEXT}),
                    }
                )
            ),
        },
    ),
}


def schema_of(it: Json) -> Json | None:
    """The schema of an object of an operator; None where it is one of Kubernetes itself."""
    spec = SPECS.get((it["apiVersion"], it["kind"]))
    return spec and thing({"apiVersion": TEXT, "kind": TEXT, "metadata": METADATA, "spec": spec})
