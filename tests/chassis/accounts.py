"""A small domain of its own for the tests of the mechanics: accounts that money goes through."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from chassis.commands import Handlers, handler
from chassis.due_times import Timer
from chassis.errors import FailedPrecondition, InvalidArgument
from chassis.unit_of_work import UnitOfWork


class InsufficientFunds(FailedPrecondition):
    """The account holds less than that."""


class AmountInvalid(InvalidArgument):
    """An amount is a positive number."""


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Note:
    text: str
    at: datetime


class Account(Aggregate):
    TOPIC = "test.Account"

    class Opened(InitialEvent):
        TOPIC = "test.AccountOpened"
        tenant: str

    class Deposited(Event):
        TOPIC = "test.AccountDeposited"
        class_version: ClassVar[int] = 2
        amount: int
        colour: Colour

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            state["colour"] = Colour.RED

    class Withdrawn(Event):
        TOPIC = "test.AccountWithdrawn"
        amount: int

    class Annotated(Event):
        TOPIC = "test.AccountAnnotated"
        notes: tuple[Note, ...]
        rate: Decimal | None
        day: date | None
        digest: bytes
        partners: frozenset[UUID]
        shares: dict[str, Decimal]

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.balance = 0
        self.notes: tuple[Note, ...] = ()

    def deposit(self, amount: int) -> None:
        if amount <= 0:
            raise AmountInvalid(field="amount")
        self._deposited(amount=amount, colour=Colour.BLUE)

    @event(Deposited)
    def _deposited(self, amount: int, colour: Colour) -> None:
        self.balance += amount

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise InsufficientFunds(available=self.balance)
        self._withdrawn(amount=amount)

    @event(Withdrawn)
    def _withdrawn(self, amount: int) -> None:
        self.balance -= amount

    @event(Annotated)
    def annotate(
        self,
        notes: tuple[Note, ...],
        rate: Decimal | None,
        day: date | None,
        digest: bytes,
        partners: frozenset[UUID],
        shares: dict[str, Decimal],
    ) -> None:
        self.notes = notes


@dataclass(frozen=True, slots=True)
class OpenAccount:
    account_id: UUID


@dataclass(frozen=True, slots=True)
class Deposit:
    account_id: UUID
    amount: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """Deposits first and withdraws then, so that a refusal comes after something was changed."""

    source: UUID
    target: UUID
    amount: int


@dataclass(frozen=True, slots=True)
class DepositEach:
    deposits: tuple[tuple[UUID, int], ...]


@dataclass(frozen=True, slots=True)
class Remind:
    key: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Break:
    """Has a handler with a bug."""


def open_account(command: OpenAccount, work: UnitOfWork) -> Account:
    if account := work.find(Account, command.account_id):
        return account
    account = Account(command.account_id, work.context.tenant)
    work.add(account)
    return account


def deposit(command: Deposit, work: UnitOfWork) -> int:
    account = work.get(Account, command.account_id)
    account.deposit(command.amount)
    return account.balance


def transfer(command: Transfer, work: UnitOfWork) -> None:
    work.get(Account, command.target).deposit(command.amount)
    work.get(Account, command.source).withdraw(command.amount)


def deposit_each(command: DepositEach, work: UnitOfWork) -> list[Any]:
    def one(item: tuple[UUID, int]) -> int:
        account = work.get(Account, item[0])
        account.deposit(abs(item[1]))
        account.deposit(item[1])
        return account.balance

    return work.each(command.deposits, one)


def remind(command: Remind, work: UnitOfWork) -> None:
    work.schedule(Timer("remind", command.key, command.at))


def break_(command: Break, work: UnitOfWork) -> None:
    raise ZeroDivisionError("secret detail")


HANDLERS: Handlers = [
    handler(OpenAccount, open_account, loads=lambda c: [c.account_id]),
    handler(Deposit, deposit, loads=lambda c: [c.account_id]),
    handler(Transfer, transfer, loads=lambda c: [c.source, c.target]),
    handler(DepositEach, deposit_each),
    handler(Remind, remind),
    handler(Break, break_),
]
