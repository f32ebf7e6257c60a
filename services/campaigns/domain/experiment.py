"""Experiment ids: each names one split of one audience for ever."""

from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event, natural_id


class Experiment(Aggregate):
    """An experiment id, used by one broadcast for ever: its seed must not split two audiences."""

    TOPIC = "campaigns.Experiment"

    class Registered(InitialEvent):
        TOPIC = "campaigns.ExperimentRegistered"
        tenant: str
        key: str
        broadcast: UUID

    @event(Registered)
    def __init__(self, id: UUID, tenant: str, key: str, broadcast: UUID) -> None:
        self.tenant = tenant
        self.key = key
        self.broadcast = broadcast

    @staticmethod
    def id_of(tenant: str, key: str) -> UUID:
        return natural_id(tenant, "experiment", key)
