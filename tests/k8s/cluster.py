"""What the rendered manifests say, in the words of the checks: overlays, workloads, containers, their variables, their pods."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deploy.k8s import kustomize
from deploy.k8s.overlay import COMPLETE, OVERLAYS, RENDERED

__all__ = [
    "NAMES",
    "Json",
    "Pod",
    "containers",
    "files_of",
    "kinds",
    "objects",
    "pods",
    "variables",
    "workload",
    "workloads",
]

Json = dict[str, Any]
NAMES = RENDERED
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
DATABASE = "scrm.database/"


def files_of(overlay: str) -> Path:
    """Where the settings and the rendered files of an overlay are; the complete one has those of prod."""
    return OVERLAYS / ("prod" if overlay == COMPLETE else overlay)


@cache
def _rendered(overlay: str) -> list[Json]:
    return kustomize.render(OVERLAYS / overlay)


def objects(overlay: str) -> list[Json]:
    """All objects of an overlay; a copy, to be spoiled at will."""
    return deepcopy(_rendered(overlay))


def kinds(found: list[Json], *wanted: str) -> list[Json]:
    return [it for it in found if it["kind"] in wanted]


def workloads(found: list[Json]) -> list[Json]:
    return kinds(found, "Deployment", "StatefulSet", "Job")


def workload(found: list[Json], name: str) -> Json:
    """The one workload of that name, such as "identity-serve"."""
    (one,) = [it for it in workloads(found) if it["metadata"]["name"] == name]
    return one


def containers(found: list[Json]) -> Iterator[tuple[str, Json, Json]]:
    """(workload/container, the container, the specification of its pod), those that run first included."""
    for it in workloads(found):
        pod = it["spec"]["template"]["spec"]
        for container in kustomize.containers(it):
            yield f"{it['metadata']['name']}/{container['name']}", container, pod


def variables(container: Json, found: list[Json]) -> dict[str, str]:
    """The environment of a container; a secret value stands as <name of the Secret/key>, a field of the pod as 0."""
    maps = {it["metadata"]["name"]: it["data"] for it in kinds(found, "ConfigMap")}
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values |= maps[source["configMapRef"]["name"]]
    for it in container.get("env", []):
        values[it["name"]] = it["value"] if "value" in it else _from(it["valueFrom"])
    return values


def _from(source: Mapping[str, Any]) -> str:
    if secret := source.get("secretKeyRef"):
        return f"<{secret['name']}/{secret['key']}>".ljust(32, "#")
    return "0"


@dataclass(frozen=True)
class Pod:
    """A kind of pod: its name for people and the labels it is selected by."""

    name: str
    labels: frozenset[tuple[str, str]]


def pods(found: list[Json]) -> list[Pod]:
    """Every kind of pod that the objects bring into the cluster."""
    made = {it["metadata"]["name"]: it["spec"]["template"]["metadata"]["labels"] for it in workloads(found)}
    # CloudNativePG gives its pods the labels that it is told to hand down.
    made |= {it["metadata"]["name"]: it["spec"]["inheritedMetadata"]["labels"] for it in kinds(found, "Cluster")}
    return [Pod(name, frozenset(labels.items())) for name, labels in made.items()]
