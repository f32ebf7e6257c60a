"""Who may be meant by what somebody typed: an id, or an identifier of any kind that it can be."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.commands import CommandBus
from chassis.errors import DomainError
from chassis.unit_of_work import replay
from services.identity.domain.claim import ClaimState, IdentifierClaim
from services.identity.domain.identifiers import GivenIdentifier, Identifier, IdentifierReader

CUSTOMER_ID = "customer_id"


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """A node that is meant, and by what: "customer_id" or the namespace of an identifier."""

    matched: str
    node: UUID


async def exact_matches(bus: CommandBus, reader: IdentifierReader, tenant: str, query: str) -> list[Match]:
    """The nodes that have `query` as an identifier of some kind, or as their id; whether there is such a node is not asked."""
    guessed = {it.claim_id: it for it in guesses(reader, tenant, query)}
    streams: Mapping[UUID, Sequence[object]] = await asyncio.to_thread(bus.store.load, list(guessed))
    claims = [replay(it) for it in streams.values()]  # type: ignore[arg-type]
    found = {
        Match(guessed[it.id].namespace, it.node)
        for it in claims
        if isinstance(it, IdentifierClaim) and it.tenant == tenant and it.state is ClaimState.CLAIMED
    }
    return sorted(found | {Match(CUSTOMER_ID, it) for it in _ids(query)})


def guesses(reader: IdentifierReader, tenant: str, query: str) -> Iterator[Identifier]:
    """Every identifier that `query` can be: as it is, and as "scope:value" where a kind has scopes."""
    scope, colon, value = query.partition(":")
    for name, rules in reader.namespaces(tenant).items():
        given = [GivenIdentifier(name, query)]
        if colon and rules.scoped:
            given.append(GivenIdentifier(name, value, scope))
        for it in given:
            try:
                found = reader.read_one(tenant, it)
            except DomainError:  # not of this kind
                continue
            if found is not None:
                yield found


def _ids(query: str) -> Iterator[UUID]:
    try:
        yield UUID(query)
    except ValueError:
        return
