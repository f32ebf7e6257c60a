"""Who a call is about: the decision over the identifiers it carries, made from facts and without changing any.

The rules in the order they apply: devices of other known customers are put aside; known customers are joined only on
sufficient proof; identifiers that would give one customer more of a kind than anybody has are put aside, the least
telling first; of the customers that are left, the senior one goes on for all.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.identity.domain.customer import ConflictRule, Customer
from services.identity.domain.identifiers import Identifier, LinkedIdentifier
from services.identity.domain.namespaces import Namespace, Namespaces

MOST_LINKED: Final = 50

CountKey = tuple[str, str]
"""A namespace, and the scope where each has a limit of its own."""


class Outcome(StrEnum):
    """What resolving a call did to the customer it is about."""

    CREATED = "CREATED"
    MATCHED = "MATCHED"
    EXTENDED = "EXTENDED"
    MERGED = "MERGED"
    CONFLICT_RESOLVED = "CONFLICT_RESOLVED"


@dataclass(frozen=True, slots=True)
class Sight:
    """An identifier of a call and the customer it leads to at the moment; None while it is nobody's."""

    identifier: Identifier
    owner: Customer | None
    rules: Namespace


@dataclass(frozen=True, slots=True)
class Encounter:
    """A call as far as its identity goes, to be decided by the rules of `namespaces`.

    `sights` come best first; `customer` is whom the caller says it is about.
    """

    sights: Sequence[Sight]
    customer: Customer | None
    authenticated: bool
    at: datetime
    namespaces: Namespaces


@dataclass(frozen=True, slots=True)
class Demotion:
    """An identifier put aside; with `reassign` it goes to the customer of the call all the same, without its owner."""

    sight: Sight
    rule: ConflictRule
    reassign: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`owners` are one person, the first goes on for all; nobody means a new customer.

    `kept` tell who it is, best first; those that are nobody's become this customer's. `demoted` belong to others, or
    to nobody for want of room. `left_out` are not used because the call mixes people. `evicted` have to go to keep the
    customer at a size a person can have.
    """

    owners: tuple[Customer, ...]
    kept: tuple[Sight, ...]
    demoted: tuple[Demotion, ...] = ()
    left_out: tuple[Sight, ...] = ()
    evicted: tuple[LinkedIdentifier, ...] = ()

    @property
    def outcome(self) -> Outcome:
        if not self.owners:
            return Outcome.CREATED
        if self.demoted:
            return Outcome.CONFLICT_RESOLVED
        if len(self.owners) > 1:
            return Outcome.MERGED
        return Outcome.EXTENDED if any(it.owner is None for it in self.kept) else Outcome.MATCHED

    @property
    def unproven(self) -> tuple[Customer, ...]:
        """Known customers who met in the call without proof that they are one, whom the call goes to first; nobody or two at least."""
        met = [it.sight.owner for it in self.demoted if it.rule is ConflictRule.KNOWN_MEETS_KNOWN]
        if not met:
            return ()
        known = (it for it in (*self.owners, *met) if it is not None and it.is_known)
        return tuple({it.id: it for it in known}.values())


def decide(encounter: Encounter) -> Decision:
    """Who `encounter` is about. It must have a sight or a customer."""
    sights = encounter.sights
    if len(sights) == 1 and encounter.customer is None:
        owner = sights[0].owner
        if owner is None:
            return Decision((), tuple(sights))
        return Decision((owner,), tuple(sights))
    near, foreign = _without_foreign_devices(encounter)
    if not _may_be_one(encounter, near):
        return _not_joined(encounter, near, foreign)
    union = _Union(encounter)
    kept: list[Sight] = []
    demoted: list[Demotion] = []
    for it in near:
        if union.forbids(it):
            demoted.append(Demotion(it, ConflictRule.NEVER_MERGE))
        elif union.take(it):
            kept.append(it)
        else:
            demoted.append(Demotion(it, ConflictRule.LIMIT))
    demoted += [Demotion(it, ConflictRule.FOREIGN) for it in foreign]
    demoted = [_reassigned(encounter, it, union) for it in demoted]
    owners = tuple(sorted(union.owners, key=lambda it: it.seniority))
    return Decision(owners, tuple(kept), tuple(demoted), evicted=union.overflow(kept))


def _without_foreign_devices(encounter: Encounter) -> tuple[list[Sight], list[Sight]]:
    """The sights of this person, and the weak ones that belong to known customers whom nothing strong points to.

    A strong identifier on somebody else's device is a new login there, and the person a different one.
    """
    strong = [it for it in encounter.sights if it.rules.strong]
    if not strong and encounter.customer is None:
        return list(encounter.sights), []
    matched = {it.owner.id for it in strong if it.owner}
    if encounter.customer:
        matched.add(encounter.customer.id)
    near: list[Sight] = []
    foreign: list[Sight] = []
    for it in encounter.sights:
        is_foreign = not it.rules.strong and it.owner and it.owner.is_known and it.owner.id not in matched
        (foreign if is_foreign else near).append(it)
    return near, foreign


def _may_be_one(encounter: Encounter, sights: Sequence[Sight]) -> bool:
    """Whether all owners may be one person: at most one is known, or each known one is proven by something strong."""
    known = {it.owner.id for it in sights if it.owner and it.owner.is_known}
    customer = encounter.customer
    if customer and customer.is_known:
        known.add(customer.id)
    if len(known) <= 1:
        return True
    proofs = [it for it in sights if it.rules.strong and it.owner and it.owner.is_known]
    proven = {it.owner.id for it in proofs if it.owner} | ({customer.id} if customer else set())
    return known <= proven and (encounter.authenticated or all(it.identifier.verified for it in proofs))


def _not_joined(encounter: Encounter, near: Sequence[Sight], foreign: Sequence[Sight]) -> Decision:
    """Two known customers met without proof: the call goes to the one with the best identifier, nothing is learnt."""
    lead = encounter.customer or next(it.owner for it in near if it.owner and it.owner.is_known)
    others = [it for it in near if it.owner is not lead]
    met = [it for it in others if it.owner and it.owner.is_known]
    return Decision(
        owners=(lead,),
        kept=tuple(it for it in near if it.owner is lead),
        demoted=tuple(
            [Demotion(it, ConflictRule.KNOWN_MEETS_KNOWN) for it in met]
            + [Demotion(it, ConflictRule.FOREIGN) for it in foreign]
        ),
        left_out=tuple(it for it in others if it not in met),
    )


def _reassigned(encounter: Encounter, demotion: Demotion, union: "_Union") -> Demotion:
    """The newest authenticated link wins a transferable identifier, if there is room for it."""
    sight = demotion.sight
    if encounter.authenticated and sight.owner and sight.rules.transferable and union.take(replace(sight, owner=None)):
        return replace(demotion, reassign=True)
    return demotion


class _Union:
    """The customer that results if everything taken so far is one person.

    `_firm` counts the identifiers that nothing can push out: strong ones and those of the call.
    """

    def __init__(self, encounter: Encounter) -> None:
        self._at = encounter.at
        self._namespaces = encounter.namespaces
        self.owners: list[Customer] = []
        self._counts: Counter[CountKey] = Counter()
        self._new = 0
        self._firm = 0
        if encounter.customer is not None:
            self._join(encounter.customer, self._count(encounter.customer))

    def forbids(self, sight: Sight) -> bool:
        """Whether somebody said that whoever has the identifier is another person."""
        owner = sight.owner
        return owner is not None and any(it.is_kept_apart_from(owner) for it in self.owners)

    def take(self, sight: Sight) -> bool:
        """Take in the identifier and whoever has it, unless a limit forbids it."""
        owner = sight.owner
        if owner is None:
            return self._take_new(sight.identifier, sight.rules)
        if any(it is owner for it in self.owners):
            return True
        counts = self._count(owner)
        if (self.owners or self._new) and not self._has_room(owner, counts):
            return False
        self._join(owner, counts)
        return True

    def overflow(self, kept: Sequence[Sight]) -> tuple[LinkedIdentifier, ...]:
        """The oldest weak identifiers beyond the most a customer may have in all; none of `kept`."""
        linked = [it for owner in self.owners for it in owner.identifiers.values()]
        beyond = len(linked) + self._new - MOST_LINKED
        if beyond <= 0:
            return ()
        used = {it.identifier.key for it in kept}
        weak = [it for it in linked if not self._namespaces[it.namespace].strong and it.key not in used]
        return tuple(sorted(weak, key=lambda it: (it.linked_at, it.key))[:beyond])

    def _take_new(self, identifier: Identifier, rules: Namespace) -> bool:
        key = _count_key(rules, identifier.scope)
        returns = rules.limit.ever and any(identifier.key in it.lost for it in self.owners)  # and counts already
        if (self._counts[key] >= rules.limit.count and not returns) or self._firm >= MOST_LINKED:
            return False
        self._counts[key] += not returns
        self._new += 1
        self._firm += 1
        return True

    def _has_room(self, owner: Customer, counts: Counter[CountKey]) -> bool:
        within = all(self._counts[key] + count <= self._namespaces[key[0]].limit.count for key, count in counts.items())
        return within and self._firm + self._strong(owner) <= MOST_LINKED

    def _join(self, owner: Customer, counts: Counter[CountKey]) -> None:
        self.owners.append(owner)
        self._counts.update(counts)
        self._firm += self._strong(owner)

    def _count(self, customer: Customer) -> Counter[CountKey]:
        return count([customer], self._at, self._namespaces)

    def _strong(self, customer: Customer) -> int:
        return sum(self._namespaces[it.namespace].strong for it in customer.identifiers.values())


def count(customers: Iterable[Customer], at: datetime, namespaces: Namespaces) -> Counter[CountKey]:
    """How many identifiers of each kind of `customers` count against the limits at `at`, those they have lost included."""
    found: Counter[CountKey] = Counter()
    for customer in customers:
        for it in customer.identifiers.values():
            rules = namespaces[it.namespace]
            if _is_recent(it, rules, at):
                found[_count_key(rules, it.scope)] += 1
        for it in customer.lost.values():
            rules = namespaces[it.namespace]
            if rules.limit.ever and _is_recent(it, rules, at):
                found[_count_key(rules, it.scope)] += 1
    return found


def _is_recent(identifier: LinkedIdentifier, rules: Namespace, at: datetime) -> bool:
    window = rules.limit.window
    return window is None or identifier.linked_at > at - window


def _count_key(rules: Namespace, scope: str) -> CountKey:
    return rules.name, scope if rules.limit.per_scope else ""
