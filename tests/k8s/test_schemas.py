"""Every object is what the API of Kubernetes takes, by the published schemas, with nothing it does not know."""

import pytest

from tests.k8s.cluster import NAMES, Json, objects, workload

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")

OLDEST, NEWEST = "1.32", "1.37"
CUSTOM = {"Cluster"}  # of CloudNativePG, whose schema is not published with those of Kubernetes


def complaints(found: list[Json], version: str) -> list[str]:
    said = []
    for it in found:
        if it["kind"] not in CUSTOM:
            try:
                kubernetes_validate.validate(it, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                said.append(f"{it['kind']} {it['metadata']['name']}: {error.message}")
    return said


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
