"""Identifiers as identity keeps them: a namespace, a scope and a keyed hash of the value, by which it is found.

The hash is HMAC-SHA256 under a key of the tenant, which is derived from a secret of the service. Whoever holds the
events or the database but not the secret cannot find out values, nor match them between tenants. The value itself is stored
only sealed, under the data key of its node.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from chassis.aggregate import natural_id
from services.identity.domain import forms
from services.identity.domain.errors import BadIdentifier, TooManyIdentifiers, UnknownNamespace
from services.identity.domain.namespaces import NAMESPACES, Namespace
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

    @property
    def rules(self) -> Namespace:
        return NAMESPACES[self.namespace]

    def linked(self, node: UUID, at: datetime) -> "LinkedIdentifier":
        """The identifier as one of `node`, its value not sealed yet."""
        return LinkedIdentifier(self.namespace, self.scope, self.value_hmac, node, self.verified, at)

    @property
    def rank(self) -> tuple[int, int]:
        """What sorts the identifiers of a call, the most telling first."""
        return NAMESPACES[self.namespace].priority, self.position


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
    def rules(self) -> Namespace:
        return NAMESPACES[self.namespace]

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
    """The identifiers of one call: those that can tell who it is, best first, and those that cannot."""

    identifiers: tuple[Identifier, ...] = ()
    dropped: tuple[Dropped, ...] = ()


class IdentifierReader:
    """Turns the identifiers that callers give into those identity works with.

    `secret` (at least 32 bytes) is the root of the tenants' hash keys: with another one every identifier is unknown.
    `region` is the country whose phone numbers need no country code, `regions` the same for single tenants.
    """

    def __init__(self, secret: bytes, *, region: str = "CN", regions: Mapping[str, str] = MappingProxyType({})) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"the hash secret needs at least {SHORTEST_SECRET} bytes")
        self._secret = secret
        self._region = region
        self._regions = regions
        self._keys: dict[str, bytes] = {}

    def read(self, tenant: str, given: Sequence[GivenIdentifier]) -> Reading:
        """The usable identifiers of a call, without repetitions, and the useless ones with the reason.

        Raises TooManyIdentifiers, UnknownNamespace, and BadIdentifier for a malformed strong one or a scope that the
        namespace does not have.
        """
        if len(given) > MOST_IDENTIFIERS:
            raise TooManyIdentifiers(field="identifiers", maximum=MOST_IDENTIFIERS)
        usable: dict[UUID, Identifier] = {}
        dropped: list[Dropped] = []
        for position, it in enumerate(given):
            found = self._identifier(tenant, position, it, f"identifiers[{position}]")
            if isinstance(found, Dropped):
                dropped.append(found)
            elif (known := usable.get(found.claim_id)) is None or found.verified > known.verified:
                usable[found.claim_id] = found
        return Reading(tuple(sorted(usable.values(), key=lambda it: it.rank)), tuple(dropped))

    def read_one(self, tenant: str, given: GivenIdentifier, field: str = "identifier") -> Identifier | None:
        """The identifier in `field` of a request; None when its value is blocked or malformed beyond use."""
        found = self._identifier(tenant, 0, given, field)
        return found if isinstance(found, Identifier) else None

    def _identifier(self, tenant: str, position: int, given: GivenIdentifier, field: str) -> Identifier | Dropped:
        if forms.is_blocked(given.value):
            return Dropped(position, given.namespace, given.scope, DropReason.BLOCKED)
        rules = NAMESPACES.get(given.namespace)
        if rules is None:
            raise UnknownNamespace(field=f"{field}.namespace", ns=given.namespace)
        if given.scope and not rules.scoped:
            raise BadIdentifier("the namespace has no scopes", field=f"{field}.scope", ns=rules.name)
        try:
            spelling = rules.form(forms.composed(given.value), self._regions.get(tenant, self._region))
        except forms.Malformed:
            if rules.strong:
                raise BadIdentifier(field=f"{field}.value", ns=rules.name) from None
            return Dropped(position, given.namespace, given.scope, DropReason.MALFORMED)
        value_hmac = self._hmac(tenant, rules.name, given.scope, spelling)
        claim = claim_id(tenant, (rules.name, given.scope, value_hmac))
        return Identifier(rules.name, given.scope, value_hmac, given.verified, position, claim, spelling)

    def _hmac(self, tenant: str, namespace: str, scope: str, spelling: str) -> bytes:
        key = self._keys.get(tenant)
        if key is None:
            key = self._keys[tenant] = hmac.digest(
                self._secret, b"scrm identity hash key\0" + tenant.encode(), "sha256"
            )
        return hmac.digest(key, "\0".join((namespace, scope, spelling)).encode(), "sha256")


def claim_id(tenant: str, key: IdentifierKey) -> UUID:
    """The id of the one claim on an identifier."""
    namespace, scope, value_hmac = key
    return natural_id(tenant, "claim", namespace, scope, value_hmac.hex())
