"""A tenant's program in the short words of a test: customers, orders, refunds, points, and the passing of time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4, uuid5
from zoneinfo import ZoneInfo

from chassis.aggregate import Event
from chassis.clock import ReplayClock
from chassis.commands import CommandBus, UnitOfWork, handler
from chassis.context import Context
from chassis.event_store import EventStore
from services.membership.application.customers import find_account, find_member
from services.membership.application.enrollment_commands import (
    CountOrder,
    CountRefund,
    EnrollMember,
    RecognizeCustomer,
)
from services.membership.application.handlers import HANDLERS
from services.membership.application.merge_commands import FollowAwaitedMerges, MergeMembers, UnmergeMembers
from services.membership.application.points_commands import BurnPoints, GrantPoints, SettleAccount
from services.membership.application.program_commands import DefineProgram, SetJoinPolicy
from services.membership.domain.expiry_rules import ExpiryRule
from services.membership.domain.join_policy import Spend
from services.membership.domain.lots import Source
from services.membership.domain.member import Member
from services.membership.domain.points_account import PointsAccount

NEW_YORK = ZoneInfo("America/New_York")


def local(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    """A wall-clock time in New York."""
    return datetime(year, month, day, hour, minute, second, tzinfo=NEW_YORK).astimezone(UTC)


BEGINNING = local(1996, 12, 1)


@dataclass(frozen=True, slots=True)
class Look:
    """A question put like a command."""

    question: Callable[[UnitOfWork], Any]


LOOKING = handler(Look, lambda look, work: look.question(work))


class Scenario:
    """One tenant with a program: SPEND >= 100.00 in 365 days, 1 point per 1.00 USD, New York."""

    def __init__(self, store: EventStore, tenant: str = "acme", start: datetime = BEGINNING) -> None:
        self.clock = ReplayClock(start)
        self.bus = CommandBus(store, self.clock, [*HANDLERS, LOOKING])
        self.tenant = tenant
        self.context = Context.system(tenant, "test")

    def define(self, threshold: int = 10_000, rate: str = "1") -> "Scenario":
        self.run(
            DefineProgram("club", "USD", "America/New_York", "Stars", Decimal(rate), ExpiryRule.ROLLING_12_MONTH_END)
        )
        self.run(SetJoinPolicy(threshold, "USD", 365, 30))
        return self

    def run(self, command: Any) -> Any:
        return self.bus.execute_now(command, self.context)

    def at(self, moment: datetime) -> "Scenario":
        if moment > self.clock.now():
            self.clock.set(moment)
        return self

    def known(self, since: datetime = BEGINNING, customer: UUID | None = None) -> UUID:
        customer = customer or uuid4()
        self.run(RecognizeCustomer(self.tenant, customer, since))
        return customer

    def pay(self, node: UUID, minor: int, paid_at: datetime, order: UUID | None = None, currency: str = "USD") -> UUID:
        order = order or uuid4()
        self.at(paid_at).run(CountOrder(self.tenant, Spend(order, node, minor, currency, paid_at)))
        return order

    def refund(self, node: UUID, order: UUID, net: int, refunded_at: datetime) -> None:
        self.at(refunded_at).run(CountRefund(self.tenant, node, order, net, refunded_at))

    def merge(self, survivor: UUID, loser: UUID, turn: int = 1) -> None:
        self.run(MergeMembers(self.tenant, merge_id(survivor, loser, turn), survivor, loser))

    def unmerge(self, survivor: UUID, restored: UUID, turn: int = 1, known_since: datetime | None = None) -> None:
        merge = merge_id(survivor, restored, turn)
        self.run(UnmergeMembers(self.tenant, merge, survivor, restored, known_since))
        self.run(FollowAwaitedMerges(self.tenant, restored))

    def enroll(self) -> UUID:
        """A member who has no points."""
        customer = self.known()
        self.run(EnrollMember(self.tenant, customer))
        return customer

    def grant(self, customer: UUID, points: int, expire_at: datetime | None = None, ref: str = "") -> Any:
        command = GrantPoints(self.tenant, customer, Source.MANUAL, ref or str(uuid4()), points, None, expire_at)
        return self.run(command)

    def burn(self, customer: UUID, points: int, ref: str = "") -> Any:
        return self.run(BurnPoints(self.tenant, customer, ref or str(uuid4()), points))

    def settle(self, moment: datetime) -> None:
        """Let every timer that is due by `moment` go off."""
        self.at(moment)
        for account in self.accounts():
            if (due := account.next_due) is not None and due <= moment:
                self.run(SettleAccount(account.id))

    def member(self, customer: UUID) -> Member | None:
        found: Member | None = self.look(lambda work: find_member(customer, work))
        return found

    def the_member(self, customer: UUID) -> Member:
        member = self.member(customer)
        assert member is not None
        return member

    def account(self, customer: UUID) -> PointsAccount:
        member = self.the_member(customer)
        found = self.look(lambda work: find_account(member, work))
        assert isinstance(found, PointsAccount)
        return found

    def look(self, question: Callable[[UnitOfWork], Any]) -> Any:
        """The answer to `question` from what is stored, not from what the bus has in memory."""
        fresh = CommandBus(self.bus.store, self.clock, [LOOKING])
        return fresh.execute_now(Look(question), self.context)

    def accounts(self) -> list[PointsAccount]:
        opened = [it.originator_id for it in self.events() if isinstance(it, PointsAccount.Opened)]

        def find(work: UnitOfWork) -> list[PointsAccount]:
            return list(work.find_all(PointsAccount, opened).values())

        return self.look(find)  # type: ignore[no-any-return]

    def events(self) -> Sequence[Event]:
        return [it.event for it in self.bus.store.read_log(0, 1_000_000)]


def merge_id(survivor: UUID, loser: UUID, turn: int = 1) -> UUID:
    """The merge of these two; when they merge again after it was taken back it is another `turn`."""
    return uuid5(survivor, f"{loser}/{turn}")


def days(number: int) -> timedelta:
    return timedelta(days=number)
