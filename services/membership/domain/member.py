"""A customer on the way into the program, and in it: what they spent, since when they are a member."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.membership.domain.errors import NotAMember, NotKnown, OrderNotCounted
from services.membership.domain.history import Entry, EntryKind, History, Part, Record
from services.membership.domain.join_policy import JoinPolicy, Spend
from services.membership.domain.standing import Membership, Standing, Via


class MemberState(StrEnum):
    """Where a customer stands in the program."""

    PROSPECT = "PROSPECT"
    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"
    MERGED = "MERGED"
    ERASED = "ERASED"


@lru_cache(maxsize=50_000)
def member_id(tenant: str, customer: UUID) -> UUID:
    """The aggregate of one customer; a customer's id is the id of their first node."""
    return natural_id(tenant, "member", customer)


class Member(Aggregate):
    """One customer of a brand, as its program sees them, from their first order or recognition on.

    Facts keep the node they came to. After a merge the aggregate of the loser stays as it was and points to the
    survivor's, which holds the facts of both; when the merge is taken back it goes on from there with what came to its
    nodes meanwhile. A merge takes effect as soon as no other does that stands in its way.
    """

    TOPIC = "membership.Member"

    class Noticed(InitialEvent):
        TOPIC = "membership.MemberNoticed"
        tenant: str
        customer: UUID
        known_since: datetime | None

    class Recognized(Event):
        TOPIC = "membership.MemberRecognized"
        node: UUID
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

    class MergeAwaited(Event):
        TOPIC = "membership.MemberMergeAwaited"
        customer: UUID
        survivor: UUID
        merge: UUID

    class MergedInto(Event):
        TOPIC = "membership.MemberMergedInto"
        customer: UUID
        survivor: UUID
        merge: UUID

    class Absorbed(Event):
        TOPIC = "membership.MemberAbsorbed"
        customer: UUID
        merge: UUID
        part: Part
        standing: Standing

    class MergeTakenBack(Event):
        TOPIC = "membership.MemberMergeTakenBack"
        customer: UUID
        merge: UUID

    class Released(Event):
        TOPIC = "membership.MemberReleased"
        customer: UUID
        restored: UUID
        merge: UUID
        record: Record

    class Corrected(Event):
        TOPIC = "membership.MemberCorrected"
        customer: UUID
        merge: UUID
        record: Record

    class Restored(Event):
        TOPIC = "membership.MemberRestored"
        customer: UUID
        survivor: UUID
        merge: UUID
        record: Record

    class Erased(Event):
        """Nothing is known of this customer any more, nor will be."""

        TOPIC = "membership.MemberErased"
        customer: UUID
        erased_at: datetime

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
        known = {customer: known_since} if known_since is not None else {}
        self.history = History(tenant, customer, known)
        self.merges: dict[UUID, UUID] = {}
        self.taken_back: set[UUID] = set()
        self.merged_by: UUID | None = None
        self.left: UUID | None = None
        self.is_erased = False

    @classmethod
    def notice(cls, tenant: str, customer: UUID, known_since: datetime | None = None) -> "Member":
        """Take note of a customer who ordered or was recognized."""
        return cls(member_id(tenant, customer), tenant, customer, known_since)

    # What is there

    @property
    def state(self) -> MemberState:
        if self.is_erased:
            return MemberState.ERASED
        if self.merged_into is not None:
            return MemberState.MERGED
        if self.membership is not None:
            return MemberState.ACTIVE
        return MemberState.PROSPECT if self.revoked_at is None else MemberState.REVOKED

    @property
    def merged_into(self) -> UUID | None:
        return self.merges[self.merged_by] if self.merged_by is not None else None

    @property
    def known_since(self) -> datetime | None:
        return self.history.known_since

    @property
    def spends(self) -> Mapping[UUID, Spend]:
        return self.history.spends

    @property
    def membership(self) -> Membership | None:
        return self.history.standing.membership

    @property
    def revoked_at(self) -> datetime | None:
        return self.history.standing.revoked_at

    def entries_of(self, nodes: Collection[UUID], customer: UUID) -> list[Entry]:
        """What was learned of `nodes` while they were part of this customer, but for `customer` becoming so."""
        entries = (it for it in self.history.entries if it.node in nodes)
        return [it for it in entries if it.part is None or it.node != customer]

    def require_membership(self) -> Membership:
        """Raises NotAMember."""
        if self.membership is None:
            raise NotAMember(state=self.state)
        return self.membership

    # What can be done

    def recognize(self, node: UUID, at: datetime) -> None:
        """The customer is known by `node` since `at`; of several such instants the first counts."""
        if node not in self.history.known or at < self.history.known[node]:
            self._recognized(node, at)

    def count(self, spend: Spend) -> None:
        """Count a paid order towards the threshold, once."""
        if spend.order not in self.spends:
            self._spend_counted(spend.order, spend.node, spend.net, spend.currency, spend.paid_at)

    def reduce(self, order: UUID, net: int, refunded_at: datetime) -> None:
        """A refund left `net` of the order. Raises OrderNotCounted."""
        if order not in self.spends:
            raise OrderNotCounted(order=order)
        if net < self.spends[order].net:
            self._spend_reduced(order, net, refunded_at)

    def consider_joining(self, policy: JoinPolicy, changed_from: datetime | None = None) -> bool:
        """Join, or join earlier than so far, if the threshold is reached; whether that happened.

        `changed_from`: facts before it are as they were when this was last considered. The answer
        depends on the facts alone, not on the order in which they became known here: somebody who
        spent enough and is recognized later is a member from that instant on.
        """
        found = self.history.joining(policy, changed_from)
        if found is None:
            return False
        if self.membership is None:
            self._joined(self.customer, *found)
        else:
            self._joined_earlier(self.customer, *found)
        return True

    def enroll(self, at: datetime) -> Membership:
        """Staff makes the customer a member. Raises NotKnown for somebody anonymous."""
        if self.known_since is None:
            raise NotKnown
        if self.membership is None:
            membership = Membership(self.history.member_no, Via.STAFF, 0, at, at)
            self._joined(self.customer, membership, None)
        return self.require_membership()

    def consider_revoking(self, policy: JoinPolicy, refunded_at: datetime) -> bool:
        """Take back a membership that a refund left without its reason; whether that happened."""
        if not self.history.has_lost_its_reason(policy, refunded_at):
            return False
        self._revoked(self.customer, refunded_at)
        return True

    def await_merge(self, survivor: UUID, merge: UUID) -> None:
        """Be part of `survivor` when no other merge stands in the way any more."""
        self._merge_awaited(self.customer, survivor, merge)

    def point_to(self, survivor: UUID, merge: UUID) -> None:
        """The facts of this customer, and those still to come, belong to `survivor` from now on."""
        self._merged_into(self.customer, survivor, merge)

    def absorb(self, loser: "Member", merge: UUID) -> None:
        """Become one with `loser`: both lists of orders, one membership, the earlier of two."""
        part = loser.history.part()
        self._absorbed(self.customer, merge, part, self.history.standing.together_with(part.standing))

    def take_back(self, merge: UUID) -> None:
        """This customer is not, and will not be, part of another by `merge`."""
        if merge not in self.taken_back:
            self._merge_taken_back(self.customer, merge)

    def release(
        self, restored: UUID, merge: UUID, nodes: Collection[UUID], below: Iterable["Member"], policy: JoinPolicy | None
    ) -> None:
        """Be what this customer would be without `nodes`; those `below` have released them already."""
        if not any(it.concerns(nodes) for it in self.history.entries):
            return
        record = self.history.without(nodes, {it.customer: it.history.part() for it in below}, policy).record()
        if self.merged_into is None:
            self._released(self.customer, restored, merge, record)
        else:
            self._corrected(self.customer, merge, record)

    def restore(self, survivor: UUID, merge: UUID, entries: Collection[Entry], policy: JoinPolicy | None) -> None:
        """Go on alone, with what came to this customer's nodes while they were part of `survivor`."""
        if entries or not self.history.is_empty:
            alone = self.history.without((), {}, policy)
            alone.follow(entries, policy)
            self._restored(self.customer, survivor, merge, alone.record())

    def erase(self, at: datetime) -> None:
        """Forget everything, once."""
        if not self.is_erased:
            self._erased(self.customer, at)

    # What that changes

    @event(Recognized)
    def _recognized(self, node: UUID, known_since: datetime) -> None:
        self.history.learn(Entry(EntryKind.RECOGNIZED, node, at=known_since))

    @event(SpendCounted)
    def _spend_counted(self, order: UUID, node: UUID, net: int, currency: str, paid_at: datetime) -> None:
        self.history.learn(Entry(EntryKind.PAID, node, spend=Spend(order, node, net, currency, paid_at)))

    @event(SpendReduced)
    def _spend_reduced(self, order: UUID, net: int, refunded_at: datetime) -> None:
        left = replace(self.spends[order], net=net)
        self.history.learn(Entry(EntryKind.REFUNDED, left.node, at=refunded_at, spend=left))

    @event(Joined)
    def _joined(self, customer: UUID, membership: Membership, crossing_order: UUID | None) -> None:
        if membership.via is Via.STAFF:
            self.history.learn(Entry(EntryKind.ENROLLED, customer, membership=membership))
        self._stand(self.history.standing.joined(membership))

    @event(JoinedEarlier)
    def _joined_earlier(self, customer: UUID, membership: Membership, crossing_order: UUID) -> None:
        self._stand(self.history.standing.joined(membership))

    @event(Revoked)
    def _revoked(self, customer: UUID, revoked_at: datetime) -> None:
        self._stand(self.history.standing.revoked(revoked_at))

    @event(MergeAwaited)
    def _merge_awaited(self, customer: UUID, survivor: UUID, merge: UUID) -> None:
        self.merges[merge] = survivor

    @event(MergedInto)
    def _merged_into(self, customer: UUID, survivor: UUID, merge: UUID) -> None:
        self.merges[merge] = survivor
        self.merged_by = merge

    @event(Absorbed)
    def _absorbed(self, customer: UUID, merge: UUID, part: Part, standing: Standing) -> None:
        self.history.learn(Entry(EntryKind.MERGED, part.customer, part=part))
        self._stand(standing)

    @event(MergeTakenBack)
    def _merge_taken_back(self, customer: UUID, merge: UUID) -> None:
        survivor = self.merges.pop(merge, None)
        self.taken_back.add(merge)
        if self.merged_by == merge:
            self.merged_by, self.left = None, survivor

    @event(Released)
    def _released(self, customer: UUID, restored: UUID, merge: UUID, record: Record) -> None:
        self.history.restore(record)

    @event(Corrected)
    def _corrected(self, customer: UUID, merge: UUID, record: Record) -> None:
        self.history.restore(record)

    @event(Restored)
    def _restored(self, customer: UUID, survivor: UUID, merge: UUID, record: Record) -> None:
        self.history.restore(record)

    @event(Erased)
    def _erased(self, customer: UUID, erased_at: datetime) -> None:
        self.history = History(self.tenant, customer, {})
        self.is_erased = True

    def _stand(self, standing: Standing) -> None:
        self.history.standing = standing
