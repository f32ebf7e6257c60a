"""That somebody saw personal data of a customer: recorded before it is shown, and never changed."""

from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event


class PiiView(Aggregate):
    """One look at personal data."""

    TOPIC = "identity.PiiView"

    class Viewed(InitialEvent):
        """`actor` was about to be shown these fields of a customer, for `purpose`."""

        TOPIC = "identity.PiiViewed"
        tenant: str
        customer_id: UUID
        fields: tuple[str, ...]
        actor: str
        purpose: str
        viewed_at: datetime

    @event(Viewed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        customer_id: UUID,
        fields: tuple[str, ...],
        actor: str,
        purpose: str,
        viewed_at: datetime,
    ) -> None:
        self.tenant = tenant
