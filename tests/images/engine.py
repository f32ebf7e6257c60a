"""Docker or podman, as far as the tests of images need them: found, asked whether they work, told what a manifest tells Kubernetes."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from deploy.local.contracts import ROOT

Json = dict[str, Any]
IMAGES = ROOT / "deploy" / "images"
BASES = dict(re.findall(r"^ARG (\w+)=(\S+)$", (IMAGES / "Containerfile").read_text(), re.MULTILINE))
"""The base images by the name of their build argument."""
TRIAL = "".join(
    [
        *(f"ARG {name}={image}\n" for name, image in BASES.items()),
        "FROM ${ENVOY} AS envoy\nFROM ${PYTHON}\nRUN true\nCOPY --from=envoy /etc/passwd /trial\n",
    ]
)
"""As much of a Containerfile as shows whether a builder gets at the base images and runs a command."""
BUILDERS = ("docker", "podman", "buildah")
_TRIAL_SECONDS = 300


class Missing(Exception):
    """Nothing can be built, or nothing be started, here; says why."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """What stands in for what the cluster has: files by the name of their volume, and the values of variables."""

    volumes: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """One of the programs, by name."""

    program: str

    def command(self, image: str, options: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """What starts a container, on the network of this machine, and removes it when it ends."""
        return [self.program, "run", "--rm", "--network=host", *options, image, *arguments]

    def run(self, image: str, arguments: Sequence[str], options: Sequence[str] = ()) -> str:
        """What a container prints until it ends."""
        done = _said([*self.command(image, options, arguments)])
        assert done.returncode == 0, done.stdout
        return done.stdout

    def of_manifest(self, pod: Json, container: Json, mounts: Mounts) -> list[str]:
        """The options of `run` that give a container the rights, the room and the files that its manifest does."""
        return [
            *restrictions(pod, container),
            *(["--read-only-tmpfs=false"] if self.program == "podman" else []),
            f"--memory={_size(container['resources']['limits']['memory'])}",
            *_volumes(pod, container, mounts.volumes),
            *(f"--env={name}={value}" for name, value in mounts.environment.items()),
        ]

    def remove(self, name: str) -> None:
        """End a container that is still there."""
        _said([self.program, "rm", "--force", name])


def builder() -> str:
    """The first of the builders that works here, as build.sh chooses it; Missing if none builds what our images begin with."""
    found = [it for it in BUILDERS if works(it)]
    if not found:
        raise Missing("NO IMAGE WAS BUILT: docker, podman and buildah are missing here, or have no engine")
    with TemporaryDirectory() as folder:
        trial = Path(folder) / "Containerfile"
        trial.write_text(TRIAL)
        options = os.environ.get("OPTIONS", "").split()
        command = [found[0], "build", "--file", str(trial), "--tag", "scrm/trial", *options, folder]
        try:
            done = _said(command, _TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            raise Missing(f"NO IMAGE WAS BUILT: {found[0]} builds nothing here in {_TRIAL_SECONDS} s") from None
    if done.returncode != 0:
        raise Missing(
            f"NO IMAGE WAS BUILT: {found[0]} does not build on {' and '.join(BASES.values())}, which deploy/images/bases.sh can "
            f"make: {_last_line(done)}"
        )
    return found[0]


def engine() -> Engine:
    """What starts containers here; Missing if nothing does."""
    program = builder()
    if program == "buildah":
        raise Missing("NO CONTAINER WAS STARTED: buildah builds images, docker or podman is needed to run them")
    done = _said([program, "run", "--rm", "--network=host", "scrm/trial", "true"])
    if done.returncode != 0:
        raise Missing(f"NO CONTAINER WAS STARTED: {program} cannot start any here: {_last_line(done)}")
    return Engine(program)


def works(program: str) -> bool:
    """Whether it is installed and can build: a command docker without a daemon cannot."""
    return shutil.which(program) is not None and _said([program, "info"]).returncode == 0


def restrictions(pod: Json, container: Json) -> list[str]:
    """What `securityContext` says, as options of `run`; whatever is in there and not understood is an error.

    Both programs have a seccomp profile of their own as long as no other is named: that is what RuntimeDefault means.
    """
    said = deepcopy({**pod["securityContext"], **container["securityContext"]})
    assert said.pop("runAsNonRoot") is True
    assert said.pop("seccompProfile") == {"type": "RuntimeDefault"}
    assert said.pop("allowPrivilegeEscalation") is False
    assert said.pop("readOnlyRootFilesystem") is True
    assert said.pop("capabilities") == {"drop": ["ALL"]}
    user, group, of_files = (said.pop(it) for it in ("runAsUser", "runAsGroup", "fsGroup"))
    assert not said
    return [
        f"--user={user}:{group}",
        f"--group-add={of_files}",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ]


def _volumes(pod: Json, container: Json, files: Mapping[str, Path]) -> Iterator[str]:
    declared = {it["name"]: it for it in pod["volumes"]}
    for mount in container["volumeMounts"]:
        if "emptyDir" in declared[mount["name"]]:
            size = _size(declared[mount["name"]]["emptyDir"]["sizeLimit"])
            yield f"--tmpfs={mount['mountPath']}:rw,size={size},mode=1777"
        else:
            yield f"--volume={files[mount['name']]}:{mount['mountPath']}:ro"


def _size(told: str) -> str:
    """A size of Kubernetes, such as 512Mi, as the programs write it: 512m."""
    return told.removesuffix("i").lower()


def _said(command: Sequence[str], seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout.strip().splitlines() or ["it says nothing"])[-1]
