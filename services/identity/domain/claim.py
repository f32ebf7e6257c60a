"""The claim on one identifier: whose it is. There is one claim per identifier, so two customers can never both have it."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from services.identity.domain.consent import OptOut
from services.identity.domain.identifiers import IdentifierKey

SHARED_ABOVE: Final = 3
SHARED_WINDOW: Final = timedelta(days=365)
BLOCKED_FROM: Final = 10
BLOCKED_WINDOW: Final = timedelta(hours=24)
SIGHTING_REFRESH: Final = timedelta(days=30)


class ClaimState(StrEnum):
    """FREE: nobody's. CLAIMED: somebody's. SHARED, BLOCKED: no longer tells who somebody is."""

    FREE = "FREE"
    CLAIMED = "CLAIMED"
    SHARED = "SHARED"
    BLOCKED = "BLOCKED"


class ReassignReason(StrEnum):
    """Why an identifier went to another customer."""

    NEWEST_AUTHENTICATED = "NEWEST_AUTHENTICATED"
    UNMERGE = "UNMERGE"


class IdentifierClaim(Aggregate):
    """Who has an identifier: a node, which leads to that node's customer.

    `sightings` says which nodes have or had it, or which customers used it while it was somebody else's, and when each
    was last noticed. With it a device that passes through many hands is told from a personal one.
    """

    TOPIC = "identity.IdentifierClaim"

    class Claimed(InitialEvent):
        """The identifier was seen for the first time and belongs to `node` from now on."""

        TOPIC = "identity.IdentifierClaimed"
        tenant: str
        namespace: str
        scope: str
        value_hmac: bytes
        node: UUID
        claimed_at: datetime

    class Reclaimed(Event):
        """The identifier was nobody's and belongs to `node` from now on."""

        TOPIC = "identity.IdentifierReclaimed"
        node: UUID
        claimed_at: datetime

    class Reassigned(Event):
        """The identifier went from one customer to another; what happened under it before stays where it is."""

        TOPIC = "identity.IdentifierReassigned"
        namespace: str
        scope: str
        value_hmac: bytes
        from_customer: UUID
        customer: UUID
        node: UUID
        reason: ReassignReason
        reassigned_at: datetime

    class Released(Event):
        """The identifier is nobody's."""

        TOPIC = "identity.IdentifierReleased"
        released_at: datetime

    class Suppressed(Event):
        """Whoever had it and is erased had said no to this: the next who has it has not said yes."""

        TOPIC = "identity.IdentifierSuppressed"
        opt_outs: tuple[OptOut, ...]
        suppressed_at: datetime

    class SeenWith(Event):
        """Another customer than the owner used the identifier."""

        TOPIC = "identity.IdentifierSeenWith"
        customer: UUID
        seen_at: datetime

    class MarkedShared(Event):
        """So many known customers use the identifier that it tells nobody: a store's tablet, a family computer."""

        TOPIC = "identity.IdentifierMarkedShared"
        namespace: str
        scope: str
        value_hmac: bytes
        distinct_customers: int
        window_days: int
        marked_at: datetime

    class Blocked(Event):
        """A strong identifier moved so often in a short time that somebody misuses it."""

        TOPIC = "identity.IdentifierBlocked"
        namespace: str
        scope: str
        value_hmac: bytes
        distinct_nodes: int
        window_hours: int
        blocked_at: datetime

    @event(Claimed)
    def __init__(
        self, id: UUID, tenant: str, namespace: str, scope: str, value_hmac: bytes, node: UUID, claimed_at: datetime
    ) -> None:
        self.tenant = tenant
        self.namespace = namespace
        self.scope = scope
        self.value_hmac = value_hmac
        self.node = node
        self.state = ClaimState.CLAIMED
        self.sightings: dict[UUID, datetime] = {node: claimed_at}
        self.opt_outs: tuple[OptOut, ...] = ()

    @property
    def key(self) -> IdentifierKey:
        return self.namespace, self.scope, self.value_hmac

    @property
    def is_claimed(self) -> bool:
        return self.state is ClaimState.CLAIMED

    def reclaim(self, node: UUID, at: datetime) -> None:
        """Give the identifier, which is nobody's, to `node`."""
        self._reclaimed(node=node, claimed_at=at)

    def reassign(self, from_customer: UUID, customer: UUID, at: datetime, *, strong: bool) -> None:
        """Give the identifier to `customer` (under its own node); block a strong one that went through too many hands."""
        self._give(from_customer, customer, customer, ReassignReason.NEWEST_AUTHENTICATED, at)
        nodes = sum(seen > at - BLOCKED_WINDOW for seen in self.sightings.values())
        if strong and nodes >= BLOCKED_FROM:
            self._blocked(
                namespace=self.namespace,
                scope=self.scope,
                value_hmac=self.value_hmac,
                distinct_nodes=nodes,
                window_hours=BLOCKED_WINDOW // timedelta(hours=1),
                blocked_at=at,
            )

    def settle(self, from_customer: UUID, customer: UUID, node: UUID, at: datetime) -> None:
        """Give the identifier to `node` of `customer` as a merge that brought both together is taken back."""
        self._give(from_customer, customer, node, ReassignReason.UNMERGE, at)

    def release(self, at: datetime) -> None:
        """Make the identifier nobody's, unless it no longer tells who somebody is anyway."""
        if self.is_claimed:
            self._released(released_at=at)

    def suppress(self, opt_outs: tuple[OptOut, ...], at: datetime) -> None:
        """Keep what its last owner, who is erased, had said no to."""
        kept = tuple(dict.fromkeys((*self.opt_outs, *opt_outs)))
        if kept != self.opt_outs:
            self._suppressed(opt_outs=kept, suppressed_at=at)

    def see(self, customer: UUID, at: datetime) -> None:
        """Note that `customer` used what is somebody else's; at most one note a month for each."""
        noted = self.sightings.get(customer)
        if noted is None or at - noted > SIGHTING_REFRESH:
            self._seen_with(customer=customer, seen_at=at)

    def seen_within_window(self, at: datetime) -> list[UUID]:
        """The nodes and customers noticed with the identifier in the year before `at`; the owner always."""
        since = at - SHARED_WINDOW
        return [who for who, seen in self.sightings.items() if seen > since or who == self.node]

    def share_if_common(self, known_customers: Iterable[UUID], at: datetime) -> None:
        """Mark the identifier shared when more than three distinct known customers use it."""
        distinct = len(set(known_customers))
        if self.is_claimed and distinct > SHARED_ABOVE:
            self._marked_shared(
                namespace=self.namespace,
                scope=self.scope,
                value_hmac=self.value_hmac,
                distinct_customers=distinct,
                window_days=SHARED_WINDOW.days,
                marked_at=at,
            )

    def _give(self, from_customer: UUID, customer: UUID, node: UUID, reason: ReassignReason, at: datetime) -> None:
        self._reassigned(
            namespace=self.namespace,
            scope=self.scope,
            value_hmac=self.value_hmac,
            from_customer=from_customer,
            customer=customer,
            node=node,
            reason=reason,
            reassigned_at=at,
        )

    @event(Reclaimed)
    def _reclaimed(self, node: UUID, claimed_at: datetime) -> None:
        self.node = node
        self.state = ClaimState.CLAIMED
        self.sightings[node] = claimed_at

    @event(Reassigned)
    def _reassigned(
        self,
        namespace: str,
        scope: str,
        value_hmac: bytes,
        from_customer: UUID,
        customer: UUID,
        node: UUID,
        reason: ReassignReason,
        reassigned_at: datetime,
    ) -> None:
        self.node = node
        self.sightings[node] = reassigned_at

    @event(Released)
    def _released(self, released_at: datetime) -> None:
        self.state = ClaimState.FREE

    @event(Suppressed)
    def _suppressed(self, opt_outs: tuple[OptOut, ...], suppressed_at: datetime) -> None:
        self.opt_outs = opt_outs

    @event(SeenWith)
    def _seen_with(self, customer: UUID, seen_at: datetime) -> None:
        self.sightings[customer] = seen_at

    @event(MarkedShared)
    def _marked_shared(
        self,
        namespace: str,
        scope: str,
        value_hmac: bytes,
        distinct_customers: int,
        window_days: int,
        marked_at: datetime,
    ) -> None:
        self.state = ClaimState.SHARED

    @event(Blocked)
    def _blocked(
        self,
        namespace: str,
        scope: str,
        value_hmac: bytes,
        distinct_nodes: int,
        window_hours: int,
        blocked_at: datetime,
    ) -> None:
        self.state = ClaimState.BLOCKED
