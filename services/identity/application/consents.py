"""What a customer consented to, for whoever is about to do what needs it, and what is left of it when the customer is erased."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from services.identity.domain.consent import (
    ConsentState,
    OptOut,
    Permissions,
    Purpose,
    Statement,
    permissions_id,
    strictest,
)
from services.identity.domain.customer import Customer
from services.identity.domain.errors import ConsentMissing


def require_consent(work: UnitOfWork, customer: Customer, purpose: Purpose) -> None:
    """Raises ConsentMissing unless the customer said yes to `purpose`, whatever the channel."""
    said = strictest(all_permissions(work, customer.nodes)).get((purpose, ""))
    if said is None or said.state is not ConsentState.GRANTED:
        raise ConsentMissing(purpose=purpose)


SUPPRESSION_LIST: Final = "SUPPRESSION_LIST"
"""Where a statement comes from that somebody else made, who is erased and had the same identifier."""


def permissions_of(work: UnitOfWork, node: UUID) -> Permissions:
    """Those of one node, opened where there are none."""
    tenant = work.context.tenant
    found = work.find(Permissions, permissions_id(tenant, node))
    if found is None:
        found = Permissions.of_node(tenant, node)
        work.add(found)
    return found


def all_permissions(work: UnitOfWork, nodes: Iterable[UUID]) -> Collection[Permissions]:
    """Those of several nodes, as far as there are any."""
    return work.find_all(Permissions, [permissions_id(work.context.tenant, it) for it in nodes]).values()


def withhold(work: UnitOfWork, customer: Customer, node: UUID, opt_outs: Iterable[OptOut], at: datetime) -> None:
    """Let `node` have said no to what it has an identifier's `opt_outs` for, unless the customer said anything of that."""
    said = {it for found in all_permissions(work, customer.nodes) for it in found.statements}
    for it in opt_outs:
        if (it.purpose, it.channel) not in said:
            no = Statement(it.purpose, it.channel, ConsentState.WITHDRAWN, "", SUPPRESSION_LIST, at)
            permissions_of(work, node).state(no)
