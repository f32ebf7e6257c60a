"""The global control group: customers whom no marketing broadcast of the tenant reaches."""

from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import ValueOutOfRange

DEFAULT_BUCKETS = 500
LARGEST_BUCKETS = 5_000


class GlobalControl(Aggregate):
    """How many of the 10,000 buckets are kept out; 100 buckets are one percent."""

    TOPIC = "campaigns.GlobalControl"

    class Set(InitialEvent):
        TOPIC = "campaigns.GlobalControlSet"
        tenant: str
        buckets: int

    class Changed(Event):
        TOPIC = "campaigns.GlobalControlChanged"
        buckets: int

    @event(Set)
    def __init__(self, id: UUID, tenant: str, buckets: int) -> None:
        self.tenant = tenant
        self.buckets = buckets

    @staticmethod
    def id_of(tenant: str) -> UUID:
        return natural_id(tenant, "global_control")

    def change(self, buckets: int) -> None:
        if buckets != self.buckets:
            self._changed(buckets=buckets)

    @event(Changed)
    def _changed(self, buckets: int) -> None:
        self.buckets = buckets


def buckets_of(percent: float) -> int:
    """`percent` of the buckets; at most 50 %, in steps of a hundredth of a percent."""
    buckets = round(percent * 100)
    if not 0 <= buckets <= LARGEST_BUCKETS or abs(buckets - percent * 100) > 1e-6:
        raise ValueOutOfRange("0 to 50 in steps of 0.01", field="percent")
    return buckets
