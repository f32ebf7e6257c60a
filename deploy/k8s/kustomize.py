"""The part of kustomize that our overlays use, so that they can be read and checked where no kubectl is.

Known: resources, components, namespace, labels, images, replicas, configMapGenerator, JSON patches and patches that delete. Anything else
in a kustomization.yaml is refused, so nothing is silently left out. tests/k8s compares the result with that of kubectl.
"""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import yaml

Json = dict[str, Any]

_KNOWN: Final = {
    "apiVersion", "kind", "resources", "components", "namespace", "labels", "images", "replicas", "configMapGenerator", "patches",
}  # fmt: skip
_CLUSTER_WIDE: Final = {"Namespace"}


class NotUnderstood(Exception):
    """A kustomization uses what is not known here, or does not fit together."""


def render(folder: Path) -> list[Json]:
    """All objects of the kustomization in `folder`, with the names of generated ConfigMaps as they are in the cluster."""
    objects = _collected(folder)
    suffixed = {
        it["metadata"]["name"]: f"{it['metadata']['name']}-{_digest(it)}"
        for it in objects
        if it.pop("_generated", False)
    }
    for it in objects:
        if it["kind"] == "ConfigMap":
            it["metadata"]["name"] = suffixed.get(it["metadata"]["name"], it["metadata"]["name"])
        _rename_references(it, suffixed)
    return objects


def _collected(folder: Path, into: Iterable[Json] = ()) -> list[Json]:
    """The objects of a kustomization; those of a component, `into` which it is put, are changed by it too."""
    steps = yaml.safe_load((folder / "kustomization.yaml").read_text())
    if unknown := steps.keys() - _KNOWN:
        raise NotUnderstood(f"{folder.name}: {', '.join(sorted(unknown))}")
    objects = list(into)
    for resource in steps.get("resources", []):
        path = folder / resource
        objects += _collected(path) if path.is_dir() else _documents(path)
    for generator in steps.get("configMapGenerator", []):
        _generate(generator, folder, objects)
    for component in steps.get("components", []):
        objects = _collected(folder / component, objects)
    for patch in steps.get("patches", []):
        _patch(patch, objects)
    for it in objects:
        _scale(it, steps.get("replicas", []))
        _add_labels(it, steps.get("labels", []))
        _set_images(it, steps.get("images", []))
        if "namespace" in steps and it["kind"] not in _CLUSTER_WIDE:
            it["metadata"]["namespace"] = steps["namespace"]
    return objects


def _documents(path: Path) -> list[Json]:
    return [it for it in yaml.safe_load_all(path.read_text()) if it]


def _generate(generator: Json, folder: Path, objects: list[Json]) -> None:
    content: dict[str, str] = {}
    for name in generator.get("envs", []):
        content |= variables((folder / name).read_text())
    content |= variables("\n".join(generator.get("literals", [])))
    for name in generator.get("files", []):
        key, _, source = name.rpartition("=")
        content[key or Path(source).name] = (folder / source).read_text()
    match generator.get("behavior", "create"):
        case "create":
            named = {"name": generator["name"]}
            made: Json = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": named,
                "data": content,
                "_generated": True,
            }
            objects.append(made)
        case behavior:
            found = _one(objects, {"kind": "ConfigMap", "name": generator["name"]})
            found["data"] = {**(found["data"] if behavior == "merge" else {}), **content}


def variables(text: str) -> dict[str, str]:
    """The variables of an .env file: `NAME=value` lines, and comments."""
    lines = (it.strip() for it in text.splitlines())
    pairs = (it.partition("=") for it in lines if it and not it.startswith("#"))
    return {name: value for name, _, value in pairs}


def _patch(patch: Json, objects: list[Json]) -> None:
    if patch.keys() - {"target", "patch"}:
        raise NotUnderstood("a patch that is not inline")
    found = [it for it in objects if _is(it, patch["target"])]
    if not found:
        raise NotUnderstood(f"nothing is {patch['target']}")
    steps = yaml.safe_load(patch["patch"])
    for it in found:
        if isinstance(steps, dict):
            _delete(steps, it, objects)
        else:
            for step in steps:
                _apply(step, it)


def _delete(steps: Json, target: Json, objects: list[Json]) -> None:
    """The one strategic merge that is known: `$patch: delete`, with what it needs to be an object."""
    if steps.get("$patch") != "delete" or steps.keys() - {"$patch", "apiVersion", "kind", "metadata"}:
        raise NotUnderstood("a patch that merges")
    objects.remove(target)


def _apply(step: Json, target: Json) -> None:
    """One operation of RFC 6902: add, replace or remove."""
    *way, last = [it.replace("~1", "/").replace("~0", "~") for it in step["path"].split("/")[1:]]
    place: Any = target
    for word in way:
        place = place[int(word) if isinstance(place, list) else word]
    match step["op"], place:
        case "add", list():
            place.insert(len(place) if last == "-" else int(last), deepcopy(step["value"]))
        case (("replace" | "remove"), _) if _key(place, last) not in (
            range(len(place)) if isinstance(place, list) else place
        ):
            raise NotUnderstood(f"there is no {step['path']}")
        case (("add" | "replace"), _):
            place[_key(place, last)] = deepcopy(step["value"])
        case "remove", _:
            del place[_key(place, last)]
        case op, _:
            raise NotUnderstood(f"patch operation {op}")


def _key(place: Any, word: str) -> Any:
    return int(word) if isinstance(place, list) else word


def _scale(it: Json, replicas: Iterable[Json]) -> None:
    for wanted in replicas:
        if it["kind"] in {"Deployment", "StatefulSet"} and it["metadata"]["name"] == wanted["name"]:
            it["spec"]["replicas"] = wanted["count"]


def _add_labels(it: Json, labels: Iterable[Json]) -> None:
    for group in labels:
        if group.keys() - {"pairs"}:
            raise NotUnderstood("labels of more than the object itself")
        it["metadata"].setdefault("labels", {}).update(group["pairs"])


def _set_images(it: Json, images: Iterable[Json]) -> None:
    for container in containers(it):
        name = container["image"].partition("@")[0].rpartition(":")[0]
        for wanted in images:
            if name == wanted["name"]:
                place = wanted.get("newName", name)
                version = f"@{wanted['digest']}" if "digest" in wanted else f":{wanted['newTag']}"
                container["image"] = f"{place}{version}"


def pod(it: Json) -> Json | None:
    """The pod (metadata and spec) that an object makes, None where it makes none."""
    template = it.get("spec", {}).get("template") if it["kind"] in {"Deployment", "StatefulSet", "Job"} else None
    return template if isinstance(template, dict) else None


def containers(it: Json) -> list[Json]:
    """The containers of the pods an object makes, those that run first included."""
    spec = (pod(it) or {}).get("spec", {})
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def _one(objects: list[Json], target: Mapping[str, str]) -> Json:
    found = [it for it in objects if _is(it, target)]
    if len(found) != 1:
        raise NotUnderstood(f"{len(found)} objects are {target}")
    return found[0]


def _is(it: Json, target: Mapping[str, str]) -> bool:
    if target.keys() - {"kind", "name"}:
        raise NotUnderstood(f"target by {', '.join(target)}")
    is_named = "name" not in target or it["metadata"]["name"] == target["name"]
    return bool(it["kind"] == target["kind"] and is_named)


def _rename_references(it: Json, names: Mapping[str, str]) -> None:
    for container in containers(it):
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                source["configMapRef"]["name"] = names.get(
                    source["configMapRef"]["name"], source["configMapRef"]["name"]
                )
    for volume in (pod(it) or {}).get("spec", {}).get("volumes", []):
        if "configMap" in volume:
            volume["configMap"]["name"] = names.get(volume["configMap"]["name"], volume["configMap"]["name"])


def _digest(it: Json) -> str:
    return sha256(json.dumps(it["data"], sort_keys=True).encode()).hexdigest()[:10]
