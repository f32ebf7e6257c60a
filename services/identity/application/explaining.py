"""Why two traces are one person, or two: read from what was recorded when it was decided."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.log import Recorded
from services.identity.application.queries import lookup_claim
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.domain.errors import CustomerNotFound
from services.identity.domain.identifiers import Identifier, IdentifierKey

MOST_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Trace:
    """What was seen of somebody: an identifier, or a customer by any node; `field` of the request brought it."""

    field: str
    identifier: Identifier | None = None
    node: UUID | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whose the traces are, and what was decided about them, in the order in which it was."""

    customer_id: UUID
    other_customer_id: UUID
    steps: Sequence[Recorded]


async def explain(bus: CommandBus, one: Trace, other: Trace) -> Explanation:
    """How the two traces came to be of one customer, or of two. Raises CustomerNotFound."""
    way, key = await _way(bus, one)
    other_way, other_key = await _way(bus, other)
    root, other_root = way[-1], other_way[-1]
    keys = {it for it in (key, other_key) if it is not None}
    concerned = set(_to_meeting(way, other_way)) | set(_to_meeting(other_way, way))
    claims = {it.claim_id for it in (one.identifier, other.identifier) if it is not None}
    recorded, concerned = await _read(bus, concerned, claims)
    steps = [it for it in recorded if _tells(it, concerned, keys)]
    keys |= {met.key for it in steps if isinstance(it.event, Customer.Merged) for met in it.event.met_by}
    steps = [it for it in recorded if _tells(it, concerned, keys)]
    return Explanation(root, other_root, steps[-MOST_STEPS:])


async def _read(bus: CommandBus, customers: set[UUID], claims: set[UUID]) -> tuple[list[Recorded], set[UUID]]:
    """What was recorded of them, and of those they were part of once, who are added."""
    while True:
        recorded = await asyncio.to_thread(bus.store.read_streams, customers | claims)
        left = {it.event.survivor_id for it in recorded if isinstance(it.event, Customer.Restored)}
        if left <= customers:
            return recorded, customers
        customers = customers | left


async def _way(bus: CommandBus, trace: Trace) -> tuple[list[UUID], IdentifierKey | None]:
    """The node of the trace, and whom it is part of, up to the customer; and the identifier that led there."""
    node = trace.node
    if node is None:
        node = (await lookup_claim(bus, trace.identifier, trace.field)).node
    way = [node]
    try:
        while (higher := (await bus.load(Customer, way[-1])).merged_into) is not None:
            way.append(higher)
    except AggregateNotFound:
        raise CustomerNotFound(field=trace.field) from None
    return way, trace.identifier.key if trace.identifier is not None else None


def _to_meeting(way: Sequence[UUID], other: Sequence[UUID]) -> Sequence[UUID]:
    """The way up to where the other one joins it; all of it if it never does."""
    meeting = next((place for place, it in enumerate(way) if it in other), len(way))
    return way[: meeting + 1]


def _tells(recorded: Recorded, concerned: set[UUID], keys: set[IdentifierKey]) -> bool:
    """Whether a step says something of these customers and identifiers."""
    match recorded.event:
        case Customer.Merged(loser_id=loser):
            return loser in concerned
        case Customer.MergedInto() | Customer.PartLeft():
            return False  # told by the other side
        case Customer.Seen():
            return False  # a note for later
        case (
            Customer.IdentifiersLinked(identifiers=identifiers) | Customer.IdentifiersUnlinked(identifiers=identifiers)
        ):
            return any(it.key in keys for it in identifiers)
        case Customer.ConflictDetected(owner=owner) as conflict:
            return owner in concerned or (conflict.namespace, conflict.scope, conflict.value_hmac) in keys
        case Customer.KeptApart(separation=it):
            return {it.node, it.other} <= concerned
        case Customer.ReunionAllowed(separations=separations):
            return any({it.node, it.other} <= concerned for it in separations)
        case IdentifierClaim.Claimed() | IdentifierClaim.SeenWith():
            return False  # told with the customer, or a note for later
    return True
