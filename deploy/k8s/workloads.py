"""The workload of one role of a service, and of its migration: what runs, with which rights, settings, probes and room."""

from typing import Any, Final

from deploy.k8s.parts import (
    CONSUME,
    EDGE,
    EDGE_PORT,
    GRPC_PORT,
    METRICS_PORT,
    MIGRATE,
    Part,
    Role,
    Size,
)

Json = dict[str, Any]

USER: Final = 10001
PRE_STOP_SECONDS: Final = 3  # until everybody has heard that the address is gone
TERMINATION_SECONDS: Final = (
    45  # preStop, SCRM_DRAIN_SECONDS, SCRM_STOP_GRACE_SECONDS, and some for flushing and closing
)
VERSION: Final = "0.1.0"
COMMON_SETTINGS: Final = "scrm-settings"
SECRETS_FOLDER: Final = "/etc/scrm/secrets"
KEYS_FOLDER: Final = "/etc/scrm/jwks"


def labels(part: str, component: str) -> dict[str, str]:
    """The labels by which a workload, and nothing else, is selected."""
    return {"app.kubernetes.io/name": part, "app.kubernetes.io/component": component}


def workload(part: Part, role: Role) -> Json:
    """The Deployment of a role; a StatefulSet for `consume`, whose processes are numbered shares of the partitions."""
    is_numbered = role.name == CONSUME
    name, selected = f"{part.name}-{role.name}", labels(part.name, role.name)
    spec: Json = {
        "replicas": role.replicas,
        "revisionHistoryLimit": 5,
        "selector": {"matchLabels": selected},
        "template": {"metadata": {"labels": {**selected, **_PART_OF}}, "spec": _pod(part, role)},
    }
    if is_numbered:
        spec |= {"serviceName": part.name, "podManagementPolicy": "Parallel"}
    else:
        spec["strategy"] = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet" if is_numbered else "Deployment",
        "metadata": {"name": name, "labels": {**selected, **_PART_OF}},
        "spec": spec,
    }


def migration(part: Part) -> Json:
    """The Job that brings the tables to the version of the image: the only one that acts as the owner of the database."""
    selected = labels(part.name, MIGRATE)
    container = {
        **_container(part, MIGRATE, Size(cpu=100, memory=128, most_memory=256)),
        "env": [_from_secret(f"SCRM_{name}DATABASE_URL", part.database_secret, key) for name, key in _URLS_OF_OWNER],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{part.name}-migrate",
            "labels": {**selected, **_PART_OF},
            # A Job cannot be changed: with the next image it is made anew.
            "annotations": {
                "argocd.argoproj.io/hook": "Sync",
                "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
                "kustomize.toolkit.fluxcd.io/force": "enabled",
            },
        },
        "spec": {
            "backoffLimit": 10,
            "activeDeadlineSeconds": 1800,
            "template": {
                "metadata": {"labels": {**selected, **_PART_OF}},
                "spec": {**_account(part), "restartPolicy": "OnFailure", "containers": [container], "volumes": [_TMP]},
            },
        },
    }


_PART_OF: Final = {"app.kubernetes.io/part-of": "scrm"}
_TMP: Final = {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}
_URLS_OF_OWNER: Final = (("", "writer"), ("OWNER_", "owner"))


def _account(part: Part) -> Json:
    """Who a pod is: nobody to the API of Kubernetes, a user without rights to the kernel."""
    return {
        "serviceAccountName": part.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _pod(part: Part, role: Role) -> Json:
    gate = {
        **_container(part, "schema", Size(cpu=50, memory=96, most_memory=192)),
        "env": [_from_secret("SCRM_DATABASE_URL", part.database_secret, "writer")],
    }
    return {
        **_account(part),
        "terminationGracePeriodSeconds": TERMINATION_SECONDS,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels(part.name, role.name)},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "initContainers": [gate],
        "containers": [_running(part, role)],
        "volumes": [
            _TMP,
            {"name": "jwks", "configMap": {"name": "scrm-jwks"}},
            *({"name": it, "secret": {"secretName": it, "defaultMode": 0o440}} for it in _mounted(part, role)),
        ],
    }


def _container(part: Part, role: str, size: Size) -> Json:
    return {
        "name": role,
        "image": f"scrm/{part.name}:{VERSION}",
        "args": [role],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": f"{size.cpu}m", "memory": f"{size.memory}Mi"},
            "limits": {"memory": f"{size.most_memory}Mi"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (a volume of the pod's own)
    }


def _running(part: Part, role: Role) -> Json:
    container = _container(part, role.name, role.size)
    ports = [{"name": "grpc", "containerPort": GRPC_PORT}, {"name": "metrics", "containerPort": METRICS_PORT}]
    if role.name == EDGE:
        ports.append({"name": "http", "containerPort": EDGE_PORT})
    mounts = [{"name": "jwks", "mountPath": KEYS_FOLDER, "readOnly": True}]
    mounts += [
        {"name": secret, "mountPath": f"{SECRETS_FOLDER}/{secret}", "readOnly": True} for secret in _mounted(part, role)
    ]
    sources = [COMMON_SETTINGS, f"{part.name}-settings"]
    ready: Json = {"grpc": {"port": GRPC_PORT}}
    if role.name == EDGE:
        ready = {"httpGet": {"path": "/readyz", "port": "http"}}
    return {
        **container,
        "ports": ports,
        "envFrom": [{"configMapRef": {"name": it}} for it in sources],
        "env": _environment(part, role),
        "volumeMounts": [*container["volumeMounts"], *mounts],
        # A process is alive while it answers; a lost PostgreSQL or NATS is waited for, and no restart brings it back.
        "startupProbe": {"grpc": {"port": GRPC_PORT}, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {"grpc": {"port": GRPC_PORT}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 2, "failureThreshold": 2},
        **({"lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}}} if role.answers else {}),
    }


def _environment(part: Part, role: Role) -> list[Json]:
    variables = [
        _from_secret("SCRM_DATABASE_URL", part.database_secret, "writer"),
        _from_secret("SCRM_READER_DATABASE_URL", part.database_secret, "reader"),
        _from_secret("SCRM_NATS_URL", "scrm-nats", "url"),
        _from_secret("SCRM_RECEIPT_KEY", f"{part.name}-receipt-key", "receipt-key"),
        *(_from_secret(name, *place) for name, place in part.secrets.items()),
    ]
    for name, (secret, file) in part.files.items():
        if secret in _mounted(part, role):
            variables.append({"name": name, "value": f"{SECRETS_FOLDER}/{secret}/{file}"})
    variables += [{"name": f"SCRM_{it.upper()}_ADDRESS", "value": f"dns:///{it}:{GRPC_PORT}"} for it in role.calls]
    if role.name == CONSUME:
        index = "metadata.labels['apps.kubernetes.io/pod-index']"
        variables.append({"name": "SCRM_SHARD_INDEX", "valueFrom": {"fieldRef": {"fieldPath": index}}})
    return variables


def _mounted(part: Part, role: Role) -> list[str]:
    """The Secrets whose files this role reads; the key that tokens are signed with is for those who call."""
    return [secret for name, (secret, _) in part.files.items() if name != "SCRM_SERVICE_KEY" or role.calls]


def _from_secret(variable: str, secret: str, key: str) -> Json:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
