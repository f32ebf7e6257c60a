"""Pods can open exactly the connections that the code opens."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from deploy.k8s.network import NATS_MONITOR_PORT, NATS_PORT, POSTGRES_PORT
from deploy.k8s.parts import MIGRATE, PARTS
from tests.k8s import code
from tests.k8s.cluster import DATABASE, NAMES, Json, Pod, containers, files_of, kinds, objects, pods, variables

Edge = tuple[str, str, int]
ROUTES_PORT = 6222
STATUS_PORT = 8000


def allowed(found: list[Json]) -> set[Edge]:
    """(from, to, port) of all connections between pods that the policies let through."""
    ports = {POSTGRES_PORT, STATUS_PORT}.union(
        *({it["containerPort"] for it in container.get("ports", [])} for _, container, _ in containers(found))
    )
    policies = [it["spec"] for it in kinds(found, "NetworkPolicy")]
    everybody = pods(found)
    return {
        (source.name, target.name, port)
        for source in everybody
        for target in everybody
        for port in ports
        if _lets(policies, "Egress", source, target, port) and _lets(policies, "Ingress", target, source, port)
    }


def _lets(policies: Iterable[Json], direction: str, pod: Pod, other: Pod, port: int) -> bool:
    """Whether `pod` may speak to (Egress) or be spoken to by (Ingress) `other`: without any policy it may."""
    mine = [it for it in policies if direction in it["policyTypes"] and _selects(it["podSelector"], pod)]
    way = "to" if direction == "Egress" else "from"
    rules = [rule for it in mine for rule in it.get(direction.lower(), [])]
    return not mine or any(
        (way not in rule or any(_is_peer(it, other) for it in rule[way]))
        and ("ports" not in rule or any(it["port"] == port and it["protocol"] == "TCP" for it in rule["ports"]))
        for rule in rules
    )


def _is_peer(peer: Json, pod: Pod) -> bool:
    return peer.keys() == {"podSelector"} and _selects(peer["podSelector"], pod)


def _selects(selector: Mapping[str, Any], pod: Pod) -> bool:
    labels = dict(pod.labels)
    for it in selector.get("matchExpressions", []):
        is_in = labels.get(it["key"]) in it["values"]
        if is_in != {"In": True, "NotIn": False}[it["operator"]]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def wanted(found: list[Json], overlay: str) -> Iterator[Edge]:
    """The connections that the code opens, by what services call, and where its settings and the gateway's say they are."""
    nats = _behind(found, "nats")
    yield (nats, nats, ROUTES_PORT)
    for part in PARTS:
        for database in _databases(found, part.name):
            yield from ((f"{part.name}-{it}", database, POSTGRES_PORT) for it in code_roles(part.name, MIGRATE))
        for role in code_roles(part.name):
            yield from ((f"{part.name}-{role}", nats, it) for it in (NATS_PORT, NATS_MONITOR_PORT))
            for callee in code.calls(part.name).get(role, ()):
                yield _address(found, part.name, role, callee)
            yield from _traces(found, f"{part.name}-{role}")
    configuration = json.loads((files_of(overlay) / "envoy.json").read_text())
    for cluster in configuration["static_resources"]["clusters"]:
        ((endpoint,),) = [it["lb_endpoints"] for it in cluster["load_assignment"]["endpoints"]]
        address = endpoint["endpoint"]["address"]["socket_address"]
        yield ("gateway", _behind(found, address["address"]), address["port_value"])
    for it in kinds(found, "Cluster"):
        yield from ((it["metadata"]["name"],) * 2 + (port,) for port in (POSTGRES_PORT, STATUS_PORT))


def _databases(found: list[Json], service: str) -> list[str]:
    """The pods with the database of a service: one kind, unless the component citus has put it outside of the cluster."""
    inside = [it.name for it in pods(found) if (f"{DATABASE}{service}", "true") in it.labels]
    (policy,) = [it for it in kinds(found, "NetworkPolicy") if it["metadata"]["name"] == f"{service}-to-database"]
    outside = [peer for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    assert len(inside) + len(outside) == 1
    return inside


def _traces(found: list[Json], name: str) -> Iterator[Edge]:
    """To the collector, where a process is told of one."""
    ((_, container, _),) = [it for it in containers(found) if it[0] == f"{name}/{name.partition('-')[2]}"]
    if endpoint := variables(container, found).get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        host, _, port = endpoint.removeprefix("http://").partition(":")
        yield (name, _behind(found, host), int(port))


def code_roles(service: str, *more: str) -> list[str]:
    (part,) = [it for it in PARTS if it.name == service]
    return [*(it.name for it in part.roles), *more]


def _address(found: list[Json], service: str, role: str, callee: str) -> Edge:
    ((_, container, _),) = [it for it in containers(found) if it[0] == f"{service}-{role}/{role}"]
    host, _, port = variables(container, found)[f"SCRM_{callee.upper()}_ADDRESS"].removeprefix("dns:///").partition(":")
    return (f"{service}-{role}", _behind(found, host), int(port))


def _behind(found: list[Json], service: str) -> str:
    """The workload that a Service of that name leads to."""
    (selector,) = [it["spec"]["selector"] for it in kinds(found, "Service") if it["metadata"]["name"] == service]
    (behind,) = [it.name for it in pods(found) if selector.items() <= dict(it.labels).items()]
    return behind


@pytest.mark.parametrize("name", NAMES)
def test_pods_can_open_exactly_the_connections_that_the_code_opens(name: str) -> None:
    found = objects(name)

    assert allowed(found) == set(wanted(found, name))


@pytest.mark.parametrize(
    ("policy", "lost"),
    [
        ("tracking-resolve-to-services", ("tracking-resolve", "identity-serve", 50051)),
        ("tagging-serve-from-callers", ("campaigns-dispatch", "tagging-serve", 50051)),
        ("tracking-edge-from-gateway", ("gateway", "tracking-edge", 8081)),
        ("membership-to-database", ("membership-relay", "membership-db", 5432)),
        ("identity-to-nats", ("identity-consume", "nats", 4222)),
    ],
)
def test_a_missing_policy_is_noticed(policy: str, lost: Edge) -> None:
    found = objects("prod")
    fewer = [it for it in found if it["metadata"]["name"] != policy]

    assert lost in set(wanted(found, "prod")) - allowed(fewer)


def test_a_missing_denial_is_noticed() -> None:
    found = [it for it in objects("dev") if it["metadata"]["name"] not in {"default-deny", "names"}]

    assert ("postgres", "identity-migrate", 50051) in allowed(found) - set(wanted(found, "dev"))


def test_a_policy_that_lets_in_too_many_is_noticed() -> None:
    found = objects("dev")
    (policy,) = [it for it in found if it["metadata"]["name"] == "identity-serve-from-callers"]
    policy["spec"]["ingress"] = [{}]
    (out,) = [it for it in found if it["metadata"]["name"] == "campaigns-dispatch-to-services"]
    out["spec"]["egress"] = [{}]

    assert ("campaigns-dispatch", "identity-serve", 50051) in allowed(found) - set(wanted(found, "dev"))
