"""Erasing a customer: their units stay in every count, under a reference that leads to nobody."""

from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event


class Erasure(Aggregate):
    """One erasure that identity asked for, which is done; its id is that of the case.

    `refs` has what stands for each node from now on; in the order of the nodes, so that who is the first of several stays so.
    """

    TOPIC = "campaigns.Erasure"

    class Completed(InitialEvent):
        """Everything known of the customer was removed or made anonymous: rows by table."""

        TOPIC = "campaigns.ErasureCompleted"
        tenant: str
        customer: UUID
        refs: dict[UUID, UUID]
        removed: dict[str, int]
        completed_at: datetime

    @event(Completed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        customer: UUID,
        refs: dict[UUID, UUID],
        removed: dict[str, int],
        completed_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.customer = customer
        self.refs = refs
        self.removed = removed
