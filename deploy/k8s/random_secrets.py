"""Random Secrets for the overlay `dev`, where nobody else brings them. In `prod` they come from whatever keeps the company's."""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import yaml

from deploy.k8s.parts import PARTS
from deploy.k8s.workloads import Json
from deploy.local.credentials import Credentials
from deploy.local.postgres import OWNER, READER, WRITER
from deploy.local.subscribers import Subscriber, users

_ROLES: Final = {"owner": OWNER, "writer": WRITER, "reader": READER}


def documents(namespace: str = "scrm") -> str:
    """All Secrets and the ConfigMap scrm-jwks as YAML for `kubectl apply`; other values at every call."""
    passwords = {word: _password() for word in ("superuser", *_ROLES)}
    nats = {"user": "scrm", "password": _password()}
    found = [_secret("postgres", passwords), _secret("scrm-nats", {**nats, "url": _nats_url(**nats)})]
    found.append(subscribers_secret([]))
    for part in PARTS:
        urls = {
            word: f"postgresql://{role}:{passwords[word]}@postgres:5432/{part.name}" for word, role in _ROLES.items()
        }
        found += [
            _secret(part.database_secret, urls),
            _secret(f"{part.name}-receipt-key", {"receipt-key": secrets.token_hex(32)}),
        ]
    found.append(_secret("identity-hash-key", {"hash-key": secrets.token_hex(32)}))
    for service in ("identity", "tracking"):
        keys = json.dumps({"newest": "1", "keys": {"1": secrets.token_hex(32)}})
        found.append(_secret(f"{service}-keys", {"keys.json": keys}))
    found += _keys([part.name for part in PARTS if any(role.calls for role in part.roles)])
    for it in found:
        it["metadata"]["namespace"] = namespace
    return str(yaml.safe_dump_all(found, sort_keys=False))


def subscribers_secret(subscribers: Sequence[Subscriber]) -> Json:
    """The Secret by which NATS knows the subscribers."""
    return _secret("scrm-nats-subscribers", {"users.conf": f"users: [\n{users(subscribers)}]\n"})


def _keys(callers: list[str]) -> list[Json]:
    """The keys that services sign their tokens with, and the document of all public halves."""
    found, public = [], []
    with TemporaryDirectory() as folder:
        for caller in callers:
            made = Credentials.in_folder(Path(folder) / caller)
            found.append(_secret(f"{caller}-service-key", {"private-key.pem": made.private_key.read_text()}))
            public += json.loads(made.jwks.read_text())["keys"]
    keys = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scrm-jwks"}}
    return [*found, {**keys, "data": {"jwks.json": json.dumps({"keys": public})}}]


def _secret(name: str, values: Mapping[str, str]) -> Json:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque", "data": data}


def _password() -> str:
    """It begins with a letter: NATS reads a value that begins with a digit as a number."""
    return f"p{secrets.token_hex(24)}"


def _nats_url(user: str, password: str) -> str:
    return f"nats://{user}:{password}@nats:4222"
