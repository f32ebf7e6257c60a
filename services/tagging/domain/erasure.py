"""Erasing a customer: what was known of the nodes is removed, and nothing is taken in for them any more."""

from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event


class Erasure(Aggregate):
    """One erasure that identity asked for, which is done; its id is that of the case."""

    TOPIC = "tagging.Erasure"

    class Completed(InitialEvent):
        """Everything known of the customer was removed: rows by table."""

        TOPIC = "tagging.ErasureCompleted"
        tenant: str
        customer: UUID
        removed: dict[str, int]
        completed_at: datetime

    @event(Completed)
    def __init__(self, id: UUID, tenant: str, customer: UUID, removed: dict[str, int], completed_at: datetime) -> None:
        self.tenant = tenant
        self.customer = customer
        self.removed = removed
