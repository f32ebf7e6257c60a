"""Forged, stale and stolen tokens: refused on every RPC, through the gateway and beside it.

The checklist is RFC 8725 (JSON Web Token Best Current Practices) with what a caller can change without the issuer's key.
"""

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from google.protobuf.descriptor import MethodDescriptor
from jwt.algorithms import HMACAlgorithm, RSAAlgorithm

from chassis.status import refusal
from deploy.local.contracts import scopes
from deploy.local.credentials import Credentials
from tests.contracts import contracts
from tests.contracts.kinds import called
from tests.contracts.requests import good_request
from tests.gateway.conftest import Front

RPCS = [it for it in contracts.rpcs() if it.containing_service.file.package != "scrm.ops.v1"]
HOUR = timedelta(hours=1)

Json = dict[str, Any]
Forge = Callable[[Credentials, Json, Json], str]


def signed(credentials: Credentials, header: Json, claims: Json) -> str:
    """A token with this header, signed with the issuer's key all the same."""
    content = _content(header, claims)
    key: Any = serialization.load_pem_private_key(credentials.private_key.read_bytes(), None)
    return f"{content}.{_text(RSAAlgorithm(RSAAlgorithm.SHA256).sign(content.encode(), key))}"


def claiming(**changed: object) -> Forge:
    return lambda credentials, header, claims: signed(credentials, header, claims | changed)


def headed(**changed: object) -> Forge:
    return lambda credentials, header, claims: signed(credentials, header | changed, claims)


def unsigned(credentials: Credentials, header: Json, claims: Json) -> str:
    return f"{_content(header | {'alg': 'none'}, claims)}."


def signed_with_the_public_key(credentials: Credentials, header: Json, claims: Json) -> str:
    content = _content(header | {"alg": "HS256"}, claims)
    signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(content.encode(), credentials.jwks.read_bytes())
    return f"{content}.{_text(signature)}"


def tampered(credentials: Credentials, header: Json, claims: Json) -> str:
    """The signature of another content."""
    signature = signed(credentials, header, claims).rpartition(".")[2]
    return f"{_content(header, claims | {'tenant': 'globex'})}.{signature}"


def of_another_issuer(credentials: Credentials, header: Json, claims: Json) -> str:
    """Signed with a key of the attacker's under the key id of the issuer's."""
    other = Credentials.in_folder(Path(credentials.private_key).parent / "attacker")
    return signed(other, header, claims)


ATTACKS: dict[str, Forge | None] = {
    "no token": None,
    "expired": claiming(exp=int((datetime.now(UTC) - HOUR).timestamp())),
    "not valid yet": claiming(nbf=int((datetime.now(UTC) + HOUR).timestamp())),
    "another issuer": claiming(iss="somebody"),
    "another audience": claiming(aud="others"),
    "no tenant": claiming(tenant=""),
    "a tenant that is a wildcard": claiming(tenant="*"),
    "no algorithm": unsigned,
    "the public key as a secret": signed_with_the_public_key,
    "an unknown key": headed(kid="unknown"),
    "a critical header": headed(crit=["exp"], exp=1),
    "a key to be fetched": headed(jku="https://attacker.example/keys"),
    "a key brought along": headed(jwk={"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
    "a changed content": tampered,
    "a key of the attacker's": of_another_issuer,
}

SPOOFED = {
    "x-auth-sub": "root",
    "x-auth-tenant": "globex",
    "x-auth-scopes": "*",
    "x-jwt-payload": "e30",
    "x-forwarded-user": "root",
    "x-scrm-caller": "root",
    "tenant": "globex",
}
"""What a gateway somewhere might set for who is behind it; ours takes nothing but the token."""

ENVOYS_OWN = {"another audience": "PERMISSION_DENIED"}
"""What Envoy answers otherwise than our servers do: an audience that is not allowed is 403 to it."""


@pytest.mark.parametrize("way", ["through the gateway", "beside it"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_on_every_rpc(
    attack: str, way: str, front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    forge = ATTACKS[attack]
    header, claims = _parts(front.credentials.mint("acme", scopes()))
    token = forge(front.credentials, header, claims) if forge else None

    found = loop.run_until_complete(codes(_address(front, way), token))

    expected = ENVOYS_OWN.get(attack, "UNAUTHENTICATED") if way == "through the gateway" else "UNAUTHENTICATED"
    assert set(found.values()) == {expected}, found
    assert front.parrot.heard == []


@pytest.mark.parametrize("way", ["through the gateway", "beside it"])
def test_the_token_that_the_attacks_begin_with_is_good(way: str, front: Front, loop: asyncio.AbstractEventLoop) -> None:
    """The control of the test above, made in the same way."""
    header, claims = _parts(front.credentials.mint("acme", scopes()))

    found = loop.run_until_complete(codes(_address(front, way), signed(front.credentials, header, claims)))

    assert set(found.values()) == {"OK"}, found
    assert len(front.parrot.heard) == len(RPCS)


@pytest.mark.parametrize("way", ["through the gateway", "beside it"])
def test_headers_that_claim_to_be_somebody_else_have_no_effect_on_any_rpc(
    way: str, front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    token = front.credentials.mint("acme", scopes(), "jane")

    found = loop.run_until_complete(codes(_address(front, way), token, SPOOFED))

    assert set(found.values()) == {"OK"}, found
    assert front.parrot.callers == {("acme", "jane")}


@pytest.mark.parametrize("way", ["through the gateway", "beside it"])
def test_headers_that_claim_to_be_somebody_let_nobody_in(
    way: str, front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    found = loop.run_until_complete(codes(_address(front, way), None, SPOOFED))

    assert set(found.values()) == {"UNAUTHENTICATED"}, found
    assert front.parrot.heard == []


async def codes(address: str, token: str | None, more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """How each RPC answers a good request with this token; all are called at once."""
    metadata = (*((("authorization", f"Bearer {token}"),) if token is not None else ()), *more.items())

    async def call(channel: grpc.aio.Channel, rpc: MethodDescriptor) -> str:
        try:
            await called(channel, rpc, good_request(rpc.input_type).SerializeToString(), metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            return refusal(error).code
        return "OK"

    async with grpc.aio.insecure_channel(address) as channel:
        answers = await asyncio.gather(*(call(channel, it) for it in RPCS))
    return dict(zip((it.full_name for it in RPCS), answers, strict=True))


def _address(front: Front, way: str) -> str:
    return front.address if way == "through the gateway" else front.direct


def _parts(token: str) -> tuple[Json, Json]:
    header, claims, _ = token.split(".")
    return _json(header), _json(claims)


def _json(part: str) -> Json:
    found: Json = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def _content(header: Json, claims: Json) -> str:
    return ".".join(_text(json.dumps(it).encode()) for it in (header, claims))


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
