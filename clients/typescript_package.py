"""Build the TypeScript client in build/clients/typescript, where Node is: `PYTHONPATH=.:gen python -m clients.typescript_package`.

Only who changes or publishes the package needs Node; the system itself does not.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent / "typescript"
ROOT: Final = HERE.parents[1]
TARGET: Final = ROOT / "build" / "clients" / "typescript"
_SOURCES: Final = ("package.json", "package-lock.json", ".npmrc", "tsconfig.json", "buf.gen.yaml", "src", "examples")
_NOT_OF_THE_LIBRARY: Final = (
    "--exclude-path",
    "google/protobuf",
)  # types that it brings itself, and the others import from it
PAGE: Final = "examples/audience.html"
_DESCRIPTORS: Final = ROOT / "gen" / "scrm.binpb"
_INSTALLED: Final = "node_modules/.package-lock.json"


class NoNode(Exception):
    """There is no Node with npm here, or npm cannot install what the package needs."""


def build(target: Path = TARGET) -> Path:
    """Install, generate, check the types and compile, unless all that was done with these sources; the folder.

    NoNode where that is not possible. Two that build at once wait for one another.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise NoNode("node and npm are not installed")
    target.mkdir(parents=True, exist_ok=True)
    with (target / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made_of, found = target / ".made-of", _digest()
        if not made_of.exists() or made_of.read_text() != found:
            made_of.unlink(missing_ok=True)
            _build(npm, target)
            made_of.write_text(found)
    return target


def _build(npm: str, target: Path) -> None:
    is_installed = (target / _INSTALLED).exists() and _same("package-lock.json", target)
    for name in _SOURCES:
        copy = shutil.copytree if (HERE / name).is_dir() else shutil.copyfile
        shutil.rmtree(target / name, ignore_errors=True)
        copy(HERE / name, target / name)
    if not is_installed and subprocess.run([npm, "ci", "--silent"], cwd=target, check=False).returncode:
        raise NoNode("npm cannot install the packages")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    buf = str(Path(sys.executable).with_name("buf"))
    generate = [buf, "generate", "--template", "buf.gen.yaml", *_NOT_OF_THE_LIBRARY, str(_DESCRIPTORS)]
    for command in (generate, [npm, "run", "--silent", "build"]):
        subprocess.run(command, cwd=target, env={**os.environ, "PATH": programs}, check=True)
    page = (target / PAGE).read_text()
    (target / Path(PAGE).name).write_text(page.replace("/* packages */", json.dumps({"imports": import_map(target)})))


def _digest() -> str:
    """Of all that a build is made of, this file among it."""
    found = hashlib.sha256()
    for path in (_DESCRIPTORS, Path(__file__), *(HERE / name for name in _SOURCES)):
        for file in sorted(it for it in (path, *path.rglob("*")) if it.is_file()):
            found.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode() + file.read_bytes())
    return found.hexdigest()


def import_map(target: Path) -> dict[str, str]:
    """Where a browser without a bundler finds what the client imports by name: every module that its packages export."""
    found: dict[str, str] = {}
    for name in json.loads((target / "package.json").read_text())["dependencies"]:
        folder = f"node_modules/{name}"
        for part, where in json.loads((target / folder / "package.json").read_text())["exports"].items():
            if isinstance(where, dict) and "import" in where:
                found[f"{name}{part.removeprefix('.')}"] = f"./{folder}/{where['import'].removeprefix('./')}"
    return found


def _same(name: str, target: Path) -> bool:
    return (target / name).exists() and (target / name).read_bytes() == (HERE / name).read_bytes()


if __name__ == "__main__":
    print(build())
