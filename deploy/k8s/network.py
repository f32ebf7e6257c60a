"""Who may speak to whom: one NetworkPolicy per reason, beside the one of base/common that allows nothing but names (DNS)."""

from typing import Final

from deploy.k8s.parts import EDGE, EDGE_PORT, GRPC_PORT, METRICS_PORT, MIGRATE, PARTS, SERVE, Part
from deploy.k8s.workloads import Json, labels

GATEWAY: Final = {"app.kubernetes.io/name": "gateway"}
NATS: Final = {"app.kubernetes.io/name": "nats"}
MONITORING_NAMESPACE: Final = "monitoring"
POSTGRES_PORT: Final = 5432
NATS_PORT: Final = 4222
NATS_MONITOR_PORT: Final = 8222


def policies(part: Part) -> list[Json]:
    """All policies that select pods of the service."""
    name = part.name
    everybody: Json = {"matchLabels": {"app.kubernetes.io/name": name}}
    running: Json = {
        **everybody,
        "matchExpressions": [{"key": "app.kubernetes.io/component", "operator": "NotIn", "values": [MIGRATE]}],
    }
    database = {"podSelector": {"matchLabels": {f"scrm.database/{name}": "true"}}}
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING_NAMESPACE}}}
    found = [
        _policy(f"{name}-to-database", everybody, egress=[_to([database], POSTGRES_PORT)]),
        _policy(f"{name}-to-nats", running, egress=[_to([_pods(NATS)], NATS_PORT, NATS_MONITOR_PORT)]),
        _policy(f"{name}-from-monitoring", running, ingress=[_from([prometheus], METRICS_PORT)]),
        _policy(
            f"{name}-serve-from-callers",
            {"matchLabels": labels(name, SERVE)},
            ingress=[_from([_pods(GATEWAY), *callers_of(name)], GRPC_PORT)],
        ),
    ]
    for role in part.roles:
        selected = {"matchLabels": labels(name, role.name)}
        if role.calls:
            targets = [_pods(labels(it, SERVE)) for it in role.calls]
            found.append(_policy(f"{name}-{role.name}-to-services", selected, egress=[_to(targets, GRPC_PORT)]))
        if role.name == EDGE:
            found.append(_policy(f"{name}-edge-from-gateway", selected, ingress=[_from([_pods(GATEWAY)], EDGE_PORT)]))
    return found


def callers_of(service: str) -> list[Json]:
    """The roles that call the gRPC of `service`."""
    return [_pods(labels(part.name, role.name)) for part in PARTS for role in part.roles if service in role.calls]


def _pods(selected: dict[str, str]) -> Json:
    return {"podSelector": {"matchLabels": selected}}


def _to(targets: list[Json], *ports: int) -> Json:
    return {"to": targets, "ports": [{"protocol": "TCP", "port": it} for it in ports]}


def _from(sources: list[Json], *ports: int) -> Json:
    return {"from": sources, "ports": [{"protocol": "TCP", "port": it} for it in ports]}


def _policy(name: str, selector: Json, *, ingress: list[Json] | None = None, egress: list[Json] | None = None) -> Json:
    rules = {"ingress": ingress, "egress": egress}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "podSelector": selector,
            "policyTypes": [direction.capitalize() for direction, it in rules.items() if it is not None],
            **{direction: it for direction, it in rules.items() if it is not None},
        },
    }
