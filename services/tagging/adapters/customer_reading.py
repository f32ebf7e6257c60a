"""The customer that a caller asks about, by the id of any of its nodes."""

from uuid import UUID

import sqlalchemy as sa

from services.tagging.application.ports import Customer
from services.tagging.domain.errors import CustomerErased, CustomerNotFound
from services.tagging.read_models import directory, erasure


def customer_of(rows: sa.Connection, tenant: str, node: UUID) -> Customer:
    """The customer that a node belongs to. Raises CustomerErased, CustomerNotFound."""
    customer = directory.canonical(rows, tenant, (node,)).get(node)
    if customer is None:
        erased = erasure.erased_among(rows, tenant, (node,))
        raise CustomerErased(field="customer_id") if erased else CustomerNotFound(field="customer_id")
    return customer
