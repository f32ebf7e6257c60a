"""Identifiers as identity keeps them: a namespace, a scope and a keyed hash of the value, by which it is found.

The hash is HMAC-SHA256 under a key of the tenant, which is derived from a secret of the service. Whoever holds the
events or the database but not the secret cannot find out values, nor match them between tenants. The value itself is stored
only sealed, under the data key of its node.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from chassis.aggregate import natural_id
from services.identity.domain import forms
from services.identity.domain.errors import BadIdentifier, TooManyIdentifiers, UnknownNamespace
from services.identity.domain.namespaces import Namespace, Namespaces
from services.identity.domain.rules import PRESET, IdentityRules, settings_id
from services.identity.domain.sealing import Sealed

MOST_IDENTIFIERS: Final = 20
SHORTEST_SECRET: Final = 32

IdentifierKey = tuple[str, str, bytes]
"""Namespace, scope, keyed hash of the value."""


class DropReason(StrEnum):
    """Why an identifier of a call was not used or not linked."""

    BLOCKED = "BLOCKED"
    MALFORMED = "MALFORMED"
    SHARED = "SHARED"
    LIMIT = "LIMIT"
    FOREIGN = "FOREIGN"
    CONFLICT = "CONFLICT"
    NEVER_MERGE = "NEVER_MERGE"


@dataclass(frozen=True, slots=True)
class GivenIdentifier:
    """An identifier as a caller gives it; `verified` when the caller has seen proof that it is the person's."""

    namespace: str
    value: str = field(repr=False)
    scope: str = ""
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier of a call under its keyed hash; `position` is its place in the call, `spelling` what was hashed."""

    namespace: str
    scope: str
    value_hmac: bytes
    verified: bool
    position: int
    claim_id: UUID
    spelling: str = field(repr=False)

    @property
    def key(self) -> IdentifierKey:
        return self.namespace, self.scope, self.value_hmac

    def linked(self, node: UUID, at: datetime) -> "LinkedIdentifier":
        """The identifier as one of `node`, its value not sealed yet."""
        return LinkedIdentifier(self.namespace, self.scope, self.value_hmac, node, self.verified, at)


@dataclass(frozen=True, slots=True)
class LinkedIdentifier:
    """An identifier as a customer has it; `node` is the origin it came to and stays with.

    `sealed` is its value under the data key of the node; empty for what was linked before values were kept.
    """

    namespace: str
    scope: str
    value_hmac: bytes
    node: UUID
    verified: bool
    linked_at: datetime
    sealed: Sealed = field(default=b"", repr=False)

    @property
    def key(self) -> IdentifierKey:
        return self.namespace, self.scope, self.value_hmac

    @property
    def sealed_as(self) -> str:
        """The field as which the value is sealed."""
        return f"identifier/{self.namespace}/{self.scope}"

    def claim_id(self, tenant: str) -> UUID:
        """The claim that says whose it is."""
        return claim_id(tenant, self.key)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An identifier of a call that had no effect; `position` is its place in the call."""

    position: int
    namespace: str
    scope: str
    reason: DropReason


@dataclass(frozen=True, slots=True)
class Reading:
    """The identifiers of one call: those that can tell who it is, best first, and those that cannot.

    `settings` is where the rules are to be found by which the call will be decided.
    """

    identifiers: tuple[Identifier, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    settings: UUID | None = None


class IdentifierReader:
    """Turns the identifiers that callers give into those identity works with.

    `secret` (at least 32 bytes) is the root of the tenants' hash keys: with another one every identifier is unknown.
    `region` is the country whose phone numbers need no country code, `regions` the same for single tenants. Each tenant's
    identifiers are read by the rules it last learnt of that tenant, by the preset ones before.
    """

    def __init__(self, secret: bytes, *, region: str = "CN", regions: Mapping[str, str] = MappingProxyType({})) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"the hash secret needs at least {SHORTEST_SECRET} bytes")
        self._secret = secret
        self._region = region
        self._regions = regions
        self._keyed: dict[str, hmac.HMAC] = {}
        self._rules: dict[str, IdentityRules] = {}

    def learn(self, tenant: str, rules: IdentityRules) -> None:
        """Read the identifiers of `tenant` by `rules` from now on."""
        self._rules[tenant] = rules

    def namespaces(self, tenant: str) -> Namespaces:
        """The kinds of identifier of the tenant, as last learnt."""
        return self._rules.get(tenant, PRESET).namespaces

    def read(self, tenant: str, given: Sequence[GivenIdentifier]) -> Reading:
        """The usable identifiers of a call, without repetitions, and the useless ones with the reason.

        Raises TooManyIdentifiers, UnknownNamespace, and BadIdentifier for a malformed strong one or a scope that the
        namespace does not have.
        """
        if len(given) > MOST_IDENTIFIERS:
            raise TooManyIdentifiers(field="identifiers", maximum=MOST_IDENTIFIERS)
        rules = self._rules.get(tenant, PRESET)
        usable: dict[UUID, Identifier] = {}
        dropped: list[Dropped] = []
        for position, it in enumerate(given):
            found = self._identifier(tenant, rules, position, it, f"identifiers[{position}]")
            if isinstance(found, Dropped):
                dropped.append(found)
            elif (known := usable.get(found.claim_id)) is None or found.verified > known.verified:
                usable[found.claim_id] = found
        return Reading(tuple(best_first(usable.values(), rules.namespaces)), tuple(dropped), settings_id(tenant))

    def read_one(self, tenant: str, given: GivenIdentifier, field: str = "identifier") -> Identifier | None:
        """The identifier in `field` of a request; None when its value is blocked or malformed beyond use."""
        found = self._identifier(tenant, self._rules.get(tenant, PRESET), 0, given, field)
        return found if isinstance(found, Identifier) else None

    def key_of(self, tenant: str, given: GivenIdentifier) -> IdentifierKey:
        """Under what a value is kept, blocked or not. Raises UnknownNamespace, and BadIdentifier for one that is none."""
        namespace = _namespace(self._rules.get(tenant, PRESET), given, "")
        try:
            return self._key(tenant, given, self._spelling(tenant, namespace, given.value))
        except forms.Malformed:
            raise BadIdentifier(field="pattern", ns=namespace.name) from None

    def _identifier(
        self, tenant: str, rules: IdentityRules, position: int, given: GivenIdentifier, field: str
    ) -> Identifier | Dropped:
        if forms.is_blocked(given.value) or (rules.patterns and rules.blocks(given.namespace, given.value.strip())):
            return Dropped(position, given.namespace, given.scope, DropReason.BLOCKED)
        namespace = _namespace(rules, given, f"{field}.")
        try:
            spelling = self._spelling(tenant, namespace, given.value)
        except forms.Malformed:
            if namespace.strong:
                raise BadIdentifier(field=f"{field}.value", ns=namespace.name) from None
            return Dropped(position, given.namespace, given.scope, DropReason.MALFORMED)
        key = self._key(tenant, given, spelling)
        if key in rules.blocked or (rules.patterns and rules.blocks(given.namespace, spelling)):
            return Dropped(position, given.namespace, given.scope, DropReason.BLOCKED)
        return Identifier(*key, given.verified, position, claim_id(tenant, key), spelling)

    def _spelling(self, tenant: str, namespace: Namespace, value: str) -> str:
        region = self._regions.get(tenant, self._region)
        return forms.FORMS[namespace.form](forms.composed(value), region)

    def _key(self, tenant: str, given: GivenIdentifier, spelling: str) -> IdentifierKey:
        return given.namespace, given.scope, self._hmac(tenant, given.namespace, given.scope, spelling)

    def _hmac(self, tenant: str, namespace: str, scope: str, spelling: str) -> bytes:
        keyed = self._keyed.get(tenant)
        if keyed is None:
            key = hmac.digest(self._secret, b"scrm identity hash key\0" + tenant.encode(), "sha256")
            keyed = self._keyed[tenant] = hmac.new(key, digestmod="sha256")
        digest = keyed.copy()
        digest.update("\0".join((namespace, scope, spelling)).encode())
        return digest.digest()


def _namespace(rules: IdentityRules, given: GivenIdentifier, prefix: str) -> Namespace:
    namespace = rules.namespaces.get(given.namespace)
    if namespace is None:
        raise UnknownNamespace(field=f"{prefix}namespace", ns=given.namespace)
    if given.scope and not namespace.scoped:
        raise BadIdentifier("the namespace has no scopes", field=f"{prefix}scope", ns=namespace.name)
    return namespace


def best_first(identifiers: Iterable[Identifier], namespaces: Namespaces) -> list[Identifier]:
    """The identifiers of a call, the most telling first."""
    return sorted(identifiers, key=lambda it: (namespaces[it.namespace].priority, it.position))


def claim_id(tenant: str, key: IdentifierKey) -> UUID:
    """The id of the one claim on an identifier."""
    namespace, scope, value_hmac = key
    return natural_id(tenant, "claim", namespace, scope, value_hmac.hex())
