"""A customer on the way into the program, and in it: what they spent, since when they are a member."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.membership.domain.errors import NotAMember, NotKnown, OrderNotCounted
from services.membership.domain.join_policy import JoinPolicy, Qualification, Spend


class MemberState(StrEnum):
    """Where a customer stands in the program."""

    PROSPECT = "PROSPECT"
    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"
    MERGED = "MERGED"


class Via(StrEnum):
    """How somebody became a member."""

    SPEND = "SPEND"
    STAFF = "STAFF"


@dataclass(frozen=True, slots=True)
class Membership:
    """A membership in force; orders paid from `earns_from` on earn points."""

    member_no: str
    via: Via
    policy_version: int
    joined_at: datetime
    earns_from: datetime


@lru_cache(maxsize=50_000)
def member_id(tenant: str, customer: UUID) -> UUID:
    """The aggregate of one customer; a customer's id is the id of their first node."""
    return natural_id(tenant, "member", customer)


class Member(Aggregate):
    """One customer of a brand, as its program sees them, from their first order or recognition on.

    Facts keep the node they came to. After a merge the aggregate of the loser only points to the
    survivor's, which holds the facts of both.
    """

    TOPIC = "membership.Member"

    class Noticed(InitialEvent):
        TOPIC = "membership.MemberNoticed"
        tenant: str
        customer: UUID
        known_since: datetime | None

    class Recognized(Event):
        TOPIC = "membership.MemberRecognized"
        known_since: datetime

    class SpendCounted(Event):
        TOPIC = "membership.MemberSpendCounted"
        order: UUID
        node: UUID
        net: int
        currency: str
        paid_at: datetime

    class SpendReduced(Event):
        TOPIC = "membership.MemberSpendReduced"
        order: UUID
        net: int
        refunded_at: datetime

    class Joined(Event):
        TOPIC = "membership.MemberJoined"
        customer: UUID
        membership: Membership
        crossing_order: UUID | None

    class JoinedEarlier(Event):
        TOPIC = "membership.MemberJoinedEarlier"
        customer: UUID
        membership: Membership
        crossing_order: UUID

    class Revoked(Event):
        TOPIC = "membership.MemberRevoked"
        customer: UUID
        revoked_at: datetime

    class MergedInto(Event):
        TOPIC = "membership.MemberMergedInto"
        customer: UUID
        survivor: UUID
        merge: UUID

    class Absorbed(Event):
        TOPIC = "membership.MemberAbsorbed"
        customer: UUID
        loser: UUID
        merge: UUID
        spends: tuple[Spend, ...]
        known_since: datetime | None
        membership: Membership | None
        revoked_at: datetime | None

    @event(Noticed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        customer: UUID,
        known_since: datetime | None,
    ) -> None:
        self.tenant = tenant
        self.customer = customer
        self.known_since = known_since
        self.spends: dict[UUID, Spend] = {}
        self.membership: Membership | None = None
        self.revoked_at: datetime | None = None
        self.merged_into: UUID | None = None

    @classmethod
    def notice(cls, tenant: str, customer: UUID, known_since: datetime | None = None) -> "Member":
        """Take note of a customer who ordered or was recognized."""
        return cls(member_id(tenant, customer), tenant, customer, known_since)

    @property
    def state(self) -> MemberState:
        if self.merged_into is not None:
            return MemberState.MERGED
        if self.membership is not None:
            return MemberState.ACTIVE
        return MemberState.PROSPECT if self.revoked_at is None else MemberState.REVOKED

    def require_membership(self) -> Membership:
        """Raises NotAMember."""
        if self.membership is None:
            raise NotAMember(state=self.state)
        return self.membership

    def recognize(self, at: datetime) -> None:
        """The customer is known since `at`; of several such instants the first counts."""
        if self.known_since is None or at < self.known_since:
            self._recognized(at)

    @event(Recognized)
    def _recognized(self, known_since: datetime) -> None:
        self.known_since = known_since

    def count(self, spend: Spend) -> None:
        """Count a paid order towards the threshold, once."""
        if spend.order not in self.spends:
            self._spend_counted(spend.order, spend.node, spend.net, spend.currency, spend.paid_at)

    @event(SpendCounted)
    def _spend_counted(self, order: UUID, node: UUID, net: int, currency: str, paid_at: datetime) -> None:
        self.spends[order] = Spend(order, node, net, currency, paid_at)

    def reduce(self, order: UUID, net: int, refunded_at: datetime) -> None:
        """A refund left `net` of the order. Raises OrderNotCounted."""
        if order not in self.spends:
            raise OrderNotCounted(order=order)
        if net < self.spends[order].net:
            self._spend_reduced(order, net, refunded_at)

    @event(SpendReduced)
    def _spend_reduced(self, order: UUID, net: int, refunded_at: datetime) -> None:
        self.spends[order] = replace(self.spends[order], net=net)

    def consider_joining(self, policy: JoinPolicy, changed_from: datetime | None = None) -> bool:
        """Join, or join earlier than so far, if the threshold is reached; whether that happened.

        `changed_from`: facts before it are as they were when this was last considered. The answer
        depends on the facts alone, not on the order in which they became known here: somebody who
        spent enough and is recognized later is a member from that instant on.
        """
        present = self.membership
        if present is not None and changed_from is not None and changed_from > present.joined_at:
            return False
        if self.known_since is None or policy.is_out_of_reach(self.spends.values()):
            return False
        last = present.joined_at if present is not None else None
        found = policy.qualification(self.spends.values(), self._instants(changed_from, last))
        if found is None:
            return False
        if present is None:
            self._joined(self.customer, self._membership_from(found, policy), found.order)
            return True
        if (found.at, found.earns_from) < (present.joined_at, present.earns_from):
            earlier = replace(present, joined_at=found.at, earns_from=found.earns_from)
            self._joined_earlier(self.customer, earlier, found.order)
            return True
        return False

    def enroll(self, at: datetime) -> Membership:
        """Staff makes the customer a member. Raises NotKnown for somebody anonymous."""
        if self.known_since is None:
            raise NotKnown
        if self.membership is None:
            membership = Membership(self._member_no(), Via.STAFF, 0, at, at)
            self._joined(self.customer, membership, None)
        return self.require_membership()

    @event(Joined)
    def _joined(self, customer: UUID, membership: Membership, crossing_order: UUID | None) -> None:
        self.membership = membership

    @event(JoinedEarlier)
    def _joined_earlier(self, customer: UUID, membership: Membership, crossing_order: UUID) -> None:
        self.membership = membership

    def consider_revoking(self, policy: JoinPolicy, refunded_at: datetime) -> bool:
        """Take back a membership that a refund left without its reason; whether that happened."""
        present = self.membership
        if present is None or present.via is not Via.SPEND:
            return False
        if refunded_at > present.joined_at + timedelta(days=policy.revoke_on_refund_days):
            return False
        if policy.qualification(self.spends.values(), self._instants(None, None)) is not None:
            return False
        self._revoked(self.customer, refunded_at)
        return True

    @event(Revoked)
    def _revoked(self, customer: UUID, revoked_at: datetime) -> None:
        self.membership = None
        self.revoked_at = revoked_at

    def absorb(self, loser: "Member", merge: UUID) -> None:
        """Become one with `loser`: both lists of orders, one membership, the earlier of two."""
        loser.point_to(self.customer, merge)
        if loser.spends or loser.known_since or loser.revoked_at:
            self._absorbed(
                self.customer,
                loser.customer,
                merge,
                tuple(loser.spends.values()),
                min(_given(self.known_since, loser.known_since), default=None),
                _one_of(self.membership, loser.membership),
                max(_given(self.revoked_at, loser.revoked_at), default=None),
            )

    def point_to(self, survivor: UUID, merge: UUID) -> None:
        """The facts of this customer, and those still to come, belong to `survivor` from now on."""
        self._merged_into(self.customer, survivor, merge)

    @event(MergedInto)
    def _merged_into(self, customer: UUID, survivor: UUID, merge: UUID) -> None:
        self.merged_into = survivor

    @event(Absorbed)
    def _absorbed(
        self,
        customer: UUID,
        loser: UUID,
        merge: UUID,
        spends: tuple[Spend, ...],
        known_since: datetime | None,
        membership: Membership | None,
        revoked_at: datetime | None,
    ) -> None:
        self.spends.update({it.order: it for it in spends})
        self.known_since = known_since
        self.membership = membership
        self.revoked_at = revoked_at

    def _instants(self, first: datetime | None, last: datetime | None) -> list[datetime]:
        """When the threshold may have been reached: at recognition and at each order after it."""
        assert self.known_since is not None  # noqa: S101 - asked of known customers only
        paid = (it.paid_at for it in self.spends.values() if it.paid_at > self.known_since)
        return sorted(
            at
            for at in {self.known_since, *paid}
            if (first is None or at >= first)
            and (last is None or at <= last)
            and (self.revoked_at is None or at > self.revoked_at)
        )

    def _membership_from(self, found: Qualification, policy: JoinPolicy) -> Membership:
        return Membership(self._member_no(), Via.SPEND, policy.version, found.at, found.earns_from)

    def _member_no(self) -> str:
        """M and 16 letters or digits, the same for the same customer: 80 bits of their natural id."""
        digits = base64.b32encode(natural_id(self.tenant, "member_no", self.customer).bytes[:10])
        return f"M{digits.decode()}"


def _given(*instants: datetime | None) -> Iterable[datetime]:
    return [it for it in instants if it is not None]


def _one_of(mine: Membership | None, other: Membership | None) -> Membership | None:
    """My number, and the terms of the membership that began earlier."""
    if mine is None or other is None:
        return mine or other
    first = min(mine, other, key=lambda it: it.joined_at)
    earns_from = min(mine.earns_from, other.earns_from)
    return replace(first, member_no=mine.member_no, earns_from=earns_from)
