"""Tokens for the local stack: a key pair generated at the first start, its public half as JWKS, and JWTs signed with it.

A local convenience: on Kubernetes the company's identity provider issues the tokens and its JWKS URL takes the place of the file.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from chassis.clock import SystemClock

ISSUER: Final = "scrm-local"
AUDIENCE: Final = "scrm"
ALGORITHM: Final = "RS256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A signing key; `jwks` is the file with its public half for those who verify, `private_key` the PEM file."""

    private_key: Path
    jwks: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "Credentials":
        """The key pair kept in `folder`, generated when there is none."""
        credentials = cls(private_key=folder / "private_key.pem", jwks=folder / "jwks.json")
        if not credentials.private_key.exists():
            folder.mkdir(parents=True, exist_ok=True)
            credentials._generate()
        return credentials

    def secret(self, name: str) -> str:
        """A random secret of that name, 64 hexadecimal digits; made at the first call and kept beside the key."""
        kept = self.private_key.with_name(name)
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(secrets.token_hex(32))
        return kept.read_text()

    def key_file(self, name: str) -> Path:
        """A key file of that name as services read it (chassis/key_file.py), with one random root key; made at the first call."""
        kept = self.private_key.with_name(f"{name}.json")
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(json.dumps({"newest": "1", "keys": {"1": secrets.token_hex(32)}}))
        return kept

    def mint(
        self,
        tenant: str,
        scopes: Iterable[str],
        subject: str = "developer",
        ttl: timedelta = timedelta(hours=12),
        stores: Iterable[UUID] | None = None,
    ) -> str:
        """A signed JWT that lets `subject` act for `tenant` within `scopes` (such as "identity.read") until `ttl` from now.

        With `stores` the token is bound to these, as that of a member of their staff is.
        Times are of the wall clock, also under a replay clock: whoever verifies a token compares with the wall clock.
        """
        pem = self.private_key.read_bytes()
        issued_at = SystemClock().now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "tenant": tenant,
            "scope": " ".join(scopes),
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + ttl,
            "jti": str(uuid4()),
            **({} if stores is None else {"stores": sorted(map(str, stores))}),
        }
        key_id = json.loads(self.jwks.read_bytes())["keys"][0]["kid"]
        return jwt.encode(claims, _key(pem), ALGORITHM, headers={"kid": key_id})

    def _generate(self) -> None:
        key = generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.jwks.write_text(json.dumps({"keys": [_public_jwk(key)]}))
        self.private_key.touch(mode=0o600)
        self.private_key.write_bytes(pem)


@lru_cache(maxsize=8)
def _key(pem: bytes) -> Any:
    """Reading a key, which is to check its primes, takes thirty times as long as signing with it."""
    return serialization.load_pem_private_key(pem, None)


def _public_jwk(key: RSAPrivateKey) -> dict[str, str]:
    """The public half as a JWK whose `kid` is its RFC 7638 thumbprint."""
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    required = {name: public[name] for name in ("e", "kty", "n")}
    digest = hashlib.sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest()
    thumbprint = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return {**required, "use": "sig", "alg": ALGORITHM, "kid": thumbprint}
