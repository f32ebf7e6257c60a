"""The recorded past once more under other rules: whom the brand would know, as far as the record tells.

The record has what calls changed, not the calls. Taken from it are: identifiers that came together and were new, by whom
customers met, identifiers that were kept away from a customer or went to another one, and what people said (links taken back,
merges, un-merges, who is kept apart). Not in it, and so not rehearsed, are calls that changed nothing and by which identifier a
call found its customer. Whether a call was authenticated shows in what it did: customers who were joined and identifiers that
moved count as proven, all else does not. Identifiers found to be shared or blocked stay so.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.aggregate import Event
from services.identity.domain.claim import IdentifierClaim, ReassignReason
from services.identity.domain.customer import (
    RESOLUTION,
    ConflictResolution,
    ConflictRule,
    Customer,
    CustomerState,
    UnlinkReason,
    default_assignment_key,
)
from services.identity.domain.identifiers import Identifier, IdentifierKey, LinkedIdentifier, best_first
from services.identity.domain.namespaces import Namespaces
from services.identity.domain.resolution import Decision, Encounter, Sight, decide

_NOBODYS: Final = UUID(int=0)
_FOLLOWS_FROM_RULES: Final = (UnlinkReason.LIMIT_FIFO, UnlinkReason.REASSIGNED)


class Rehearsal:
    """The customers of a brand under the rules of `namespaces`, after the events it was told of, in the order of the log.

    The log keeps the order of each customer and each claim, not that between them. So two are joined when both sides have said
    so, and an identifier moves when its claim and its new owner have.
    """

    def __init__(self, tenant: str, namespaces: Namespaces) -> None:
        self.customer_of: dict[UUID, Customer] = {}
        self._tenant = tenant
        self._namespaces = namespaces
        self._useless: set[IdentifierKey] = set()
        self._node_of: dict[IdentifierKey, UUID] = {}
        self._merges: dict[UUID, Customer.Merged | None] = {}
        self._moving: dict[IdentifierKey, UUID] = {}
        self._left: dict[IdentifierKey, UUID] = {}

    @property
    def customers(self) -> Collection[Customer]:
        """Everybody there is at the end."""
        return {it.id: it for it in self.customer_of.values()}.values()

    def take(self, event: Event) -> None:
        """Let this happen, if the rules let it happen."""
        self._take_what_was_shown(event)
        self._take_what_was_said(event)

    def _take_what_was_shown(self, event: Event) -> None:
        match event:
            case Customer.Registered(originator_id=id, identifiers=shown, registered_at=at):
                self._arrive(id, shown, at)
            case Customer.IdentifiersLinked(originator_id=id, identifiers=shown, linked_at=at):
                self._arrive(id, shown, at)
            case Customer.Merged(merge_id=merge) | Customer.MergedInto(merge_id=merge):
                self._merge(merge, event)
            case Customer.ConflictDetected(originator_id=id, detected_at=at, resolution=ConflictResolution.KEPT) as it:
                # Whom only a limit kept apart had shown enough to be one.
                proven = it.rule is ConflictRule.LIMIT
                shown = (LinkedIdentifier(it.namespace, it.scope, it.value_hmac, id, proven, at),)
                self._call(shown, self.customer_of[id], at)
            case IdentifierClaim.Reassigned(reason=ReassignReason.NEWEST_AUTHENTICATED) as moved:
                self._move(moved)
            case IdentifierClaim.MarkedShared() | IdentifierClaim.Blocked() as lost:
                self._useless.add((lost.namespace, lost.scope, lost.value_hmac))

    def _take_what_was_said(self, event: Event) -> None:
        match event:
            case Customer.IdentifiersUnlinked(identifiers=gone, reason=reason, unlinked_at=at):
                if reason not in _FOLLOWS_FROM_RULES:
                    self._unlink(gone, reason, at)
            case Customer.Restored() as restored:
                self._part(restored)
            case Customer.KeptApart(separation=it):
                self.customer_of[it.node].apart.add(it)
            case Customer.ReunionAllowed(separations=separations):
                for it in separations:
                    self.customer_of[it.node].apart.discard(it)

    def _arrive(self, id: UUID, shown: Sequence[LinkedIdentifier], at: datetime) -> None:
        """A call of the customer `id`, maybe the first; unless that is of somebody the identifiers lead to, now a node of theirs."""
        moving = [it for it in shown if self._moving.get(it.key) == id]
        others = [it for it in shown if it not in moving]
        self._call(others, self.customer_of.get(id), at, newcomer=id)
        for it in moving:
            del self._moving[it.key]
            self._call([it], self.customer_of[id], at, authenticated=True)
        self._left.update((it.key, id) for it in others if self._owner(it.key) is not self.customer_of[id])

    def _move(self, moved: IdentifierClaim.Reassigned) -> None:
        """An identifier went to whoever proved it; that call is rehearsed when the customer has been told of."""
        key, at = (moved.namespace, moved.scope, moved.value_hmac), moved.reassigned_at
        if self._left.pop(key, None) == moved.customer:
            shown = LinkedIdentifier(*key, moved.node, False, at)
            self._call([shown], self.customer_of[moved.customer], at, authenticated=True)
        else:
            self._moving[key] = moved.customer

    def _call(
        self,
        shown: Iterable[LinkedIdentifier],
        customer: Customer | None,
        at: datetime,
        *,
        newcomer: UUID | None = None,
        authenticated: bool = False,
    ) -> None:
        """A call with these identifiers, of `customer` or of whoever has them; `newcomer` is a node of theirs, or somebody new."""
        linked = {it.key: it for it in shown if it.key not in self._useless}
        sights = self._sights(linked.values())
        decision = Decision((customer,) if customer else (), ())
        if sights:
            decision = decide(Encounter(sights, customer, authenticated, at, self._namespaces))
        if decision.owners:
            survivor, *losers = decision.owners
        elif newcomer is not None:
            survivor, losers = self._new(newcomer, at), []
        else:
            return
        for loser in losers:
            self._join(survivor, loser, RESOLUTION, at)
        if newcomer is not None:
            survivor.nodes.setdefault(newcomer)
            self.customer_of[newcomer] = survivor
        self._settle(decision, survivor, linked, at)
        survivor.recognise((linked[it.identifier.key] for it in decision.kept), at, self._namespaces)
        survivor.pending_events.clear()

    def _sights(self, shown: Iterable[LinkedIdentifier]) -> list[Sight]:
        identifiers = [
            Identifier(it.namespace, it.scope, it.value_hmac, it.verified, position, _NOBODYS, "")
            for position, it in enumerate(shown)
        ]
        return [
            Sight(it, self._owner(it.key), self._namespaces[it.namespace])
            for it in best_first(identifiers, self._namespaces)
        ]

    def _settle(
        self, decision: Decision, survivor: Customer, linked: dict[IdentifierKey, LinkedIdentifier], at: datetime
    ) -> None:
        """Give the survivor what the decision says, and take what has to go."""
        new = [linked[it.identifier.key] for it in decision.kept if it.owner is None]
        for demotion in decision.demoted:
            if demotion.reassign:
                new.append(linked[demotion.sight.identifier.key])
                self._unlink([new[-1]], UnlinkReason.REASSIGNED, at)
        gained = [it if it.node in survivor.nodes else replace(it, node=survivor.id) for it in new]
        survivor.link(gained, at, self._namespaces)
        survivor.pending_events.clear()
        self._node_of.update((it.key, it.node) for it in gained)
        self._unlink(decision.evicted, UnlinkReason.LIMIT_FIFO, at)

    def _unlink(self, identifiers: Iterable[LinkedIdentifier], reason: UnlinkReason, at: datetime) -> None:
        for it in identifiers:
            owner = self._owner(it.key)
            if owner is not None:
                owner.unlink([it.key], reason, at, self._namespaces)
                owner.pending_events.clear()
                del self._node_of[it.key]

    def _merge(self, merge_id: UUID, event: Event) -> None:
        """When both sides have told of it: two were joined by people, or by what they showed if the rules say so too."""
        first = event if isinstance(event, Customer.Merged) else None
        if merge_id not in self._merges:
            self._merges[merge_id] = first
            return
        merged = self._merges.pop(merge_id) or first
        if merged is None:
            return
        survivor, loser = self.customer_of[merged.originator_id], self.customer_of[merged.loser_id]
        if survivor is loser:
            return
        if merged.reason != RESOLUTION:
            self._join(survivor, loser, merged.reason, merged.merged_at)
            return
        found = {owner.id for it in merged.met_by if (owner := self._owner(it.key)) is not None}
        named = next((it for it in (survivor, loser) if it.id not in found), None)
        self._call([replace(it, verified=True) for it in merged.met_by], named, merged.merged_at)

    def _join(self, survivor: Customer, loser: Customer, reason: str, at: datetime) -> None:
        survivor.absorb(loser, _NOBODYS, reason, at)
        for it in (survivor, loser):
            it.pending_events.clear()
        self.customer_of.update(dict.fromkeys(loser.nodes, survivor))

    def _part(self, restored: Customer.Restored) -> None:
        """Take exactly the nodes of the un-merge from whoever has them, if others are with them."""
        holder = self.customer_of[restored.originator_id]
        if self.customer_of[restored.survivor_id] is not holder:
            return
        for it in restored.moves:
            if it.identifier.key in holder.identifiers:
                holder.identifiers[it.identifier.key] = it.moved
                self._node_of[it.identifier.key] = it.node
        part = holder.nodes.keys() & set(restored.node_ids)
        leaving = holder.nodes.keys() - part if holder.id in part else part
        other = self._new(
            restored.originator_id if restored.originator_id in leaving else min(leaving), restored.restored_at
        )
        _hold(other, leaving, holder)
        _hold(holder, holder.nodes.keys() - leaving, holder)
        other.recognise(other.identifiers.values(), restored.restored_at, self._namespaces)
        other.pending_events.clear()
        self.customer_of.update(dict.fromkeys(other.nodes, other))

    def _new(self, id: UUID, at: datetime) -> Customer:
        made = Customer(id, self._tenant, CustomerState.ANONYMOUS, default_assignment_key(id), (), None, at)
        made.pending_events.clear()
        return made

    def _owner(self, key: IdentifierKey) -> Customer | None:
        node = self._node_of.get(key)
        return None if node is None else self.customer_of[node]


def _hold(customer: Customer, nodes: Collection[UUID], holder: Customer) -> None:
    """Let `customer` have these nodes of `holder`, with all that is theirs."""
    belongings = holder.belongings_of(nodes)
    customer.nodes = {it: None for it in holder.nodes if it in nodes}
    customer.identifiers = {it.key: it for it in belongings.identifiers}
    customer.lost = {it.key: it for it in belongings.lost}
    customer.apart = set(belongings.apart)
