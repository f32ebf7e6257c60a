"""What is known of a customer, and how it came about: so that the share that some nodes had in it can be taken out.

As long as all facts are of the customer's own node they are just kept. From the first fact of another node on, entries
tell what was learned, in order, and where the customer stood before. Taking out nodes means to start from where the
customer stood before the first of their entries, and to draw the conclusions from the others once more.
"""

import base64
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import natural_id
from services.membership.domain.join_policy import JoinPolicy, Qualification, Spend
from services.membership.domain.standing import UNDECIDED, Membership, Standing, Via


class EntryKind(StrEnum):
    """What can be learned of a customer."""

    RECOGNIZED = "RECOGNIZED"
    PAID = "PAID"
    REFUNDED = "REFUNDED"
    ENROLLED = "ENROLLED"
    MERGED = "MERGED"


@dataclass(frozen=True, slots=True)
class Facts:
    """Since when nodes are recognized, and what was spent by them."""

    known: dict[UUID, datetime]
    spends: tuple[Spend, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A customer as they were when they became part of another."""

    customer: UUID
    nodes: tuple[UUID, ...]
    facts: Facts
    standing: Standing


@dataclass(frozen=True, slots=True)
class Entry:
    """Something learned of `node`, and where the customer stood before.

    `at`: since when the node is recognized, or when money went back. `spend`: the order as paid, or what is left of it.
    """

    kind: EntryKind
    node: UUID
    before: Standing = UNDECIDED
    at: datetime | None = None
    spend: Spend | None = None
    membership: Membership | None = None
    part: Part | None = None

    def concerns(self, nodes: Collection[UUID]) -> bool:
        return self.node in nodes or (self.part is not None and any(it in nodes for it in self.part.nodes))

    def without(self, nodes: Collection[UUID], parts: Mapping[UUID, Part]) -> "Entry | None":
        """What is left without `nodes`; of customers who lost some, `parts` are what is left of them."""
        if self.node in nodes:
            return None
        return replace(self, part=parts.get(self.node, self.part)) if self.part is not None else self


@dataclass(frozen=True, slots=True)
class Record:
    """A history as it is stored: `start` are the facts before the first of the entries."""

    facts: Facts
    standing: Standing
    start: Facts | None
    entries: tuple[Entry, ...]


class History:
    """Facts and standing of a customer."""

    __slots__ = ("customer", "entries", "known", "spends", "standing", "start", "tenant")

    def __init__(self, tenant: str, customer: UUID, known: Mapping[UUID, datetime]) -> None:
        self.tenant = tenant
        self.customer = customer
        self.known = dict(known)
        self.spends: dict[UUID, Spend] = {}
        self.standing = UNDECIDED
        self.start: Facts | None = None
        self.entries: list[Entry] = []

    # What is there

    @property
    def member_no(self) -> str:
        """M and 16 letters or digits, the same for the same customer: 80 bits of their natural id."""
        digits = base64.b32encode(natural_id(self.tenant, "member_no", self.customer).bytes[:10])
        return f"M{digits.decode()}"

    @property
    def known_since(self) -> datetime | None:
        return min(self.known.values(), default=None)

    @property
    def is_empty(self) -> bool:
        return not self.known and not self.spends

    @property
    def nodes(self) -> set[UUID]:
        """Every node that has a share in this."""
        parts = (it.part.nodes for it in self.entries if it.part is not None)
        return {self.customer}.union((it.node for it in self.entries), *parts)

    def part(self) -> Part:
        return Part(self.customer, tuple(sorted(self.nodes)), self._facts(), self.standing)

    def record(self) -> Record:
        return Record(self._facts(), self.standing, self.start, tuple(self.entries))

    def restore(self, record: Record) -> None:
        """Be what was recorded."""
        self._set_facts(record.facts)
        self.standing, self.start, self.entries = record.standing, record.start, list(record.entries)

    # What follows from it

    def joining(self, policy: JoinPolicy, changed_from: datetime | None) -> tuple[Membership, UUID] | None:
        """The membership that the facts give, and the order that crossed the threshold; None for none or no better.

        `changed_from`: facts before it are as they were when this was last asked.
        """
        present = self.standing.membership
        if present is not None and changed_from is not None and changed_from > present.joined_at:
            return None
        if self.known_since is None or policy.is_out_of_reach(self.spends.values()):
            return None
        last = present.joined_at if present is not None else None
        found = policy.qualification(self.spends.values(), self._instants(changed_from, last))
        if found is None:
            return None
        if present is None:
            return self._membership_from(found, policy), found.order
        if (found.at, found.earns_from) < (present.joined_at, present.earns_from):
            return replace(present, joined_at=found.at, earns_from=found.earns_from), found.order
        return None

    def has_lost_its_reason(self, policy: JoinPolicy, refunded_at: datetime) -> bool:
        """Whether a refund takes the membership back."""
        present = self.standing.membership
        if present is None or present.via is not Via.SPEND:
            return False
        if refunded_at > present.joined_at + timedelta(days=policy.revoke_on_refund_days):
            return False
        return policy.qualification(self.spends.values(), self._instants(None, None)) is None

    # What changes it

    def learn(self, entry: Entry) -> None:
        """Take in a fact; nothing follows from it yet."""
        if self.entries or entry.node != self.customer:
            self.start = self.start or self._facts()
            self.entries.append(replace(entry, before=self.standing))
        if entry.part is not None:
            self.known.update(entry.part.facts.known)
            self.spends.update((it.order, it) for it in entry.part.facts.spends)
        elif entry.spend is not None:
            self.spends[entry.spend.order] = entry.spend
        elif entry.kind is EntryKind.RECOGNIZED and entry.at is not None:
            self.known[entry.node] = entry.at

    def follow(self, entries: Iterable[Entry], policy: JoinPolicy | None) -> None:
        """Learn `entries` and draw the conclusions that were drawn, or would have been, when they were learned."""
        for it in entries:
            self.learn(it)
            if it.membership is not None and self.standing.membership is None:
                self.standing = self.standing.joined(it.membership)
            if it.part is not None:
                self.standing = self.standing.together_with(it.part.standing)
            if policy is not None:
                self._conclude(it, policy)

    def without(self, nodes: Collection[UUID], parts: Mapping[UUID, Part], policy: JoinPolicy | None) -> "History":
        """As if `nodes` had never had a share in this."""
        shared = [it.concerns(nodes) for it in self.entries]
        rest = History(self.tenant, self.customer, {})
        if self.start is None or True not in shared:
            rest.restore(self.record())
            return rest
        rest._set_facts(self.start)
        first = shared.index(True)
        for before in self.entries[:first]:
            rest.standing = before.before
            rest.learn(before)
        rest.standing = self.entries[first].before
        left = (it.without(nodes, parts) for it in self.entries[first:])
        rest.follow((it for it in left if it is not None), policy)
        return rest

    def _conclude(self, entry: Entry, policy: JoinPolicy) -> None:
        if entry.kind is EntryKind.REFUNDED:
            if entry.at is not None and self.has_lost_its_reason(policy, entry.at):
                self.standing = self.standing.revoked(entry.at)
        elif entry.kind is not EntryKind.ENROLLED:
            found = self.joining(policy, entry.spend.paid_at if entry.spend is not None else None)
            if found is not None:
                self.standing = self.standing.joined(found[0])

    def _facts(self) -> Facts:
        return Facts(dict(self.known), tuple(self.spends.values()))

    def _set_facts(self, facts: Facts) -> None:
        self.known = dict(facts.known)
        self.spends = {it.order: it for it in facts.spends}

    def _instants(self, first: datetime | None, last: datetime | None) -> list[datetime]:
        """When the threshold may have been reached: at recognition and at each order after it."""
        since, revoked_at = self.known_since, self.standing.revoked_at
        if since is None:
            return []
        paid = (it.paid_at for it in self.spends.values() if it.paid_at > since)
        return sorted(
            at
            for at in {since, *paid}
            if (first is None or at >= first)
            and (last is None or at <= last)
            and (revoked_at is None or at > revoked_at)
        )

    def _membership_from(self, found: Qualification, policy: JoinPolicy) -> Membership:
        return Membership(self.member_no, Via.SPEND, policy.version, found.at, found.earns_from)
