"""The import contracts of pyproject.toml: the code keeps them, and each of them bites."""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("chassis", "services")
LINT_IMPORTS = Path(sysconfig.get_path("scripts")) / "lint-imports"

# (contract, file to plant, what it imports)
VIOLATIONS = [
    ("layers", "services/identity/domain/planted.py", "import services.identity.application"),
    ("layers", "services/identity/application/planted.py", "import services.identity.read_models"),
    ("layers", "services/identity/read_models/planted.py", "import services.identity.adapters"),
    ("layers", "services/identity/adapters/planted.py", "import services.identity.service"),
    ("pure-domain", "services/identity/domain/planted.py", "import grpc"),
    ("pure-domain", "services/identity/domain/planted.py", "import nats"),
    ("pure-domain", "services/identity/domain/planted.py", "import sqlalchemy"),
    ("pure-domain", "services/identity/domain/planted.py", "import psycopg"),
    ("pure-domain", "services/identity/domain/planted.py", "from google.protobuf import message"),
    ("pure-domain", "services/identity/domain/planted.py", "from scrm.identity.v1 import events_pb2"),
    ("pure-domain", "services/tagging/domain/planted.py", "import grpc"),
    ("independent-services", "services/identity/application/planted.py", "import services.tracking.domain"),
    ("chassis-below-services", "chassis/planted.py", "import services.identity.domain"),
    ("event-store-door", "chassis/planted.py", "import eventsourcing.domain"),
    ("event-store-door", "services/identity/domain/planted.py", "from eventsourcing.domain import event"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of everything that the contracts speak about, to plant violations in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint_imports(folder: Path, contract: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINT_IMPORTS), "--no-logo", "--no-cache", "--contract", contract],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("contract", sorted({contract for contract, _, _ in VIOLATIONS}))
def test_the_code_keeps_the_contract(contract: str, copy: Path) -> None:
    result = lint_imports(copy, contract)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("contract", "path", "statement"), VIOLATIONS)
def test_a_planted_violation_is_found(contract: str, path: str, statement: str, copy: Path) -> None:
    (copy / path).write_text(f"{statement}\n")

    result = lint_imports(copy, contract)

    assert result.returncode == 1
    assert path.removesuffix(".py").replace("/", ".") in result.stdout


def test_the_linter_sees_every_module() -> None:
    """A folder without __init__.py inside one that has it is invisible to the linter, and all contracts hold vacuously."""
    graph = grimp.build_graph(*SOURCES, cache_dir=None)

    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    unseen = {module_name(path) for path in files} - graph.modules
    assert not unseen


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
