"""A brand in tests: calls that come in, who they turn out to be, and what is recorded of it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from google.protobuf.message import Message

from chassis.aggregate import Aggregate, Event
from chassis.clock import ReplayClock
from chassis.commands import CommandBus, Effect, Unit
from chassis.context import Call, Context
from chassis.errors import DomainError
from chassis.key_file import KeyFile
from chassis.log import EventStore, Recorded
from chassis.testing import recorded
from chassis.unit_of_work import replay
from services.identity.application.commands import BatchResolve
from services.identity.application.credit_commands import CreditOrder, ReduceCredit, take_account
from services.identity.application.erasure_commands import (
    BeginErasure,
    CancelErasure,
    ErasureRules,
    RecordServiceErasure,
    RequestErasure,
    Wait,
)
from services.identity.application.handlers import handlers
from services.identity.application.link_commands import LinkIdentifier, UnlinkIdentifier
from services.identity.application.merge_commands import (
    Disposition,
    MergeCustomers,
    RevokeNeverMerge,
    SetNeverMerge,
    Side,
    UnmergeCustomer,
    Unmerged,
)
from services.identity.application.published_events import publish
from services.identity.application.resolving import Resolution, ResolveIdentity
from services.identity.application.uncredited_orders import Uncredited
from services.identity.application.vault import KeyWrap, Vault
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.domain.erasure import SERVICES, ErasureCase
from services.identity.domain.identifiers import DropReason, GivenIdentifier, Identifier, IdentifierReader
from services.identity.domain.merging import Evidence
from services.identity.domain.sealing import DataKey, Place, Sealed
from tests.identity.keys import key_tables, stored_keys
from tests.identity.uncredited import order_tables

MIGRATIONS = Path(__file__).parents[2] / "services" / "identity" / "migrations"
ROOT = b"a root key of 32 bytes for tests"
ROOT_KEY = KeyFile("1", {"1": ROOT})
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
GRACE = timedelta(hours=1)
SECRET = b"a secret of 32 bytes for tests.."

A = TypeVar("A", bound=Aggregate)
E = TypeVar("E", bound=Event)
Given = tuple[str, str] | GivenIdentifier


class Brand:
    """One tenant of identity on `store`; what it reads back comes from the log, not from a cache."""

    def __init__(self, store: EventStore, tenant: str = "acme") -> None:
        self.tenant = tenant
        self.clock = ReplayClock(NOON)
        self.wrap = KeyWrap(ROOT_KEY)
        self.vault = Vault(self.wrap, key_tables(store))
        self.waits: list[Wait] = []
        erasure = ErasureRules(lambda tenant: GRACE, self.waits)
        self.uncredited = Uncredited(order_tables(store))
        self.bus = CommandBus(store, self.clock, handlers(self.vault, order_tables(store), erasure))
        self.reader = IdentifierReader(SECRET)

    def call(self, *identifiers: Given, **details: Any) -> ResolveIdentity:
        """A call with identifiers like `("phone", "+8613800000001")`."""
        given = [it if isinstance(it, GivenIdentifier) else GivenIdentifier(*it) for it in identifiers]
        return ResolveIdentity(self.reader.read(self.tenant, given), **details)

    def resolve(self, *identifiers: Given, request_id: str | None = None, **details: Any) -> Resolution:
        found: Resolution = self.bus.execute_now(self.call(*identifiers, **details), self.context(request_id))
        return found

    def batch(self, *calls: ResolveIdentity | DomainError) -> Sequence[Resolution | DomainError]:
        found: Sequence[Resolution | DomainError] = self.bus.execute_now(BatchResolve(calls), self.context())
        return found

    def merge(self, survivor: UUID, loser: UUID, *, by_steward: bool = False) -> UUID:
        """Say that the two are one person; the id of the merge."""
        evidence = Evidence.STEWARD if by_steward else Evidence.UNSPECIFIED
        return self.do(MergeCustomers(survivor, loser, "SAME_PERSON", evidence)).merge_id  # type: ignore[no-any-return]

    def unmerge(self, merge_id: UUID, *dispositions: tuple[Given, Side]) -> Unmerged:
        """Say that the two of a merge are two persons; identifiers in `dispositions` go to the side that is named."""
        chosen = tuple(Disposition(self.identifier(it), side) for it, side in dispositions)
        found: Unmerged = self.do(UnmergeCustomer(merge_id, chosen, "TWO_PERSONS"))
        return found

    def link(self, node: UUID, given: Given) -> Customer:
        found: Customer = self.do(LinkIdentifier(node, self.identifier(given)))
        return found

    def unlink(self, node: UUID, given: Given) -> Customer:
        found: Customer = self.do(UnlinkIdentifier(node, self.identifier(given)))
        return found

    def keep_apart(self, one: UUID, other: UUID) -> None:
        self.do(SetNeverMerge(one, other))

    def allow_reunion(self, one: UUID, other: UUID) -> None:
        self.do(RevokeNeverMerge(one, other))

    def request_erasure(self, node: UUID, verified_by: str = "staff/7") -> ErasureCase:
        found: ErasureCase = self.do(RequestErasure(node, "PIPL_47", verified_by))
        return found

    def cancel_erasure(self, case_id: UUID) -> ErasureCase:
        found: ErasureCase = self.do(CancelErasure(case_id))
        return found

    def begin_erasure(self, case_id: UUID) -> ErasureCase:
        """What the timer of the case does."""
        self.do(BeginErasure(case_id))
        return self.case(case_id)

    def acknowledge(self, case_id: UUID, service: str, **removed: int) -> None:
        """What the consumer does when `service` says that it is done."""
        self.do(RecordServiceErasure(case_id, service, 7, removed, self.clock.now()))

    def erase(self, node: UUID) -> ErasureCase:
        """From the request to the end."""
        case = self.request_erasure(node)
        self.begin_erasure(case.id)
        for service in SERVICES:
            self.acknowledge(case.id, service)
        return self.case(case.id)

    def case(self, case_id: UUID) -> ErasureCase:
        case = self._load(ErasureCase, case_id)
        assert case is not None
        return case

    def opened(self, node: UUID, field: str, sealed: Sealed) -> str | None:
        """What was sealed as `field` of `node`; None if that is erased."""
        key = self.data_key(node)
        return DataKey(key).open(sealed, Place(self.tenant, node, field)) if key else None

    def data_key(self, node: UUID) -> bytes | None:
        """The key behind everything sealed for `node`, as it is stored now; None if there is none, or none any more."""
        stored = stored_keys(self.bus.store, self.tenant, [node]).get(node)
        return self.wrap.unwrap(self.tenant, node, stored) if stored else None

    def do(self, command: Any) -> Any:
        return self.bus.execute_now(command, self.context())

    def credit(self, command: CreditOrder | ReduceCredit) -> None:
        """Take account of an order as if tracking had just told of it."""
        change = Effect(lambda work: take_account(command, work, self.uncredited))
        (outcome,) = self.bus.run_now(Unit([(self.context(), change)]))
        if outcome.error is not None:
            raise outcome.error

    def identifier(self, given: Given) -> Identifier | None:
        """What a call with this identifier brings; None for one that tells nobody."""
        return self.reader.read_one(
            self.tenant, given if isinstance(given, GivenIdentifier) else GivenIdentifier(*given)
        )

    def context(self, request_id: str | None = None) -> Context:
        call = Call("ResolveIdentity", request_id, request_id.encode()) if request_id else None
        return Context(self.tenant, "test", call=call)

    def owner(self, namespace: str, value: str) -> UUID | None:
        """The customer who has the identifier; None if nobody has."""
        claim = self._load(IdentifierClaim, self._claim_id(namespace, value))
        return self.customer(claim.node).id if claim is not None and claim.is_claimed else None

    def claim(self, namespace: str, value: str) -> IdentifierClaim:
        claim = self._load(IdentifierClaim, self._claim_id(namespace, value))
        assert claim is not None
        return claim

    def customer(self, node: UUID) -> Customer:
        """The customer to whom `node` belongs."""
        customer = self._load(Customer, node)
        assert customer is not None
        return self.customer(customer.merged_into) if customer.merged_into else customer

    def customers(self) -> list[Customer]:
        """Everybody there is now."""
        created = [it.originator_id for it in self.events(Customer.Registered)]
        found = (self._load(Customer, id) for id in created)
        return [it for it in found if it is not None and it.merged_into is None]

    def events(self, kind: type[E], after: int = 0) -> list[E]:
        return [it.event for it in self.recorded(after) if isinstance(it.event, kind)]

    def recorded(self, after: int = 0) -> list[Recorded]:
        """Everything this tenant has recorded after position `after`."""
        return [it for it in recorded(self.bus, after) if it.tenant == self.tenant]

    def published(self, name: str, after: int = 0) -> list[Message]:
        """The messages of that name which other services were told."""
        messages = [message for it in self.recorded(after) for message in publish(it) or ()]
        return [it for it in messages if it.DESCRIPTOR.name == name]

    def loaded(self, kind: type[A], id: UUID) -> A | None:
        """The aggregate as stored."""
        return self._load(kind, id)

    def _claim_id(self, namespace: str, value: str) -> UUID:
        identifier = self.reader.read_one(self.tenant, GivenIdentifier(namespace, value))
        assert identifier is not None
        return identifier.claim_id

    def _load(self, kind: type[A], id: UUID) -> A | None:
        stream = self.bus.store.load([id]).get(id)
        aggregate = replay(stream) if stream else None
        assert aggregate is None or isinstance(aggregate, kind)
        return aggregate


def refused(brand: Brand, error: type[DomainError], attempt: Callable[[], object]) -> None:
    """`attempt` is refused with that error, and nothing is recorded."""
    before = brand.bus.store.head()
    with pytest.raises(error):
        attempt()
    assert brand.bus.store.head() == before


def drops(resolution: Resolution | DomainError) -> list[tuple[str, DropReason]]:
    assert isinstance(resolution, Resolution)
    return [(it.namespace, it.reason) for it in resolution.dropped]


def phone(number: int) -> tuple[str, str]:
    return "phone", f"+86138{number:08}"


def unionid(number: int) -> tuple[str, str]:
    return "wechat_unionid", f"unionid-{number:020}"


def anonymous(name: str) -> tuple[str, str]:
    return "anonymous_id", name


def device(name: str) -> tuple[str, str]:
    return "device_id", name


def member(number: int) -> tuple[str, str]:
    return "member_no", f"MEMBER-{number}"


def email(name: str) -> tuple[str, str]:
    return "email", f"{name}@example.com"


def verified(given: tuple[str, str]) -> GivenIdentifier:
    return GivenIdentifier(*given, verified=True)
