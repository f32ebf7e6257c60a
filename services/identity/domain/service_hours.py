"""When a brand works on what its customers need done: the hours in which the time to resolve a work order runs.

Wall-clock times follow spec 0.5: one that a change of the clocks skips moves forward by the gap, of one that comes twice the first is
meant. The time between two of them is what really passes.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import BadFormat, ValueOutOfRange

_DAY: Final = timedelta(days=1)
_MINUTES_OF_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Allowance:
    """Working time: `hours`, and `days` of as many hours as a day is open."""

    hours: int = 0
    days: int = 0


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """Open on `weekdays` (1 Monday to 7 Sunday) but `holidays`, from minute `opens` to minute `closes` of the day in `zone`."""

    zone: str
    weekdays: tuple[int, ...]
    opens: int
    closes: int
    holidays: tuple[date, ...] = ()

    @classmethod
    def of(
        cls, zone: str, weekdays: Collection[int], minutes: tuple[int, int], holidays: Collection[date] = ()
    ) -> "BusinessHours":
        """Hours as somebody gave them. Raises BadFormat for a zone nobody knows, and ValueOutOfRange for the rest."""
        if not zone_exists(zone):
            raise BadFormat("not an IANA time zone", field="service_hours.time_zone")
        if not weekdays or not set(weekdays) <= set(range(1, 8)):
            raise ValueOutOfRange("weekdays are 1 to 7", field="service_hours.weekdays")
        if not 0 <= minutes[0] < minutes[1] <= _MINUTES_OF_DAY:
            raise ValueOutOfRange("a day closes after it opens", field="service_hours.close_minute")
        return cls(zone, tuple(sorted(set(weekdays))), *minutes, tuple(sorted(set(holidays))))

    def due(self, since: datetime, allowance: Allowance) -> datetime:
        """When `allowance` is used up that begins to run at `since`; an instant in UTC at which it is open, or just closes."""
        left = timedelta(hours=allowance.hours, minutes=allowance.days * (self.closes - self.opens))
        holidays, since = frozenset(self.holidays), since.astimezone(UTC)
        day = since.astimezone(_zone(self.zone)).date()
        while True:
            if day.isoweekday() in self.weekdays and day not in holidays:
                begins, ends = max(since, self._instant(day, self.opens)), self._instant(day, self.closes)
                if left <= ends - begins:
                    return begins + left
                left -= max(ends - begins, timedelta())
            day += _DAY

    def _instant(self, day: date, minute: int) -> datetime:
        day, minute = (day + _DAY, 0) if minute == _MINUTES_OF_DAY else (day, minute)
        wall = datetime.combine(day, time(minute // 60, minute % 60), _zone(self.zone))
        return wall.astimezone(UTC)


DEFAULT_HOURS: Final = BusinessHours("Asia/Shanghai", (1, 2, 3, 4, 5), 9 * 60, 18 * 60)
"""Those of a tenant that set none."""


class ServiceHours(Aggregate):
    """The hours of one tenant."""

    TOPIC = "identity.ServiceHours"

    class Opened(InitialEvent):
        """The tenant sets its hours for the first time."""

        TOPIC = "identity.ServiceHoursOpened"
        tenant: str

    class Changed(Event):
        """The hours are these from now on."""

        TOPIC = "identity.ServiceHoursChanged"
        hours: BusinessHours
        changed_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.hours = DEFAULT_HOURS

    @classmethod
    def of_tenant(cls, tenant: str) -> "ServiceHours":
        return cls(service_hours_id(tenant), tenant)

    def change(self, hours: BusinessHours, at: datetime) -> None:
        """Work in these hours; to say so again is no news."""
        if hours != self.hours:
            self._changed(hours=hours, changed_at=at)

    @event(Changed)
    def _changed(self, hours: BusinessHours, changed_at: datetime) -> None:
        self.hours = hours


def service_hours_id(tenant: str) -> UUID:
    return natural_id(tenant, "service_hours")


def month_of(at: datetime, zone: str) -> date:
    """The first day of the month in which `at` lies in `zone`."""
    return at.astimezone(_zone(zone)).date().replace(day=1)


def zone_exists(zone: str) -> bool:
    """Whether `zone` names a zone of the IANA database."""
    try:
        _zone(zone)
    except (KeyError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=256)
def _zone(zone: str) -> ZoneInfo:
    return ZoneInfo(zone)
