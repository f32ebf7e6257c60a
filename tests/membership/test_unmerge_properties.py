"""Whatever happens to a few customers who merge and part: no points come into being, and what is taken back never was."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chassis.commands import UnitOfWork
from chassis.errors import DomainError
from chassis.event_store import MemoryEventStore
from services.membership.application.customers import find_account, find_member
from services.membership.application.enrollment_commands import EnrollMember
from services.membership.application.points_commands import CancelBurn, ReverseGrant
from services.membership.domain.lots import Source
from tests.membership.scenario import Look, Scenario, days

PEOPLE = [UUID(int=it) for it in (101, 102, 103, 104)]
STAFF_MEMBER, KNOWN = PEOPLE[:2]

WHO = st.sampled_from(PEOPLE)
HOURS = st.integers(0, 24 * 25)
ANY = st.integers(0, 99)

UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""A history that fails is short; making it shorter takes minutes."""

Step = tuple[str, int, UUID, int, int]
"""What happens, how many hours after the step before, to whom, and two numbers."""


def steps(kinds: list[str], people: st.SearchStrategy[UUID] = WHO) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.tuples(st.sampled_from(kinds), HOURS, people, ANY, ANY), min_size=6, max_size=30)


@dataclass(frozen=True, slots=True)
class Merge:
    """The merge of two by the step with this number."""

    survivor: UUID
    loser: UUID
    step: int


@dataclass(slots=True)
class Story:
    """A history as identity, tracking and callers tell it; `without`: merges that are never told, nor their ends."""

    without: frozenset[int] = frozenset()
    club: Scenario = field(default_factory=lambda: Scenario(MemoryEventStore()).define())
    standing: list[Merge] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    orders: list[tuple[UUID, UUID, int]] = field(default_factory=list)

    def tell(self, number: int, step: Step) -> None:
        kind, hours, who, one, two = step
        club = self.club.at(self.club.clock.now() + timedelta(hours=hours))
        now = club.clock.now()
        match kind:
            case "pay":
                amount = 100 + one * 110
                self.orders.append((who, club.pay(who, amount, now, UUID(int=number + 1)), amount))
            case "refund" if self.orders:
                node, order, net = self.orders[one % len(self.orders)]
                club.refund(node, order, net * two // 100, now)
            case "know":
                club.known(now, who)
            case "settle":
                club.settle(now)
            case "merge":
                self.merge(number, who, PEOPLE[one % len(PEOPLE)])
            case "unmerge" if self.standing:
                self.unmerge(self.standing.pop(one % len(self.standing)))
            case _:
                self.spend(number, kind, who, (one, two))

    def spend(self, number: int, kind: str, who: UUID, numbers: tuple[int, int]) -> None:
        club, (one, two) = self.club, numbers
        match kind:
            case "grant":
                club.grant(who, 1 + one, club.clock.now() + days(1 + two), f"{number}")
            case "reverse":
                club.run(ReverseGrant("acme", who, Source.MANUAL, str(one % (number + 1)), 1 + two))
            case "burn":
                club.burn(who, 1 + one, str(one % 9))
            case "cancel":
                club.run(CancelBurn("acme", who, str(one % 9)))

    def merge(self, number: int, one: UUID, two: UUID) -> None:
        survivor, loser = self.root(one), self.root(two)
        if survivor != loser:
            self.standing.append(Merge(survivor, loser, number))
            if number not in self.without:
                self.club.merge(survivor, loser, number)

    def unmerge(self, merge: Merge) -> None:
        self.undone.add(merge.step)
        if merge.step not in self.without:
            self.club.unmerge(merge.survivor, merge.loser, merge.step)

    def root(self, node: UUID) -> UUID:
        above = {it.loser: it.survivor for it in self.standing}
        while node in above:
            node = above[node]
        return node

    def balances(self) -> tuple[int, int]:
        """Active less owed, and pending, of everybody together."""
        found = [it.balance(self.club.clock.now()) for it in self.club.accounts()]
        return sum(it.total for it in found), sum(it.pending for it in found)

    def outcome(self, *, stored: bool = True) -> list[tuple[object, ...]]:
        """What is there of everybody, by what is stored or by what is held in memory."""
        look = self.club.look if stored else self.recall
        found: list[tuple[object, ...]] = []
        for it in PEOPLE:
            member = look(partial(find_member, it))
            if member is None or member.history.is_empty:
                found.append((it,))
                continue
            account = look(partial(find_account, member))
            lots = account.lots.values() if account is not None else ()
            live = sorted(
                (lot.node, lot.source, lot.ref, lot.remaining, lot.active_at, lot.expire_at)
                for lot in lots
                if lot.is_spendable(self.club.clock.now())
            )
            debt = account.debt if account is not None else 0
            spent = sorted(member.spends.items())
            found.append((member.customer, member.known_since, spent, member.history.standing, live, debt))
        return found

    def recall(self, question: Callable[[UnitOfWork], Any]) -> Any:
        return self.club.run(Look(question))

    def check(self) -> None:
        """Every account adds up by itself and holds what is of its customer's nodes, all of it."""
        for account in self.club.accounts():
            assert sum(it.remaining for it in account.lots.values()) == account.tally.remaining
            assert account.debt == account.tally.debt >= 0
            assert not (account.debt and account.balance(self.club.clock.now()).active)
            assert {self.root(it) for it in account.nodes} <= {account.customer}


@settings(max_examples=150, deadline=None, phases=UNSHRUNK)
@given(
    steps(["pay", "pay", "refund", "grant", "burn", "burn", "cancel", "reverse", "settle", "merge", "merge", "unmerge"])
)
def test_neither_a_merge_nor_its_end_makes_or_loses_points(told: list[Step]) -> None:
    story = Story()
    for it in PEOPLE:
        story.club.known(customer=it)
        story.club.run(EnrollMember("acme", it))
    for number, step in enumerate(told):
        story.tell(number, ("settle", *step[1:]))
        before = story.balances()
        try:
            story.tell(number, (step[0], 0, *step[2:]))
        except DomainError:
            continue
        if step[0] in ("merge", "unmerge"):
            assert story.balances() == before
        story.check()


@settings(max_examples=150, deadline=None, phases=UNSHRUNK)
@given(steps(["pay", "pay", "pay", "refund", "know", "settle", "merge", "merge", "unmerge"]))
def test_without_spending_a_merge_that_was_taken_back_might_as_well_never_have_been(told: list[Step]) -> None:
    story = Story()
    beginning(story)
    for number, step in enumerate(told):
        story.tell(number, step)
        story.check()
        if step[0] == "unmerge" and story.undone:
            assert story.outcome() == told_without(story.undone, told[: number + 1]).outcome()
    story.standing.reverse()
    while story.standing:
        story.unmerge(story.standing.pop())
    assert story.outcome() == told_without(story.undone, told).outcome() == story.outcome(stored=False)


def beginning(story: Story) -> None:
    """Somebody whom staff made a member, with points, somebody known, and two of whom nothing is known."""
    story.club.known(customer=STAFF_MEMBER)
    story.club.run(EnrollMember("acme", STAFF_MEMBER))
    story.club.grant(STAFF_MEMBER, 100, story.club.clock.now() + days(200), "present")
    story.club.known(customer=KNOWN)


def told_without(merges: set[int], told: list[Step]) -> Story:
    """The twin of a history, in which these merges never were."""
    twin = Story(frozenset(merges))
    beginning(twin)
    for number, step in enumerate(told):
        twin.tell(number, step)
    return twin
