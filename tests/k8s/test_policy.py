"""What every workload has to be, whoever changes it: each rule holds for every overlay, and each notices its breach."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.k8s import random_secrets
from deploy.k8s.service_files import FOLDER
from deploy.k8s.workloads import COMMON_SETTINGS
from tests.k8s.cluster import COMPONENT, NAMES, Json, containers, kinds, objects, pods, variables, workload, workloads

VERSION = re.compile(r"[^:@]+(:\d+\.\d+[\w.-]*|@sha256:[0-9a-f]{64})")


def images_have_versions(found: list[Json]) -> Iterator[str]:
    for name, container, _ in containers(found):
        if not VERSION.fullmatch(container["image"]):
            yield f"{name}: {container['image']}"


def room_is_asked_for_and_bounded(found: list[Json]) -> Iterator[str]:
    for name, container, _ in containers(found):
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
            yield name


def nobody_is_privileged(found: list[Json]) -> Iterator[str]:
    """The restricted profile of the pod security standards."""
    for name, container, pod in containers(found):
        mine, shared = container.get("securityContext", {}), pod.get("securityContext", {})
        is_restricted = (
            mine.get("allowPrivilegeEscalation") is False
            and mine.get("capabilities") == {"drop": ["ALL"]}
            and not mine.get("privileged")
            and shared.get("runAsNonRoot") is True
            and shared.get("runAsUser", 0) > 0
            and mine.get("runAsUser", 1) > 0
            and shared.get("seccompProfile") == {"type": "RuntimeDefault"}
            and not any(pod.get(it) for it in ("hostNetwork", "hostPID", "hostIPC"))
            and all(it.keys() <= {"name", "emptyDir", "secret", "configMap"} for it in pod.get("volumes", []))
            and not any("hostPort" in it for it in container.get("ports", []))
        )
        if not is_restricted:
            yield name


def the_root_is_read_only(found: list[Json]) -> Iterator[str]:
    for name, container, _ in containers(found):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield name


def pods_are_nobody_to_the_api(found: list[Json]) -> Iterator[str]:
    accounts = {
        it["metadata"]["name"] for it in kinds(found, "ServiceAccount") if not it["automountServiceAccountToken"]
    }
    for it in workloads(found):
        pod = it["spec"]["template"]["spec"]
        if pod.get("automountServiceAccountToken") is not False or pod.get("serviceAccountName") not in accounts:
            yield it["metadata"]["name"]


def probes_ask_ports_that_are_open(found: list[Json]) -> Iterator[str]:
    """Whoever goes on is probed in all three ways, by gRPC where it speaks that."""
    for name, container, _ in containers(kinds(found, "Deployment", "StatefulSet")):
        if name.endswith("/schema"):
            continue
        ports = {it["name"]: it["containerPort"] for it in container["ports"]}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind, {})
            (asked,) = [it for it in (probe.get("grpc"), probe.get("httpGet"), probe.get("tcpSocket")) if it] or [None]
            if not asked and "exec" not in probe:
                yield f"{name}: no {kind}"
            elif asked and asked["port"] not in {*ports, *ports.values()}:
                yield f"{name}: {kind} asks {asked['port']}"
            elif "grpc" in ports and kind != "readinessProbe" and "grpc" not in probe:
                yield f"{name}: {kind} is not gRPC"


def stopping_has_time(found: list[Json]) -> Iterator[str]:
    """preStop, draining, the grace of running calls and five seconds for closing fit into the time until SIGKILL."""
    for it in kinds(found, "Deployment", "StatefulSet"):
        pod = it["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        told = variables(container, found)
        spent = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        spent += float(told.get("SCRM_DRAIN_SECONDS", 0)) + float(told.get("SCRM_STOP_GRACE_SECONDS", 0)) + 5
        if spent > pod.get("terminationGracePeriodSeconds", 30):
            yield it["metadata"]["name"]


def who_answers_is_taken_from_the_list_before_it_stops(found: list[Json]) -> Iterator[str]:
    for it in kinds(found, "Deployment"):
        role = it["spec"]["template"]["metadata"]["labels"].get(COMPONENT)
        if role in {"serve", "edge"} and "preStop" not in it["spec"]["template"]["spec"]["containers"][0].get(
            "lifecycle", {}
        ):
            yield it["metadata"]["name"]


def pods_are_spread(found: list[Json]) -> Iterator[str]:
    for it in kinds(found, "Deployment", "StatefulSet"):
        template = it["spec"]["template"]
        selected = [
            spread["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
            for spread in template["spec"].get("topologySpreadConstraints", [])
        ]
        if it["metadata"]["name"] != "postgres" and selected != [True, True]:  # of that one there is one
            yield it["metadata"]["name"]


def disruptions_are_bounded(found: list[Json]) -> Iterator[str]:
    budgets = [it["spec"]["selector"]["matchLabels"].items() for it in kinds(found, "PodDisruptionBudget")]
    for it in kinds(found, "Deployment", "StatefulSet"):
        labels = it["spec"]["template"]["metadata"]["labels"].items()
        if it["metadata"]["name"] != "postgres" and sum(budget <= labels for budget in budgets) != 1:
            yield it["metadata"]["name"]


def whoever_answers_is_scaled(found: list[Json]) -> Iterator[str]:
    """By an autoscaler that alone says how many there are."""
    scaled = {it["spec"]["scaleTargetRef"]["name"] for it in kinds(found, "HorizontalPodAutoscaler")}
    deployments = {it["metadata"]["name"]: it for it in kinds(found, "Deployment")}
    yield from scaled - deployments.keys()
    for name, it in deployments.items():
        answers = name.endswith(("-serve", "-edge")) or name == "gateway"
        if answers != (name in scaled) or answers == ("replicas" in it["spec"]):
            yield name


def a_service_leads_to_one_workload(found: list[Json]) -> Iterator[str]:
    for it in kinds(found, "Service"):
        behind = [pod.name for pod in pods(found) if it["spec"]["selector"].items() <= dict(pod.labels).items()]
        names = {
            port["name"]
            for name in behind
            for container in workload(found, name)["spec"]["template"]["spec"]["containers"]
            for port in container["ports"]
        }
        if len(behind) != 1 or not {port["targetPort"] for port in it["spec"]["ports"]} <= names:
            yield it["metadata"]["name"]


def tables_are_there_before_a_process(found: list[Json]) -> Iterator[str]:
    """Each process of a service waits for what its own image needs, and a Job of the same image makes it."""
    for name, container, pod in containers(kinds(found, "Deployment", "StatefulSet")):
        if not any(
            it.get("configMapRef", {}).get("name", "").startswith(COMMON_SETTINGS)
            for it in container.get("envFrom", [])
        ):
            continue
        gates = [it["image"] for it in pod.get("initContainers", []) if it["args"] == ["schema"]]
        part = container["image"]
        jobs = [
            it["image"]
            for _, it, _ in containers(kinds(found, "Job"))
            if it["args"] == ["migrate"] and it["image"] == part
        ]
        if gates != [part] or jobs != [part]:
            yield name


def what_is_referred_to_exists(found: list[Json]) -> Iterator[str]:
    """ConfigMaps and Secrets with the keys asked for, as the overlay and `secrets` make them."""
    made = [*found, *yaml.safe_load_all(_secrets())]
    maps = {it["metadata"]["name"] for it in kinds(made, "ConfigMap")}
    keys = {(it["metadata"]["name"], key) for it in kinds(made, "Secret") for key in it["data"]}
    for name, container, pod in containers(found):
        for it in container.get("env", []):
            asked = it.get("valueFrom", {}).get("secretKeyRef")
            if asked and (asked["name"], asked["key"]) not in keys:
                yield f"{name}: {asked['name']}/{asked['key']}"
        for volume in pod.get("volumes", []):
            if "configMap" in volume and volume["configMap"]["name"] not in maps:
                yield f"{name}: {volume['configMap']['name']}"
            if "secret" in volume and volume["secret"]["secretName"] not in {*(it for it, _ in keys), "gateway-tls"}:
                yield f"{name}: {volume['secret']['secretName']}"
        volumes = {it["name"] for it in pod.get("volumes", [])} | {"data"}
        yield from (f"{name}: {it['name']}" for it in container["volumeMounts"] if it["name"] not in volumes)


def secrets_are_by_reference(found: list[Json]) -> Iterator[str]:
    yield from (it["metadata"]["name"] for it in kinds(found, "Secret"))
    for name, container, _ in containers(found):
        for variable, value in variables(container, found).items():
            is_secret = re.search(r"PASSWORD|RECEIPT_KEY|HASH_KEY|DATABASE_URL|NATS_URL", variable)
            if is_secret and not value.startswith("<"):
                yield f"{name}: {variable}"


_cached: list[str] = []


def _secrets() -> str:
    if not _cached:
        _cached.append(random_secrets.documents())
    return _cached[0]


Rule = Callable[[list[Json]], Iterator[str]]
RULES: list[Rule] = [
    images_have_versions,
    room_is_asked_for_and_bounded,
    nobody_is_privileged,
    the_root_is_read_only,
    pods_are_nobody_to_the_api,
    probes_ask_ports_that_are_open,
    stopping_has_time,
    who_answers_is_taken_from_the_list_before_it_stops,
    pods_are_spread,
    disruptions_are_bounded,
    whoever_answers_is_scaled,
    a_service_leads_to_one_workload,
    tables_are_there_before_a_process,
    what_is_referred_to_exists,
    secrets_are_by_reference,
]


@pytest.mark.parametrize("overlay", NAMES)
@pytest.mark.parametrize("rule", RULES, ids=lambda it: it.__name__)
def test_the_rule_holds(rule: Rule, overlay: str) -> None:
    assert list(rule(objects(overlay))) == []


def _set(*path: str | int, value: Any) -> Callable[[Json], None]:
    """A change of identity-serve: something below its pod, or gone where `value` is None."""

    def change(pod: Json) -> None:
        place: Any = pod
        for word in path[:-1]:
            place = place[word]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


FIRST: tuple[str, int] = ("containers", 0)
BREACHES: list[tuple[Rule, Callable[[Json], None]]] = [
    (images_have_versions, _set(*FIRST, "image", value="scrm/identity:latest")),
    (images_have_versions, _set("initContainers", 0, "image", value="scrm/identity")),
    (room_is_asked_for_and_bounded, _set(*FIRST, "resources", "limits", value=None)),
    (nobody_is_privileged, _set(*FIRST, "securityContext", "allowPrivilegeEscalation", value=True)),
    (nobody_is_privileged, _set(*FIRST, "securityContext", "capabilities", value={"drop": ["ALL"], "add": ["NET_ADMIN"]})),
    (nobody_is_privileged, _set(*FIRST, "securityContext", "runAsUser", value=0)),
    (nobody_is_privileged, _set("hostNetwork", value=True)),
    (nobody_is_privileged, _set("volumes", 0, value={"name": "tmp", "hostPath": {"path": "/"}})),
    (the_root_is_read_only, _set(*FIRST, "securityContext", "readOnlyRootFilesystem", value=None)),
    (pods_are_nobody_to_the_api, _set("automountServiceAccountToken", value=None)),
    (pods_are_nobody_to_the_api, _set("serviceAccountName", value="default")),
    (probes_ask_ports_that_are_open, _set(*FIRST, "livenessProbe", value=None)),
    (probes_ask_ports_that_are_open, _set(*FIRST, "startupProbe", "grpc", "port", value=1)),
    (probes_ask_ports_that_are_open, _set(*FIRST, "livenessProbe", value={"tcpSocket": {"port": "grpc"}})),
    (stopping_has_time, _set("terminationGracePeriodSeconds", value=30)),
    (who_answers_is_taken_from_the_list_before_it_stops, _set(*FIRST, "lifecycle", value=None)),
    (pods_are_spread, _set("topologySpreadConstraints", value=None)),
    (tables_are_there_before_a_process, _set("initContainers", 0, "args", value=["migrate"])),
    (tables_are_there_before_a_process, _set(*FIRST, "image", value="scrm/identity:0.2.0")),
    (what_is_referred_to_exists, _set(*FIRST, "env", 0, "valueFrom", "secretKeyRef", "key", value="none")),
    (what_is_referred_to_exists, _set("volumes", 1, "configMap", "name", value="none")),
    (secrets_are_by_reference, _set(*FIRST, "env", 0, value={"name": "SCRM_DATABASE_URL", "value": "postgresql://a:b@c/d"})),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "breach"), BREACHES)
def test_a_breach_is_noticed(rule: Rule, breach: Callable[[Json], None]) -> None:
    found = objects("prod")
    breach(workload(found, "identity-serve")["spec"]["template"]["spec"])

    complaints = list(rule(found))

    assert complaints
    assert all(it.startswith("identity-serve") for it in complaints)


@pytest.mark.parametrize(
    ("rule", "kind", "name"),
    [
        (disruptions_are_bounded, "PodDisruptionBudget", "identity-serve"),
        (whoever_answers_is_scaled, "HorizontalPodAutoscaler", "identity-serve"),
        (a_service_leads_to_one_workload, "Deployment", "identity-serve"),
    ],
)
def test_what_is_missing_is_noticed(rule: Rule, kind: str, name: str) -> None:
    found = [it for it in objects("prod") if (it["kind"], it["metadata"]["name"]) != (kind, name)]

    assert list(rule(found))


def test_a_secret_among_the_manifests_is_noticed() -> None:
    found = [*objects("dev"), {"kind": "Secret", "metadata": {"name": "x"}, "data": {}}]

    assert list(secrets_are_by_reference(found)) == ["x"]


@pytest.mark.parametrize("overlay", NAMES)
def test_the_namespace_enforces_the_restricted_profile(overlay: str) -> None:
    (namespace,) = kinds(objects(overlay), "Namespace")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("nats.conf")), ids=lambda it: it.parent.name)
def test_nats_acknowledges_only_what_is_on_disk(path: Path) -> None:
    assert re.search(r"^  sync_interval: always$", path.read_text(), re.MULTILINE)
