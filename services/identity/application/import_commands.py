"""Customers that another system of the brand knows already, brought in row by row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.identity.application.owners import canonical
from services.identity.application.resolving import Resolution, ResolveIdentity, Resolving, bring_to_hand, needed
from services.identity.application.vault import Vault
from services.identity.domain.errors import CustomerIdMismatch


@dataclass(frozen=True, slots=True)
class ImportCustomers:
    """Rows in their order, each a call whose `customer_id` need not be there yet; one that could not be read is its error."""

    rows: tuple[ResolveIdentity | DomainError, ...]


def import_customers(command: ImportCustomers, work: UnitOfWork, vault: Vault) -> Sequence[Resolution | DomainError]:
    """What became of each row, or why it was refused; a refused one changes nothing."""
    bring_to_hand(_readable(command), work, vault)
    return work.each(command.rows, lambda row: _import_row(row, work, vault))


def _import_row(row: ResolveIdentity | DomainError, work: UnitOfWork, vault: Vault) -> Resolution:
    """The row again is the same customer again; an id that nobody has is that of a new one.

    Raises what resolving raises, and CustomerIdMismatch when the identifiers lead to somebody else.
    """
    if isinstance(row, DomainError):
        raise row
    if row.customer_id is None or canonical(work, row.customer_id) is not None:
        return Resolving(row, work, vault).resolve()
    found = Resolving(replace(row, customer_id=None, new_customer_id=row.customer_id), work, vault).resolve()
    if found.customer_id != row.customer_id:
        raise CustomerIdMismatch(field="customer_id")
    return found


def _readable(command: ImportCustomers) -> list[ResolveIdentity]:
    return [it for it in command.rows if isinstance(it, ResolveIdentity)]


def import_handlers(vault: Vault) -> Handlers:
    return [
        handler(
            ImportCustomers,
            lambda command, work: import_customers(command, work, vault),
            loads=lambda command: needed(_readable(command)),
        ),
    ]
