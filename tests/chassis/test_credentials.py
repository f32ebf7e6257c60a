"""Which tokens are believed."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from chassis import credentials as tested
from chassis.credentials import InvalidToken, KeySet, KeysUnavailable, MintedTokens, TokenFile, Verifier, parse_keys
from deploy.local.credentials import Credentials

Verify = Callable[[str], tested.Caller]


@pytest.fixture
def keys(credentials: Credentials, loop: asyncio.AbstractEventLoop) -> KeySet:
    return loop.run_until_complete(KeySet.opened(str(credentials.jwks)))


@pytest.fixture
def verify(keys: KeySet) -> Verify:
    verifier = Verifier(keys, "scrm-local")
    return lambda token: verifier.verify(f"Bearer {token}")


def signed(credentials: Credentials, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token like a good one but for the claims (None: left out) and headers given."""
    now = datetime.now(UTC)
    good = {"iss": "scrm-local", "aud": "scrm", "sub": "dev", "tenant": "acme", "scope": "a.read b.write"}
    content = {**good, "iat": now, "nbf": now, "exp": now + timedelta(hours=1), **claims}
    key_id = json.loads(credentials.jwks.read_bytes())["keys"][0]["kid"]
    return jwt.encode(
        {name: value for name, value in content.items() if value is not None},
        credentials.private_key.read_bytes(),
        "RS256",
        headers={"kid": key_id, **(headers or {})},
    )


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(urlsafe_b64encode(it).rstrip(b"=").decode() for it in parts)


def test_a_good_token_names_its_caller(credentials: Credentials, verify: Verify) -> None:
    caller = verify(signed(credentials))
    assert (caller.subject, caller.tenant, caller.scopes) == ("dev", "acme", frozenset({"a.read", "b.write"}))


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "somebody"},
        {"iss": None},
        {"aud": "others"},
        {"aud": None},
        {"exp": datetime.now(UTC) - HOUR},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": datetime.now(UTC) + HOUR},
        {"iat": datetime.now(UTC) + HOUR},
        {"sub": None},
        {"sub": 7},
        {"tenant": None},
        {"tenant": ""},
        {"tenant": "acme.>"},
        {"tenant": ["acme"]},
        {"scope": ["a.read"]},
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(
    credentials: Credentials, verify: Verify, claims: dict[str, Any]
) -> None:
    with pytest.raises(InvalidToken):
        verify(signed(credentials, **claims))


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": "unknown"},
        {"kid": None},
        {"kid": 7},
        {"jku": "https://example.org/keys"},
        {"jwk": {"kty": "RSA"}},
        {"x5u": "https://example.org/cert"},
        {"x5c": ["AA"]},
        {"crit": ["exp"], "exp": 1},
        {"typ": "secevent+jwt"},
    ],
    ids=str,
)
def test_a_token_with_a_wrong_header_is_refused(
    credentials: Credentials, verify: Verify, headers: dict[str, Any]
) -> None:
    header = jwt.get_unverified_header(signed(credentials)) | headers
    claims = jwt.decode(signed(credentials), options={"verify_signature": False})
    content = unsigned({k: v for k, v in header.items() if v is not None}, claims).rpartition(".")[0]
    key = serialization.load_pem_private_key(credentials.private_key.read_bytes(), None)
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(content.encode(), key)  # type: ignore[arg-type]
    with pytest.raises(InvalidToken):
        verify(f"{content}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def test_the_algorithm_is_that_of_the_key_whatever_the_token_says(credentials: Credentials, verify: Verify) -> None:
    header = jwt.get_unverified_header(signed(credentials))
    claims = jwt.decode(signed(credentials), options={"verify_signature": False})
    with pytest.raises(InvalidToken):
        verify(unsigned({**header, "alg": "none"}, claims))
    # the public key as if it were the secret of an HMAC
    public = credentials.jwks.read_bytes()
    content = unsigned({**header, "alg": "HS256"}, claims).rpartition(".")[0]
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(content.encode(), public)
    with pytest.raises(InvalidToken):
        verify(f"{content}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}")


@pytest.mark.parametrize("token", ["", "a.b.c", "a", "\u00e9", "x" * 9000, "." * 5, "eyJhbGciOiJub25lIn0..x"])
def test_rubbish_is_refused(verify: Verify, token: str) -> None:
    with pytest.raises(InvalidToken):
        verify(token)


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", b"Bearer x", "Bearer"])
def test_anything_but_a_bearer_token_is_refused(keys: KeySet, header: str | bytes | None) -> None:
    with pytest.raises(InvalidToken):
        Verifier(keys, "scrm-local").verify(header)


def test_a_token_believed_before_is_refused_once_it_has_expired(
    credentials: Credentials, keys: KeySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = Verifier(keys, "scrm-local")
    header = f"Bearer {signed(credentials)}"
    verifier.verify(header)

    class Later:
        def seconds(self) -> float:
            return (datetime.now(UTC) + timedelta(hours=2)).timestamp()

    monkeypatch.setattr(tested, "_clock", Later())
    with pytest.raises(InvalidToken):
        verifier.verify(header)


def test_no_more_than_so_many_tokens_are_remembered(
    credentials: Credentials, keys: KeySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested, "CACHED_TOKENS", 3)
    verifier = Verifier(keys, "scrm-local")
    for number in range(5):
        verifier.verify(f"Bearer {signed(credentials, sub=str(number))}")
    assert len(verifier._known) == 3


def test_a_withdrawn_key_ends_its_tokens_and_a_new_one_is_learnt(
    credentials: Credentials, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    published = tmp_path / "jwks.json"
    published.write_bytes(credentials.jwks.read_bytes())
    other = Credentials.in_folder(tmp_path / "other")
    keys = loop.run_until_complete(KeySet.opened(str(published)))
    verifier = Verifier(keys, "scrm-local")
    verifier.verify(f"Bearer {signed(credentials)}")
    with pytest.raises(InvalidToken):
        verifier.verify(f"Bearer {signed(other)}")
    published.write_bytes(other.jwks.read_bytes())
    loop.run_until_complete(keys.refresh())
    verifier.verify(f"Bearer {signed(other)}")
    with pytest.raises(InvalidToken):
        verifier.verify(f"Bearer {signed(credentials)}")


def test_keys_outlive_an_outage_of_their_source(
    credentials: Credentials, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    published = tmp_path / "jwks.json"
    published.write_bytes(credentials.jwks.read_bytes())
    keys = loop.run_until_complete(KeySet.opened(str(published)))
    published.unlink()
    loop.run_until_complete(keys.refresh())
    Verifier(keys, "scrm-local").verify(f"Bearer {signed(credentials)}")


def test_without_any_keys_nobody_is_told_that_their_token_is_wrong(
    credentials: Credentials, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    keys = loop.run_until_complete(KeySet.opened(str(tmp_path / "missing.json")))
    with pytest.raises(KeysUnavailable):
        Verifier(keys, "scrm-local").verify(f"Bearer {signed(credentials)}")


def test_weak_private_and_symmetric_keys_are_not_taken() -> None:
    def rsa(bits: int) -> dict[str, Any]:
        entry: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(
            generate_private_key(65537, bits).public_key(), as_dict=True
        )
        return {**entry, "kid": f"rsa{bits}"}

    entries = [
        rsa(2048),
        rsa(1024),
        {**rsa(2048), "kid": "for encryption", "use": "enc"},
        {**rsa(2048), "kid": "other algorithm", "alg": "RS512"},
        {**rsa(2048), "kid": ""},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "symmetric"},
    ]
    assert list(parse_keys(json.dumps({"keys": entries}).encode())) == ["rsa2048"]


def test_keys_are_not_read_over_plain_http() -> None:
    with pytest.raises(ValueError, match="https"):
        KeySet("http://issuer.example/keys")


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_a_service_mints_tokens_that_others_believe(
    tmp_path: Path, loop: asyncio.AbstractEventLoop, algorithm: str
) -> None:
    key: Any = Ed25519PrivateKey.generate() if algorithm == "EdDSA" else generate_private_key(65537, 2048)
    pem = tmp_path / "key.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tokens = MintedTokens(pem, "tracking", "scrm-local")
    public = jwt.algorithms.get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True)
    token = tokens.token("acme", ["identity.write", "identity.read"])
    entry = {**public, "kid": jwt.get_unverified_header(token)["kid"]}
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [entry]}))
    keys = loop.run_until_complete(KeySet.opened(str(tmp_path / "jwks.json")))
    caller = Verifier(keys, "scrm-local").verify(f"Bearer {token}")
    assert (caller.subject, caller.tenant) == ("service/tracking", "acme")
    assert caller.scopes == {"identity.read", "identity.write"}
    assert tokens.token("acme", ["identity.read", "identity.write"]) == token
    assert tokens.token("other", ["identity.read"]) != token


def test_a_minted_token_has_the_key_id_that_the_local_stack_publishes(credentials: Credentials) -> None:
    token = MintedTokens(credentials.private_key, "tracking", "scrm-local").token("acme", ["identity.read"])
    assert jwt.get_unverified_header(token)["kid"] == json.loads(credentials.jwks.read_bytes())["keys"][0]["kid"]


def test_tokens_in_files_are_read_again_when_renewed(tmp_path: Path) -> None:
    tokens = TokenFile(str(tmp_path / "{tenant}.jwt"))
    path = tmp_path / "acme.jwt"
    path.write_text("one\n")
    assert tokens.token("acme", []) == "one"
    path.write_text("two\n")
    import os

    os.utime(path, (1, 1))
    assert tokens.token("acme", []) == "two"
