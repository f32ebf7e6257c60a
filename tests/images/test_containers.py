"""The images are built where a builder is, hold what they should, and serve under the rights that the manifests give them.

Where nothing builds images or starts containers, every test here is skipped and says what is missing.
"""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from deploy.k8s.overlay import OVERLAYS
from deploy.k8s.workloads import USER
from deploy.local.broker import NatsServer
from deploy.local.contracts import ROOT
from deploy.local.credentials import Credentials
from deploy.local.processes import Child, Program, free_port
from deploy.local.stack import SERVICES
from tests.conftest import DatabaseFactory
from tests.images import engine as engines
from tests.images.deployed import OVERLAY, Surroundings, gateway_configuration, pod_of, serves
from tests.images.engine import BASES, Engine, Missing, Mounts

pytestmark = pytest.mark.timeout(3600)  # the first one builds

VERSION = "0.0.0-test"
NEEDLESS = {"gcc", "cc", "g++", "c++", "as", "ld", "make", "cargo", "pip", "pip3", "git", "curl", "wget"}
"""Programs by which somebody who got in would bring in more."""
LISTING = "IFS=:; for it in $PATH; do ls $it; done"
WHO_AM_I = """
import json, os, resource
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def writes(folder):
    try:
        open(folder + "/mine", "w").close()
    except OSError:
        return False
    return True
kept = {name: status[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
print(json.dumps({**kept, "user": os.getuid(), "group": os.getgid(), "writes": [it for it in %r if writes(it)]}))
"""
FOLDERS = ["", "/scrm", "/scrm/services", "/opt/scrm", "/etc", "/var/tmp", "/dev/shm", "/tmp"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The version of images built from what is checked in, or would be, and nothing else that lies around here."""
    try:
        engines.builder()
    except Missing as missing:
        pytest.skip(str(missing))
    clone = tmp_path_factory.mktemp("clone")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    command = [str(clone / "deploy" / "images" / "build.sh"), VERSION]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    return VERSION


@pytest.fixture(scope="module")
def engine(images: str) -> Engine:
    """What starts containers of the images."""
    try:
        return engines.engine()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def around(
    engine: Engine,
    images: str,
    database: DatabaseFactory,
    nats_server: NatsServer,
    credentials: Credentials,
    tmp_path: Path,
) -> Callable[[str], Surroundings]:
    """`around("identity")` is where the pods of identity are put: a new database of its own."""
    return lambda service: Surroundings(
        engine, images, service, database(service), nats_server, credentials, tmp_path / service
    )


def test_images_are_built_from_a_clean_clone(images: str) -> None:
    assert images


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_its_service_and_nothing_to_build_with(engine: Engine, images: str, service: str) -> None:
    image = f"scrm/{service}:{images}"

    assert needless(engine, image) == set()
    assert shell(engine, image, "ls /scrm /scrm/services").split() == [
        "/scrm:", "chassis", "gen", "services", "/scrm/services:", service,
    ]  # fmt: skip


def test_what_to_build_with_is_noticed(engine: Engine) -> None:
    assert "pip" in needless(engine, BASES["PYTHON"])


def needless(engine: Engine, image: str) -> set[str]:
    return set(shell(engine, image, LISTING).split()) & NEEDLESS


def shell(engine: Engine, image: str, script: str) -> str:
    return engine.run(image, ["-c", script], ["--entrypoint=/bin/sh"])


def test_an_image_says_what_is_in_it(engine: Engine, images: str) -> None:
    said = json.loads(engine.run(f"scrm/tagging:{images}", ["/opt/scrm/sbom.json"], ["--entrypoint=/bin/cat"]))

    named = {it["purl"] for it in said["components"]}
    locked = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements" / "run.lock").read_text(), re.MULTILINE)
    python = {it.removeprefix("pkg:pypi/") for it in named if it.startswith("pkg:pypi/")}
    assert python
    assert python <= {f"{re.sub(r'[-_.]+', '-', name).lower()}@{version}" for name, version in locked}
    assert any(it.startswith("pkg:deb/debian/libc6@") for it in named)


def test_a_container_has_the_rights_of_its_manifest_and_no_others(
    around: Callable[[str], Surroundings], images: str
) -> None:
    there, pod = around("identity"), pod_of("identity-serve")
    options = there.engine.of_manifest(pod, pod["containers"][0], there.mounts(pod["containers"][0]))
    asked = ["-c", WHO_AM_I % FOLDERS]
    python = "--entrypoint=/opt/scrm/bin/python"

    confined = json.loads(there.engine.run(f"scrm/identity:{images}", asked, [*options, python]))
    free = json.loads(there.engine.run(f"scrm/identity:{images}", asked, ["--user=0", python]))

    assert (confined["user"], confined["group"]) == (USER, USER)
    assert (int(confined["CapEff"], 16), int(confined["CapBnd"], 16)) == (0, 0)
    assert (confined["NoNewPrivs"], confined["Seccomp"]) == ("1", "2")
    assert [it for it in confined["writes"] if it != "/dev/shm"] == ["/tmp"]
    # Without what the manifest says all of that is otherwise, and is seen to be.
    assert free["user"] == 0
    assert int(free["CapBnd"], 16) > 0
    assert free["NoNewPrivs"] == "0"
    assert free["writes"] == FOLDERS


def test_an_option_of_the_manifest_that_is_not_understood_is_an_error() -> None:
    pod = pod_of("identity-serve")
    pod["containers"][0]["securityContext"]["procMount"] = "Unmasked"

    with pytest.raises(AssertionError):
        engines.restrictions(pod, pod["containers"][0])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_migrates_passes_its_gate_and_serves(around: Callable[[str], Surroundings], service: str) -> None:
    there = around(service)
    migrated(there)
    pod = pod_of(f"{service}-serve")
    (gate,) = pod["initContainers"]
    there.started("schema", gate, pod).wait(timeout_seconds=120)

    with running(there, "serve") as served:
        served.wait_until(lambda: serves(there.ports["grpc"]), timeout_seconds=120)
        served.stop()

    assert served.status == 0, served.log_tail()


def test_a_command_comes_through_the_gateway_and_is_published(
    around: Callable[[str], Surroundings], credentials: Credentials, state_dir: Path
) -> None:
    nats = NatsServer(state_dir / "nats-of-containers")
    there = replace(around("identity"), nats=nats)
    token = credentials.mint("acme", ["identity.write"])
    body = {"requestId": str(uuid4()), "identifiers": [{"namespace": "phone", "value": "+8613800000001"}]}
    gateway = free_port()
    try:
        nats.start()
        migrated(there)
        relay = replace(there, ports={it: free_port() for it in there.ports})
        with running(there, "serve") as served, running(relay, "relay") as relaying, passed_on(there, gateway) as envoy:
            served.wait_until(lambda: serves(there.ports["grpc"]), timeout_seconds=120)
            envoy.wait_until(lambda: is_open(gateway))
            answer = httpx.post(
                f"http://127.0.0.1:{gateway}/v1/identity:resolve",
                json=body,
                headers={"authorization": f"Bearer {token}"},
                timeout=20,
            )
            assert answer.status_code == 200, answer.text
            assert answer.json()["customerId"]
            relaying.wait_until(lambda: published(nats) > 0)
    finally:
        nats.stop()


def migrated(there: Surroundings) -> None:
    pod = pod_of(f"{there.service}-migrate")
    there.started("migrate", pod["containers"][0], pod).wait(timeout_seconds=120)


@contextmanager
def running(there: Surroundings, role: str) -> Iterator[Child]:
    """The container of a role, to its end."""
    pod = pod_of(f"{there.service}-{role}")
    child = there.started(role, pod["containers"][0], pod)
    try:
        yield child
    finally:
        child.stop()
        there.engine.remove(child.program.name)


@contextmanager
def passed_on(there: Surroundings, port: int) -> Iterator[Child]:
    """The container of the gateway, which listens at the port and passes all calls on to the service."""
    pod = pod_of("gateway")
    (container,) = pod["containers"]
    folder = there.folder / "gateway-config"
    folder.mkdir(parents=True)
    found = (OVERLAYS / OVERLAY / "envoy.json").read_text()
    (folder / "envoy.json").write_text(gateway_configuration(found, port, there.ports["grpc"]))
    mounts = Mounts({"config": folder, "jwks": there.mounts_of_files()["jwks"]})
    name = f"{there.database.name}-gateway".replace("_", "-")
    options = [f"--name={name}", *there.engine.of_manifest(pod, container, mounts)]
    command = there.engine.command(there.image(container), options, container["args"])
    child = Child(Program(name, command, there.folder / "gateway.log"))
    child.start()
    try:
        yield child
    finally:
        child.stop()
        there.engine.remove(name)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def published(nats: NatsServer) -> int:
    """How many messages all streams hold."""
    return int(httpx.get(f"{nats.monitor_url}/jsz").json()["messages"])
