"""Erasing a customer: what was known of the nodes is removed, and nothing is taken in for them any more."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id


class Erasure(Aggregate):
    """One erasure that identity asked for; its id is that of the case.

    Orders keep their amounts, under a random reference in place of the customer.
    """

    TOPIC = "tracking.Erasure"

    class Begun(InitialEvent):
        """From now on nothing is taken in for these nodes; their orders are those of `erased_ref`."""

        TOPIC = "tracking.ErasureBegun"
        tenant: str
        customer: UUID
        node_ids: tuple[UUID, ...]
        erased_ref: UUID
        began_at: datetime

    class Finished(Event):
        """Everything was removed: rows by table."""

        TOPIC = "tracking.ErasureFinished"
        customer: UUID
        removed: dict[str, int]
        finished_at: datetime

    @event(Begun)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        customer: UUID,
        node_ids: tuple[UUID, ...],
        erased_ref: UUID,
        began_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.customer = customer
        self.node_ids = node_ids
        self.erased_ref = erased_ref
        self.is_finished = False

    def finish(self, removed: Mapping[str, int], at: datetime) -> None:
        """Say so, once."""
        if not self.is_finished:
            self._finished(customer=self.customer, removed=dict(removed), finished_at=at)

    @event(Finished)
    def _finished(self, customer: UUID, removed: dict[str, int], finished_at: datetime) -> None:
        self.is_finished = True


class ErasedNode(Aggregate):
    """A node of a customer who was erased: what is reported of it is refused, for ever."""

    TOPIC = "tracking.ErasedNode"

    class Marked(InitialEvent):
        TOPIC = "tracking.NodeErased"
        tenant: str
        node: UUID

    @event(Marked)
    def __init__(self, id: UUID, tenant: str, node: UUID) -> None:
        self.tenant = tenant
        self.node = node


def erased_node_id(tenant: str, node: UUID) -> UUID:
    return natural_id(tenant, "erased_node", node)
