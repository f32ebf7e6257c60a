"""What the pages of docs/operations tell somebody to run exists: commands, workloads, roles, SQL, paths, settings, words of logs."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg
import pytest
from google.api import annotations_pb2

from chassis.roles import ONE_SHOTS
from deploy.k8s.parts import MIGRATE, PARTS
from deploy.local.contracts import ROOT
from tests.conftest import Migrated
from tests.contracts.contracts import rpcs
from tests.k8s.cluster import objects
from tests.operations.monitoring import RULES

PAGES = sorted((ROOT / "docs" / "operations").glob("*.md"))
SHORT = {"deploy": "Deployment", "statefulset": "StatefulSet", "job": "Job", "service": "Service"}
OVERLAYS = ("dev", "prod")


def code(page: str) -> str:
    """What a page sets as code, blocks first; a command that goes over several lines is on one."""
    blocks = re.findall(r"^ *```\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```\n.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    spans = [re.sub(r"\s+", " ", it) for it in re.findall(r"`([^`]+)`", rest)]
    return "\n".join([*(it.replace("\\\n", " ") for it in blocks), *spans])


def complaints(page: str) -> Iterator[str]:
    """What the page names and nobody knows."""
    told = code(page)
    yield from _programs(told)
    yield from _workloads(told)
    yield from _roles(told)
    yield from _calls(told)
    yield from _words(page)


def _programs(told: str) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    yield from (f"make {it}" for it in re.findall(r"\bmake ([a-z0-9]+)", told) if it not in targets)
    for module, command in re.findall(r"python -m (deploy(?:\.\w+)+)(?: ([a-z][\w-]*))?", told):
        folder = ROOT / module.replace(".", "/")
        if not folder.with_suffix(".py").exists() and not (folder / "__main__.py").exists():
            yield module
        elif command and f'add_parser("{command}"' not in re.sub(r"\(\s+", "(", (folder / "__main__.py").read_text()):
            yield f"{module} {command}"
    yield from (it for it in re.findall(r"\b((?:deploy|docs|tests|base)/[\w./-]*\w)", told) if not _is_there(it))


def _is_there(path: str) -> bool:
    """Whether a path of the repository, or one below deploy/k8s, exists; one that only looks like it is a workload."""
    kind, _, name = path.partition("/")
    is_workload = kind == "deploy" and any(kind_and_name == ("Deployment", name) for kind_and_name in _named())
    return is_workload or any((ROOT / start / path).exists() for start in ("", "deploy/k8s"))


@cache
def _named() -> frozenset[tuple[str, str]]:
    return frozenset((it["kind"], it["metadata"]["name"]) for overlay in OVERLAYS for it in objects(overlay))


def _workloads(told: str) -> Iterator[str]:
    for kind, name in re.findall(r"\b(deploy|statefulset|job|service)/([a-z][\w-]*)", told):
        is_folder = (ROOT / kind / name).exists() or (ROOT / kind / f"{name}.py").exists()
        if (SHORT[kind], name) not in _named() and not is_folder:
            yield f"{kind}/{name}"
    parts = {name for _, name in _named()}
    yield from (it for it in re.findall(r"app\.kubernetes\.io/name=([a-z-]+)", told) if it not in parts)


def _roles(told: str) -> Iterator[str]:
    """`scrm <role>` in a pod of a service, `python -m services.<name> <role>` here, and what of its own the role is told."""
    asked = re.findall(r"deploy/(\w+)-\w+ -- scrm (\w+)(?: (\w+))?", told)
    asked += re.findall(r"python -m services\.(\w+) (\w+)(?: (\w+))?", told)
    asked += [("identity", role, name) for role, name in re.findall(r"^scrm (\w+)(?: (\w+))?$", told, re.MULTILINE)]
    for service, role, argument in asked:
        if role not in _of_service().get(service, ()):
            yield f"{service}: {role}"
        if argument and argument != "nonsense" and f'"{argument}"' not in _sources(service):
            yield f"{service} {role}: {argument}"


@cache
def _of_service() -> dict[str, set[str]]:
    """The roles of each service, those that end included."""
    found: dict[str, set[str]] = {}
    for part in PARTS:
        source = (ROOT / "services" / part.name / "service.py").read_text()
        own = [it.value for it in ast.walk(ast.parse(source)) if isinstance(it, ast.keyword) and it.arg == "one_shots"]
        named = {str(ast.literal_eval(key)) for it in own if isinstance(it, ast.Dict) for key in it.keys if key}
        found[part.name] = {*(it.name for it in part.roles), MIGRATE, "schema", "all", *ONE_SHOTS, *named}
    return found


@cache
def _sources(*folders: str) -> str:
    """The code of some services; of all with the chassis if none is named."""
    places = [ROOT / "services" / it for it in folders] or [ROOT / "services", ROOT / "chassis"]
    return "\n".join(it.read_text() for place in places for it in sorted(place.rglob("*.py")))


def _calls(told: str) -> Iterator[str]:
    paths = [_path(it.GetOptions().Extensions[annotations_pb2.http]) for it in rpcs()]
    for asked in re.findall(r"(/v1/[\w/${}:.]+)", told):
        plain = re.sub(r"\$[A-Z]+|\{\w+\}", "x", asked)
        if not any(re.fullmatch(re.sub(r"\\\{[^}]*\\\}", "[^/:]+", re.escape(it)), plain) for it in paths):
            yield asked


def _path(rule: annotations_pb2.http) -> str:  # type: ignore[valid-type]
    return str(rule.get or rule.post or rule.put or rule.patch or rule.delete)  # type: ignore[attr-defined]


def _words(page: str) -> Iterator[str]:
    """Settings, alerts, kinds of errors and what is looked for in logs."""
    source = _sources()
    for it in re.findall(r"\bSCRM_[A-Z_]+[A-Z]", page):
        if f'"{it}"' not in source and f'"{it.removeprefix("SCRM_")}"' not in source:
            yield it
    alerts = {it["alert"] for it in RULES}
    yield from (it for it in re.findall(r"`(Scrm\w+)`", page) if it not in alerts)
    for it in re.findall(r"`((?:service|loop|consumer|relay|identity)\.[a-z_]+)`", page):
        if f'"{it}"' not in source:
            yield it


@pytest.mark.parametrize("page", PAGES, ids=lambda it: it.stem)
def test_what_a_page_tells_to_run_exists(page: Path) -> None:
    assert list(complaints(page.read_text())) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("`make drills`", "make drills"),
        ("`python -m deploy.k8s subscribe`", "deploy.k8s subscribe"),
        ("`python -m deploy.cloud`", "deploy.cloud"),
        ("```\nkubectl -n scrm logs deploy/identity-serves\n```", "deploy/identity-serves"),
        ("`kubectl -n scrm rollout status statefulset/identity-serve`", "statefulset/identity-serve"),
        ("`kubectl apply -k deploy/k8s/overlays/test`", "deploy/k8s/overlays/test"),
        ("`kubectl -n scrm exec deploy/tagging-relay -- scrm rewrap`", "tagging: rewrap"),
        (
            "`kubectl -n scrm exec deploy/tagging-relay -- scrm\n  redrive tagging_fact`",
            "tagging redrive: tagging_fact",
        ),
        ("`python -m services.identity restore`", "identity: restore"),
        ("`POST /v1/identity/erasures/{case}:revoke`", "/v1/identity/erasures/{case}:revoke"),
        ("SCRM_SHARDS says how many", "SCRM_SHARDS"),
        ("`ScrmConsumerIsLate`", "ScrmConsumerIsLate"),
        ("it logs `service.epoch`", "service.epoch"),
    ],
)
def test_what_does_not_exist_is_noticed(line: str, wrong: str) -> None:
    assert wrong in list(complaints(line))


def test_the_database_takes_the_statements_of_the_pages(migrated: Migrated) -> None:
    database = migrated("identity_of_the_pages", ROOT / "services" / "identity" / "migrations")
    statements = re.findall(
        r"^ *(SELECT (?!pg_terminate)[^;]+);", "\n".join(code(it.read_text()) for it in PAGES), re.MULTILINE
    )
    assert len(statements) >= 6

    with psycopg.connect(database.writer_dsn) as connection:
        for it in statements:
            connection.execute(it.encode())
        with pytest.raises(psycopg.errors.UndefinedColumn):
            connection.execute(b"SELECT consumer, streams FROM consumer_cursors")
