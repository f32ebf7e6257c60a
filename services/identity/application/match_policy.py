"""Whenever something comparable becomes known of a customer, the customer is compared; whenever a customer changes hands,
candidates are looked at again."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from chassis.aggregate import Event
from chassis.log import Recorded
from services.identity.domain.attribute_values import AttributeValues
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.domain.identifiers import LinkedIdentifier
from services.identity.domain.match_run import MatchRun

FOLLOWED: Final = (
    Customer.Registered,
    Customer.IdentifiersLinked,
    Customer.IdentifiersUnlinked,
    Customer.Merged,
    Customer.Restored,
    Customer.KeptApart,
    Customer.ReunionAllowed,
    Customer.Erased,
    IdentifierClaim.Reassigned,
    IdentifierClaim.SeenWith,
    AttributeValues.Changed,
    AttributeValues.Purged,
    MatchRun.Requested,
)
"""The events that ask for anything."""

TRAITS: Final = frozenset({"name", "birthdate", "gender", "address"})
"""The attributes by which customers are compared."""

_COMPARABLE: Final = frozenset({"device_id", "phone"})


@dataclass(slots=True)
class MatchWork:
    """What a stretch of the log asks for in one tenant: nodes to compare, nodes whose candidates to look at, and runs."""

    changed: dict[UUID, None] = field(default_factory=dict)
    unsettled: dict[UUID, None] = field(default_factory=dict)
    runs: list[MatchRun.Requested] = field(default_factory=list)


def match_work(recorded: Iterable[Recorded]) -> dict[str, MatchWork]:
    """What is to be done, by tenant."""
    found: dict[str, MatchWork] = {}
    for it in recorded:
        work = found.setdefault(it.tenant, MatchWork())
        work.changed |= dict.fromkeys(_changed(it.event))
        work.unsettled |= dict.fromkeys(_unsettled(it.event))
        if isinstance(it.event, MatchRun.Requested):
            work.runs.append(it.event)
    return found


def _changed(event: Event) -> tuple[UUID, ...]:
    """Of whom something comparable changed."""
    match event:
        case (
            Customer.Registered(originator_id=id, identifiers=identifiers)
            | Customer.IdentifiersLinked(originator_id=id, identifiers=identifiers)
            | Customer.IdentifiersUnlinked(originator_id=id, identifiers=identifiers)
        ):
            return (id,) if _comparable(identifiers) else ()
        case Customer.Merged(originator_id=id, loser_id=other) | Customer.Restored(originator_id=id, survivor_id=other):
            return id, other
        case IdentifierClaim.Reassigned(customer=id, from_customer=other):
            return id, other
        case AttributeValues.Changed(node=node, changed=changed):
            return (node,) if any(it.key in TRAITS for it in changed) else ()
        case AttributeValues.Purged(node=node, keys=keys):
            return (node,) if TRAITS & set(keys) else ()
        case Customer.ReunionAllowed(originator_id=id) | IdentifierClaim.SeenWith(customer=id):
            return (id,)
        case Customer.Erased(node_ids=nodes):
            return nodes
    return ()


def _unsettled(event: Event) -> tuple[UUID, ...]:
    """Whose candidates may be overtaken: by a merge or an erasure, by a word that keeps two apart, or by an identifier that only one
    can have."""
    match event:
        case Customer.Merged(originator_id=id, loser_id=other):
            return id, other
        case Customer.KeptApart(originator_id=id) | Customer.IdentifiersLinked(originator_id=id):
            return (id,)
        case Customer.Erased(node_ids=nodes):
            return nodes
    return ()


def _comparable(identifiers: Iterable[LinkedIdentifier]) -> bool:
    return any(it.namespace in _COMPARABLE for it in identifiers)
