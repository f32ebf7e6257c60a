"""Who calls: bearer tokens checked against the issuer's keys, and the tokens services call one another with.

The checklist is RFC 8725: one algorithm per key, none taken from the token; issuer, audience, lifetime and key id are
checked; a token that brings or points to keys of its own is refused. Times are of the machine, never of a replay clock.
"""

import asyncio
import json
import urllib.request
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import get_default_algorithms

from chassis.clock import SystemClock
from chassis.errors import Unauthenticated, Unavailable

LEEWAY_SECONDS: Final = 30
REFRESH_SECONDS: Final = 60
LARGEST_TOKEN: Final = 8192
LARGEST_KEY_SET: Final = 1 << 20
CACHED_TOKENS: Final = 4096
SMALLEST_RSA_BITS: Final = 2048

# What may sign, by the kind of key.
_ALGORITHMS: Final = {("RSA", None): "RS256", ("OKP", "Ed25519"): "EdDSA"}
# Headers by which a token would choose how it is verified.
_REFUSED_HEADERS: Final = {"jku", "jwk", "x5u", "x5c", "crit"}
_TYPES: Final = {None, "JWT", "jwt", "at+jwt"}

_log = structlog.get_logger(__name__)
_clock = SystemClock()


class InvalidToken(Unauthenticated):
    """The bearer token is missing, malformed, expired or not for us."""


class KeysUnavailable(Unavailable):
    """The keys of the issuer were never reached, so nobody can be recognised yet."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a valid token says is calling; `expires_at` in seconds since the epoch.

    `stores` are the ids in the claim of that name; None where there is no such claim.
    """

    subject: str
    tenant: str
    scopes: frozenset[str]
    expires_at: float
    stores: frozenset[UUID] | None = None


@dataclass(frozen=True, slots=True)
class _Key:
    algorithm: str
    public: Any


class KeySet:
    """The issuer's public keys (JWKS) from a file or an https URL, read again in the background.

    When the source cannot be read the keys read before stay valid.
    """

    def __init__(self, source: str) -> None:
        self._source = _checked(source)
        self._keys: Mapping[str, _Key] = {}
        self._wanted = asyncio.Event()
        self.generation = 0

    @classmethod
    async def opened(cls, source: str) -> "KeySet":
        """A key set that has tried to read its keys once."""
        keys = cls(source)
        await keys.refresh()
        return keys

    def find(self, key_id: str) -> _Key:
        """The key with this id. Raises InvalidToken, and has the keys read again, when there is none."""
        key = self._keys.get(key_id)
        if key is None:
            self._wanted.set()
            if not self._keys:
                raise KeysUnavailable
            raise InvalidToken("the token is signed with a key we do not know")
        return key

    async def refresh(self) -> None:
        try:
            keys = parse_keys(await asyncio.to_thread(_read, self._source))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            _log.warning("cannot read the keys of the issuer", error=type(error).__name__)
            return
        if keys.keys() != self._keys.keys():
            self.generation += 1
        self._keys = keys

    async def follow(self) -> None:
        """Read the keys every minute, and at most every 5 seconds when a token names an unknown one."""
        while True:
            self._wanted.clear()
            await asyncio.sleep(5)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), REFRESH_SECONDS - 5)
            await self.refresh()


class Verifier:
    """Turns a bearer token into its caller; remembers up to 4,096 tokens it has verified."""

    def __init__(self, keys: KeySet, issuer: str, audience: str = "scrm") -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._known: OrderedDict[str, Caller] = OrderedDict()
        self._generation = keys.generation

    def verify(self, authorization: str | bytes | None) -> Caller:
        """The caller named by the header `Bearer <token>`. Raises InvalidToken without saying more than it must."""
        if not isinstance(authorization, str) or not authorization[:7].lower() == "bearer ":
            raise InvalidToken("a bearer token is needed")
        token = authorization[7:].strip()
        if self._generation != self._keys.generation:  # a key may have been withdrawn
            self._known.clear()
            self._generation = self._keys.generation
        caller = self._known.get(token)
        if caller is None:
            caller = self._known[token] = self._decode(token)
            if len(self._known) > CACHED_TOKENS:
                self._known.popitem(last=False)
        if caller.expires_at + LEEWAY_SECONDS <= _clock.seconds():
            self._known.pop(token, None)
            raise InvalidToken("the token has expired")
        return caller

    def _decode(self, token: str) -> Caller:
        if len(token) > LARGEST_TOKEN:
            raise InvalidToken("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            if _REFUSED_HEADERS & header.keys() or header.get("typ") not in _TYPES:
                raise InvalidToken("the token has a header that is not accepted")
            key = self._keys.find(str(header.get("kid", "")))
            claims = jwt.decode(
                token,
                key.public,
                algorithms=[key.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub", "tenant"]},
            )
            return _caller(claims)
        except jwt.ExpiredSignatureError:
            raise InvalidToken("the token has expired") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise InvalidToken("the token is not valid") from None


class TokenSource(Protocol):
    """Where a service gets the tokens it calls other services with."""

    def token(self, tenant: str, scopes: Iterable[str]) -> str: ...


@dataclass(frozen=True, slots=True)
class _Signer:
    """A private key; its id is the RFC 7638 thumbprint of the key, as the published half has it."""

    key: Any = field(repr=False)
    algorithm: str
    id: str

    @classmethod
    def of(cls, pem: bytes) -> "_Signer":
        key: Any = load_pem_private_key(pem, None)
        name = "RS256" if hasattr(key, "key_size") else "EdDSA"
        entry: dict[str, Any] = get_default_algorithms()[name].to_jwk(key, as_dict=True)
        thumbed = {it: entry[it] for it in (("e", "kty", "n") if name == "RS256" else ("crv", "kty", "x"))}
        digest = sha256(json.dumps(thumbed, sort_keys=True, separators=(",", ":")).encode()).digest()
        return cls(key, name, urlsafe_b64encode(digest).rstrip(b"=").decode())


class MintedTokens:
    """Tokens signed with a key of our own (PEM, RSA or Ed25519), one per tenant and set of scopes, kept until old."""

    def __init__(self, private_key: Path, subject: str, issuer: str, audience: str = "scrm") -> None:
        self._signer = _Signer.of(private_key.read_bytes())
        self._claims = {"sub": f"service/{subject}", "iss": issuer, "aud": audience}
        self._minted: dict[tuple[str, frozenset[str]], tuple[str, float]] = {}

    def token(self, tenant: str, scopes: Iterable[str]) -> str:
        wanted = (tenant, frozenset(scopes))
        token, renew_at = self._minted.get(wanted, ("", 0.0))
        now = _clock.now()
        if renew_at <= now.timestamp():
            lifetime = timedelta(minutes=15)
            claims = {"tenant": tenant, "scope": " ".join(sorted(wanted[1])), "iat": now, "nbf": now}
            token = jwt.encode(
                {**self._claims, **claims, "exp": now + lifetime},
                self._signer.key,
                self._signer.algorithm,
                headers={"kid": self._signer.id},
            )
            self._minted[wanted] = (token, (now + lifetime * 2 / 3).timestamp())
        return token


class TokenFile:
    """Tokens that somebody else puts into a file and renews there; `{tenant}` in the path stands for the tenant."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._read: dict[Path, tuple[str, int]] = {}

    def token(self, tenant: str, scopes: Iterable[str]) -> str:
        path = Path(self._path.replace("{tenant}", tenant))
        changed = path.stat().st_mtime_ns
        token, read_at = self._read.get(path, ("", -1))
        if changed != read_at:
            token = path.read_text().strip()
            self._read[path] = (token, changed)
        return token


def parse_keys(document: bytes) -> dict[str, _Key]:
    """The usable keys of a JWKS document by id; others (other uses, weak, private or symmetric) are left out."""
    keys: dict[str, _Key] = {}
    for entry in json.loads(document)["keys"]:
        algorithm = _ALGORITHMS.get((entry.get("kty"), entry.get("crv")))
        unusable = algorithm is None or entry.get("use", "sig") != "sig" or "d" in entry
        if unusable or entry.get("alg", algorithm) != algorithm or not entry.get("kid"):
            continue
        public = get_default_algorithms()[str(algorithm)].from_jwk(entry)
        if isinstance(public, RSAPublicKey) and public.key_size < SMALLEST_RSA_BITS:
            continue
        keys[str(entry["kid"])] = _Key(str(algorithm), public)
    if not keys:
        raise ValueError("no usable key")
    return keys


def _caller(claims: Mapping[str, Any]) -> Caller:
    tenant, subject, scope = claims["tenant"], claims["sub"], claims.get("scope", "")
    if not (isinstance(tenant, str) and isinstance(scope, str) and is_tenant(tenant)):
        raise ValueError("tenant or scope")
    return Caller(subject, tenant, frozenset(scope.split()), float(claims["exp"]), _stores(claims.get("stores")))


def _stores(claim: Any) -> frozenset[UUID] | None:
    """The stores a token is bound to; an empty list binds it to none of them, which leaves it nothing to see."""
    if claim is None:
        return None
    if not isinstance(claim, list) or not all(isinstance(it, str) for it in claim):
        raise ValueError("stores")
    return frozenset(map(UUID, claim))


def is_tenant(name: str) -> bool:
    """Whether `name` can be a tenant: 1 to 63 of a-z, 0-9, _ and -, so that it is one token of a subject."""
    return 0 < len(name) <= 63 and all(it in "abcdefghijklmnopqrstuvwxyz0123456789_-" for it in name)


def _checked(source: str) -> str:
    address = urlsplit(source)
    if address.scheme == "http" and address.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise ValueError("the keys of the issuer are read over https only")
    return source


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:  # the answer 3xx becomes an error
        return None


def _read(source: str) -> bytes:
    if urlsplit(source).scheme not in {"http", "https"}:
        return Path(source.removeprefix("file://")).read_bytes()
    with urllib.request.build_opener(_NoRedirects).open(source, timeout=5) as answer:
        content: bytes = answer.read(LARGEST_KEY_SET)
        return content
