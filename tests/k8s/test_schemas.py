"""Every object is what the API of Kubernetes takes, by the published schemas, with nothing it does not know; those of operators by ours."""

import json
import re
from collections.abc import Callable
from functools import cache

import jsonschema
import pytest

from tests.k8s.cluster import NAMES, Json, kinds, objects, workload
from tests.k8s.custom_kinds import SPECS, schema_of

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

OLDEST, NEWEST = "1.32", "1.37"
_DIGEST = re.compile(r"-[0-9a-f]{10}(?=\")")


def complaints(found: list[Json], version: str) -> list[str]:
    """Overlays have most objects in common, but for the digests in the names of their ConfigMaps: those are looked at once."""
    said = (complaint(_DIGEST.sub("-digest", json.dumps(it)), version) for it in found)
    return [it for it in said if it]


@cache
def complaint(text: str, version: str) -> str | None:
    it = json.loads(text)
    try:
        if schema := schema_of(it):
            jsonschema.validate(it, schema)
        else:
            kubernetes_validate.validate(it, version, strict=True)
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        return f"{it['kind']} {it['metadata']['name']}: {error.message}"
    return None


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_what_kubernetes_takes(name: str, version: str) -> None:
    assert complaints(objects(name), version) == []


@pytest.mark.parametrize(
    ("key", "value"), [("periodSecond", 1), ("periodSeconds", "often"), ("grpc", {"port": "grpc"})]
)
def test_a_field_that_does_not_exist_or_is_of_another_kind_is_noticed(key: str, value: object) -> None:
    found = objects("dev")
    probe = workload(found, "tagging-relay")["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    probe[key] = value

    (said,) = complaints(found, NEWEST)

    assert said.startswith("Deployment tagging-relay")


def test_every_kind_of_an_operator_is_used() -> None:
    assert {(it["apiVersion"], it["kind"]) for it in objects("complete")} >= SPECS.keys()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ScaledObject", lambda spec: spec.update(maxReplicas=3)),
        ("ScaledObject", lambda spec: spec["triggers"][0]["metadata"].update(threshold=2000)),
        ("ScheduledBackup", lambda spec: spec.update(schedule="0 3 * * *")),
        ("ObjectStore", lambda spec: spec["configuration"].pop("destinationPath")),
        ("Cluster", lambda spec: spec["plugins"][0].update(name="barman")),
    ],
)
def test_what_an_operator_would_not_take_is_noticed(kind: str, change: Callable[[Json], object]) -> None:
    one, *_ = kinds(objects("complete"), kind)
    change(one["spec"])

    (said,) = complaints([one], NEWEST)

    assert said.startswith(f"{kind} ")
