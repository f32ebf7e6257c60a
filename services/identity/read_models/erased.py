"""What the log says of erased nodes, for read models that have to let go of them."""

from collections.abc import Sequence
from uuid import UUID

from chassis.log import Recorded
from services.identity.domain.customer import Customer


def erased_in(items: Sequence[Recorded]) -> list[tuple[str, UUID]]:
    """The nodes that are erased in a stretch of the log, with their tenants."""
    return [(it.tenant, node) for it in items if isinstance(it.event, Customer.Erased) for node in it.event.node_ids]
