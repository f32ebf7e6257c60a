"""Customers that another system of the brand knows already, brought in row by row, with what that system knows of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.identity.application.attribute_commands import fetch_attributes, upsert_attributes
from services.identity.application.attribute_upsert import Observation, UpsertAttributes
from services.identity.application.owners import canonical
from services.identity.application.resolving import Resolution, ResolveIdentity, Resolving, bring_to_hand, needed
from services.identity.application.vault import Vault
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.errors import CustomerIdMismatch


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One customer: a call whose `customer_id` need not be there yet, and what is known of the person."""

    call: ResolveIdentity
    observations: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportCustomers:
    """Rows in their order; one that could not be read is its error."""

    rows: tuple[ImportRow | DomainError, ...]


def import_customers(command: ImportCustomers, work: UnitOfWork, vault: Vault) -> Sequence[Resolution | DomainError]:
    """What became of each row, or why it was refused; a refused one changes nothing."""
    rows = [it if isinstance(it, DomainError) else _with_new_id(it, work) for it in command.rows]
    readable = [it for it in rows if isinstance(it, ImportRow)]
    bring_to_hand([it.call for it in readable], work, vault)
    observed = [it.call for it in readable if it.observations]
    if observed:
        fetch_attributes(work, vault, set(_nodes(observed, work)))
    return work.each(rows, lambda row: _import_row(row, work, vault))


def import_handlers(vault: Vault) -> Handlers:
    return [
        handler(
            ImportCustomers,
            lambda command, work: import_customers(command, work, vault),
            loads=lambda command: needed(it.call for it in command.rows if isinstance(it, ImportRow)),
        ),
    ]


def _with_new_id(row: ImportRow, work: UnitOfWork) -> ImportRow:
    """The row with the id of the customer if one is created, so that what is known can be looked up for all rows at once."""
    if row.call.customer_id is None and not row.observations:
        return row
    return replace(row, call=replace(row.call, new_customer_id=row.call.customer_id or work.new_id()))


def _nodes(calls: Sequence[ResolveIdentity], work: UnitOfWork) -> Iterator[UUID]:
    """The nodes to which what is known may come."""
    claims = work.find_all(IdentifierClaim, list(needed(calls)))
    yield from (it.node for it in claims.values())
    yield from (it.new_customer_id for it in calls if it.new_customer_id is not None)


def _import_row(row: ImportRow | DomainError, work: UnitOfWork, vault: Vault) -> Resolution:
    """The row again is the same customer again; an id that nobody has is that of a new one.

    Raises what resolving and upserting raise, and CustomerIdMismatch when the identifiers lead to somebody else.
    """
    if isinstance(row, DomainError):
        raise row
    call, id = row.call, row.call.customer_id
    there = id is not None and canonical(work, id) is not None
    found = Resolving(call if there else replace(call, customer_id=None), work, vault).resolve()
    if id is not None and not there and found.customer_id != id:
        raise CustomerIdMismatch(field="customer_id")
    if row.observations:
        upsert_attributes(UpsertAttributes(found.node_id, row.observations), work, vault)
    return found
