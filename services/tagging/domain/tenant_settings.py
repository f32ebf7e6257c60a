"""What a tenant decided for all models, tags and segments."""

from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import DEFAULT_LIMITS, Limits

DEFAULT_ZONE = "UTC"
DEFAULT_CURRENCY = "USD"


def settings_id(tenant: str) -> UUID:
    return natural_id(tenant, "tagging_settings")


class TenantSettings(Aggregate):
    """Zone and currency of one tenant, from the first time they are set."""

    TOPIC = "tagging.TenantSettings"

    class Opened(InitialEvent):
        TOPIC = "tagging.TenantSettingsOpened"
        tenant: str

    class Updated(Event):
        TOPIC = "tagging.TenantSettingsUpdated"
        time_zone: str
        currency: str
        at: datetime

    class ConditionLimitsSet(Event):
        TOPIC = "tagging.TenantConditionLimitsSet"
        leaves: int
        depth: int
        at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.time_zone = DEFAULT_ZONE
        self.currency = DEFAULT_CURRENCY
        self.updated_at: datetime | None = None
        self.limits = DEFAULT_LIMITS

    def update(self, time_zone: str, currency: str, at: datetime) -> bool:
        """Set both; whether anything changed. Raises UnknownTimeZone."""
        Calendar.of(time_zone)
        if self.updated_at and (time_zone, currency) == (self.time_zone, self.currency):
            return False
        self._updated(time_zone=time_zone, currency=currency, at=at)
        return True

    @event(Updated)
    def _updated(self, time_zone: str, currency: str, at: datetime) -> None:
        self.updated_at = at
        self.time_zone = time_zone
        self.currency = currency

    def limit_conditions(self, leaves: int, depth: int, at: datetime) -> bool:
        """Say how large conditions may be; whether that changed anything."""
        if (leaves, depth) == (self.limits.leaves, self.limits.depth):
            return False
        self._condition_limits_set(leaves=leaves, depth=depth, at=at)
        return True

    @event(ConditionLimitsSet)
    def _condition_limits_set(self, leaves: int, depth: int, at: datetime) -> None:
        self.limits = Limits(leaves=leaves, depth=depth)
