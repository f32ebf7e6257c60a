"""What people ask to be forgotten: a case is opened, waits, begins, and ends when every service has said that it is done."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.due_times import Timer
from services.identity.application.attribute_commands import forget_attributes
from services.identity.application.consents import all_permissions
from services.identity.application.owners import canonical, owner_of, release, rules_of
from services.identity.application.uncredited_orders import Uncredited
from services.identity.application.vault import Vault
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.consent import opt_outs
from services.identity.domain.customer import Customer, UnlinkReason
from services.identity.domain.erasure import CaseState, ClosingReason, ErasureCase
from services.identity.domain.errors import ErasureCaseNotFound, ErasureOpen
from services.identity.domain.identifiers import LinkedIdentifier

ERASURE_DUE: Final = "erasure_due"
_LOOK_AGAIN: Final = timedelta(hours=1)

Wait = Callable[[Customer, UnitOfWork], str | None]
"""Says, as a code, what open business of a customer has to be finished first; None for nothing."""


def an_hour(tenant: str) -> timedelta:
    """How long everybody waits unless said otherwise."""
    return timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ErasureRules:
    """How long a tenant waits before it begins, and what may put it off."""

    grace: Callable[[str], timedelta] = an_hour
    waits: Sequence[Wait] = ()


@dataclass(frozen=True, slots=True)
class RequestErasure:
    """The customer of `node` wants to be forgotten; `verified_by` is who made sure of that, "" for nobody."""

    node: UUID
    legal_basis: str
    verified_by: str


@dataclass(frozen=True, slots=True)
class CancelErasure:
    """The customer wants to stay."""

    case_id: UUID


@dataclass(frozen=True, slots=True)
class BeginErasure:
    """The time of a case has come."""

    case_id: UUID


@dataclass(frozen=True, slots=True)
class RecordServiceErasure:
    """`service` says, at `position` of its log, that it removed what it had: rows by table."""

    case_id: UUID
    service: str
    position: int
    removed: Mapping[str, int]
    completed_at: datetime


def request_erasure(command: RequestErasure, work: UnitOfWork, rules: ErasureRules) -> ErasureCase:
    """Raises CustomerNotFound, CustomerErased, VerificationRequired and ErasureOpen."""
    customer = owner_of(work, command.node, "customer_id")
    parts = work.find_all(Customer, list(customer.nodes)).values()
    if any(it.erasure_case is not None for it in parts):
        raise ErasureOpen(field="customer_id")
    case = ErasureCase(work.new_id(), work.context.tenant, customer.id, command.legal_basis, work.now)
    due_at = work.now + rules.grace(work.context.tenant)
    case.verify(command.verified_by, due_at, work.now)
    work.add(case)
    customer.open_erasure(case.id, work.now)
    work.schedule(Timer(ERASURE_DUE, str(case.id), due_at))
    return case


def cancel_erasure(command: CancelErasure, work: UnitOfWork) -> ErasureCase:
    """Raises ErasureCaseNotFound and ErasureStarted."""
    case = work.find(ErasureCase, command.case_id)
    if case is None:
        raise ErasureCaseNotFound(field="case_id")
    if case.cancel(work.now):
        work.get(Customer, case.customer).close_erasure(case.id, work.now)
        work.unschedule(ERASURE_DUE, str(case.id))
    return case


def begin_erasure(command: BeginErasure, work: UnitOfWork, rules: ErasureRules) -> None:
    """Begin, unless open business of the person has to be finished first; a case that is over stays as it is."""
    case = work.find(ErasureCase, command.case_id)
    if case is None or case.state is not CaseState.VERIFIED:
        return
    requested = work.get(Customer, case.customer)
    customer = canonical(work, case.customer) or requested
    if customer.is_erased:
        case.close(ClosingReason.ALREADY_ERASED, work.now)
        requested.close_erasure(case.id, work.now)
        return
    waits = (it(customer, work) for it in rules.waits)
    open_business = next((it for it in waits if it is not None), None)
    if open_business is not None and work.now < case.latest_start:
        due_at = case.postpone(open_business, work.now + _LOOK_AGAIN, work.now)
        work.schedule(Timer(ERASURE_DUE, str(case.id), due_at))
        return
    customer.begin_erasure(case.id, work.now)
    case.begin(customer.id, tuple(customer.nodes), work.now)


def record_service_erasure(
    command: RecordServiceErasure, work: UnitOfWork, vault: Vault, uncredited: Uncredited
) -> None:
    """Note it once; when all services are done nothing is left but to destroy the keys and to let the identifiers go."""
    case = work.find(ErasureCase, command.case_id)
    if case is None or not case.acknowledge(command.service, command.position, command.removed, command.completed_at):
        return
    if not case.is_complete:
        return
    customer = work.get(Customer, case.customer)
    identifiers = list(customer.identifiers.values())
    release(work, customer, identifiers, UnlinkReason.ERASED, work.now)
    _suppress(work, customer, identifiers)
    for forget in _FORGET:
        forget(case.node_ids, work, vault)
    uncredited.forget(work, case.node_ids)
    vault.destroy(work, case.node_ids)
    customer.finish_erasure(case.id, work.now)
    case.complete(len(identifiers), len(case.node_ids), work.now)


def _suppress(work: UnitOfWork, customer: Customer, identifiers: Sequence[LinkedIdentifier]) -> None:
    """Keep under the hashes of what is strong what the customer said no to, so that who returns is not asked for it by a message."""
    refused, namespaces = opt_outs(all_permissions(work, customer.nodes)), rules_of(work).namespaces
    for it in identifiers if refused else ():
        if namespaces[it.namespace].strong:
            work.get(IdentifierClaim, it.claim_id(customer.tenant)).suppress(refused, work.now)


_FORGET: Final[Sequence[Callable[[Collection[UUID], UnitOfWork, Vault], None]]] = (forget_attributes,)
"""What parts of identity do about erased nodes, beside what the data keys of these nodes hold."""


def erasure_handlers(rules: ErasureRules, vault: Vault, uncredited: Uncredited) -> Handlers:
    """The handlers of the commands in this module."""
    return [
        handler(RequestErasure, lambda it, work: request_erasure(it, work, rules), loads=lambda it: (it.node,)),
        handler(CancelErasure, cancel_erasure, loads=lambda it: (it.case_id,)),
        handler(BeginErasure, lambda it, work: begin_erasure(it, work, rules), loads=lambda it: (it.case_id,)),
        handler(
            RecordServiceErasure,
            lambda it, work: record_service_erasure(it, work, vault, uncredited),
            loads=lambda it: (it.case_id,),
        ),
    ]
