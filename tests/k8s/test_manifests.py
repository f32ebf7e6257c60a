"""The manifests are those that the table makes, and kubectl renders the overlays as our own reading of them does."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.k8s import components, kustomize, overlay, service_files
from deploy.k8s.parts import PARTS, Part
from deploy.local.stack import SERVICES
from tests.k8s import code
from tests.k8s.cluster import NAMES, Json, kinds, objects

KUBECTL = shutil.which("kubectl")


def test_every_generated_file_is_up_to_date() -> None:
    wanted = service_files.files() | overlay.files() | components.files()

    stale = [str(path) for path, content in wanted.items() if not path.exists() or path.read_text() != content]

    assert stale == [], "run `python -m deploy.k8s generate`"


def test_a_changed_table_is_noticed() -> None:
    one, *_ = PARTS
    smaller = Part(one.name, one.roles[:1], one.settings, one.secrets, one.files)

    changed = service_files.files([smaller])

    assert any(path.read_text() != content for path, content in changed.items())


def test_no_file_of_a_service_is_left_over() -> None:
    folders = [service_files.BASE / part.name for part in PARTS]

    assert {path for folder in folders for path in folder.iterdir()} == set(service_files.files())


def test_the_parts_are_the_services_with_the_roles_that_have_work(tmp_path: Path) -> None:
    wanted = {name: code.roles_with_work(name, tmp_path) for name in SERVICES}

    assert {part.name: {role.name for role in part.roles} for part in PARTS} == wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_the_base_is_part_of_the_overlay(name: str) -> None:
    found = {(it["kind"], it["metadata"]["name"]) for it in objects(name)}
    for path in service_files.BASE.rglob("*.yaml"):
        if path.name != "kustomization.yaml":
            for it in yaml.safe_load_all(path.read_text()):
                assert (it["kind"], it["metadata"]["name"]) in found


def test_every_component_is_part_of_the_complete_overlay() -> None:
    found = {(it["kind"], it["metadata"]["name"]) for it in objects(overlay.COMPLETE)}
    for path in components.COMPONENTS.rglob("*.yaml"):
        if path.name not in {"kustomization.yaml", "collector-config.yaml"}:
            for it in yaml.safe_load_all(path.read_text()):
                is_taken_out = (it["kind"], it["metadata"]["name"]) == ("ScheduledBackup", "tracking-db")
                assert ((it["kind"], it["metadata"]["name"]) in found) is not is_taken_out


@pytest.mark.parametrize("name", NAMES)
def test_kubectl_renders_the_same(name: str) -> None:
    if KUBECTL is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        [KUBECTL, "kustomize", overlay.OVERLAYS / name], stdout=subprocess.PIPE, check=True, text=True
    )

    theirs = list(yaml.safe_load_all(done.stdout))

    assert _comparable(objects(name)) == _comparable(theirs)


def _comparable(found: list[Json]) -> dict[tuple[str, str], Any]:
    """By kind and name, with the names of generated ConfigMaps without their digest, which differs."""
    text = json.dumps(found)
    for it in kinds(found, "ConfigMap"):
        name = it["metadata"]["name"]
        text = text.replace(f'"{name}"', f'"{name.rpartition("-")[0]}"')
    return {(it["kind"], it["metadata"]["name"]): it for it in json.loads(text)}


@pytest.mark.parametrize(
    "kustomization",
    [
        {"resources": ["one.yaml"], "namePrefix": "x-"},
        {"resources": ["one.yaml"], "labels": [{"pairs": {"a": "b"}, "includeSelectors": True}]},
        {"resources": ["one.yaml"], "patches": [{"path": "patch.yaml"}]},
        {"resources": ["one.yaml"], "patches": [{"target": {"kind": "Deployment"}, "patch": "[]"}]},
        {
            "resources": ["one.yaml"],
            "patches": [{"target": {"kind": "Service"}, "patch": '{"$patch": "replace", "kind": "Service"}'}],
        },
        {
            "resources": ["one.yaml"],
            "patches": [{"target": {"kind": "Service"}, "patch": '{"$patch": "delete", "spec": {}}'}],
        },
        {
            "resources": ["one.yaml"],
            "patches": [
                {"target": {"kind": "Service"}, "patch": '[{"op": "replace", "path": "/spec/none", "value": 1}]'}
            ],
        },
    ],
)
def test_what_is_not_understood_is_refused(kustomization: Json, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("kind: Service\nmetadata: {name: one}\nspec: {}\n")
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    with pytest.raises(kustomize.NotUnderstood):
        kustomize.render(tmp_path)
