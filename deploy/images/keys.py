"""Keys, passwords and configurations for compose.yaml, made once into a folder: `python -m deploy.images.keys <folder>`.

What is there already stays: with other keys nobody would be recognised.
"""

import sys
from pathlib import Path
from typing import Final

from deploy.k8s.parts import GRPC_PORT, PARTS
from deploy.local.broker import USER, configuration
from deploy.local.contracts import ROOT
from deploy.local.credentials import AUDIENCE, ISSUER, Credentials
from deploy.local.postgres import OWNER, READER, WRITER

_DEV: Final = ROOT / "deploy" / "k8s" / "overlays" / "dev"
KEYS: Final = "/keys"  # where compose.yaml mounts the folder in the services
_DSN: Final = "postgresql://{role}:{password}@postgres:5432/{database}"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files(folder).items():
        (folder / name).write_text(content)
    for it in folder.iterdir():
        it.chmod(0o644)  # who reads them in a container is another user than who made them; the folder is yours alone
    folder.chmod(0o755)


def files(folder: Path) -> dict[str, str]:
    """The files by name; secrets are made in `folder` at the first call, and the same ever after."""
    made = Credentials.in_folder(folder)
    for name in ("identity_keys", "tracking_keys"):
        made.key_file(name)
    passwords = {role: made.secret(f"password_of_{role}") for role in (OWNER, WRITER, READER)}
    superuser = made.secret("password_of_postgres")
    found = {
        "postgres.env": _lines(
            {
                "POSTGRES_PASSWORD": superuser,
                **{f"{role.upper()}_PASSWORD": password for role, password in passwords.items()},
            }
        ),
        "init.sql": (_DEV / "init.sql").read_text(),
        "envoy.json": (_DEV / "envoy.json")
        .read_text()
        .replace('"/etc/scrm/jwks/jwks.json"', f'"{KEYS}/jwks.json"')
        .replace('"tracking-edge"', '"tracking"'),
        "nats.conf": configuration(("0.0.0.0", 4222, 8222), "/data", made.secret("nats_password"), []),  # noqa: S104
    }
    return found | {f"{part.name}.env": _lines(_of_service(part.name, passwords, made)) for part in PARTS}


def _of_service(name: str, passwords: dict[str, str], made: Credentials) -> dict[str, str]:
    def dsn(role: str) -> str:
        return _DSN.format(role=role, password=passwords[role], database=name)

    own = {
        "identity": {
            "SCRM_IDENTITY_HASH_KEY": made.secret("identity_hash_key"),
            "SCRM_IDENTITY_KEYS": f"{KEYS}/identity_keys.json",
        },
        "tracking": {"SCRM_TRACKING_KEYS": f"{KEYS}/tracking_keys.json"},
    }
    return {
        "SCRM_DATABASE_URL": dsn(WRITER),
        "SCRM_READER_DATABASE_URL": dsn(READER),
        "SCRM_OWNER_DATABASE_URL": dsn(OWNER),
        "SCRM_NATS_URL": f"nats://{USER}:{made.secret('nats_password')}@nats:4222",
        "SCRM_NATS_MONITOR_URL": "http://nats:8222",
        "SCRM_GRPC_HOST": "0.0.0.0",  # noqa: S104 (of its container)
        "SCRM_GRPC_PORT": str(GRPC_PORT),
        "SCRM_EDGE_HOST": "0.0.0.0",  # noqa: S104
        "SCRM_EDGE_PORT": "8081",
        "SCRM_METRICS_PORT": "9464",
        "SCRM_JWKS": f"{KEYS}/jwks.json",
        "SCRM_ISSUER": ISSUER,
        "SCRM_AUDIENCE": AUDIENCE,
        "SCRM_SERVICE_KEY": f"{KEYS}/private_key.pem",
        "SCRM_RECEIPT_KEY": made.secret("receipt_key"),
        # One process has all roles of its service: what it commits wakes its loops.
        "SCRM_POLL_SECONDS": "0.5",
        **{f"SCRM_{it.name.upper()}_ADDRESS": f"dns:///{it.name}:{GRPC_PORT}" for it in PARTS},
        **own.get(name, {}),
    }


def _lines(values: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


if __name__ == "__main__":
    main()
