"""Days as a tenant lives them: its zone turns instants into local dates and dates into midnights (spec 0.5)."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from services.tagging.domain.errors import UnknownTimeZone

DAYPARTS: Final = ("00–06", "06–12", "12–18", "18–24")
"""The quarters of a day by the clock on the wall."""


def daypart(local: datetime) -> str:
    """The quarter of the day in which wall-clock `local` is."""
    return DAYPARTS[local.hour // 6]


@dataclass(frozen=True, slots=True)
class Calendar:
    """The calendar of one zone."""

    zone: ZoneInfo
    _midnights: dict[int, datetime] = field(default_factory=dict, compare=False, repr=False)
    _last: list[Any] = field(default_factory=lambda: [None, 0], compare=False, repr=False)

    @classmethod
    def of(cls, name: str) -> "Calendar":
        """Raises UnknownTimeZone."""
        try:
            return cls(ZoneInfo(name))
        except (KeyError, ValueError, OSError):
            raise UnknownTimeZone("not an IANA time zone", field="time_zone") from None

    def day(self, at: datetime) -> int:
        """The local date of `at`, as a day number (date.toordinal)."""
        return at.astimezone(self.zone).toordinal()

    def today(self, now: datetime) -> int:
        """The same of an instant that is asked for again and again: the last one is remembered."""
        if self._last[0] != now:
            self._last[:] = now, self.day(now)
        return int(self._last[1])

    def midnight(self, day: int) -> datetime:
        """When local day number `day` begins, in UTC; where 00:00 is skipped, the first instant after the gap."""
        found = self._midnights.get(day)
        if found is None:
            local = datetime.combine(date.fromordinal(day), time(), self.zone)
            found = self._midnights[day] = local.astimezone(UTC)
        return found

    def instant(self, local: datetime) -> datetime:
        """A wall-clock time in the zone, in UTC."""
        return local.astimezone(UTC)

    def moment(self, day: int, minute: int) -> datetime:
        """When the clock shows a minute of local day number `day`, in UTC: where it does so twice, the first time; where it never does,
        as much later as the clock was put forward."""
        local = datetime.combine(date.fromordinal(day), time(minute // 60, minute % 60), self.zone)
        return local.astimezone(UTC)

    def hour_after(self, at: datetime) -> datetime:
        """When the next local hour begins after `at`, in UTC."""
        local = at.astimezone(self.zone)
        gone = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        found = (at - gone + timedelta(hours=1)).astimezone(UTC)
        beyond = found.astimezone(self.zone).minute  # where the clock is put forward or back by half an hour
        return found + timedelta(minutes=60 - beyond) if beyond else found

    def local(self, at: datetime, offset_minutes: int | None) -> datetime:
        """Wall-clock time of `at`: by the offset the device reported, else by the zone."""
        if offset_minutes is None:
            return at.astimezone(self.zone).replace(tzinfo=None)
        return (at.astimezone(UTC) + timedelta(minutes=offset_minutes)).replace(tzinfo=None)
