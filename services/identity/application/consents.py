"""What a customer consented to, for whoever is about to do what needs it."""

from chassis.commands import UnitOfWork
from services.identity.domain.consent import ConsentState, Permissions, Purpose, permissions_id, strictest
from services.identity.domain.customer import Customer
from services.identity.domain.errors import ConsentMissing


def require_consent(work: UnitOfWork, customer: Customer, purpose: Purpose) -> None:
    """Raises ConsentMissing unless the customer said yes to `purpose`, whatever the channel."""
    ids = [permissions_id(customer.tenant, it) for it in customer.nodes]
    said = strictest(work.find_all(Permissions, ids).values()).get((purpose, ""))
    if said is None or said.state is not ConsentState.GRANTED:
        raise ConsentMissing(purpose=purpose)
