"""When models that are run for everybody at once are run (spec TG-0, TG-7): on which local days, and at what time of them."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.layers.params import bad

MINUTES_OF_A_DAY: Final = 24 * 60


class Every(StrEnum):
    """How often. MONTHLY is on the first day of a month."""

    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


@dataclass(frozen=True, slots=True)
class Schedule:
    """At `minute` of the local day; `weekday` (1 Monday … 7 Sunday) is that of WEEKLY and 0 of others."""

    every: Every
    weekday: int = 0
    minute: int = 0

    def check(self) -> None:
        """Raises ModelParams."""
        days = range(1, 8) if self.every is Every.WEEKLY else range(1)
        if self.weekday not in days:
            raise bad("schedule.weekday", "a weekday from 1 to 7 goes with a week, and with nothing else")
        if not 0 <= self.minute < MINUTES_OF_A_DAY:
            raise bad("schedule.time", "not a time of day")

    def due(self, calendar: Calendar, day: date) -> datetime:
        """When it is time on a day: a time that is skipped is as much later, of one that comes twice it is the first."""
        at = datetime.combine(day, time(*divmod(self.minute, 60)), calendar.zone)
        return max(calendar.midnight(day.toordinal()), calendar.instant(at))

    def after(self, day: date) -> date:
        """The next day behind `day`."""
        match self.every:
            case Every.DAILY:
                return day + timedelta(1)
            case Every.WEEKLY:
                return day + timedelta((self.weekday - day.isoweekday() - 1) % 7 + 1)
        return date(day.year + day.month // 12, day.month % 12 + 1, 1)

    def first(self, calendar: Calendar, now: datetime) -> date:
        """The first day that is due after `now`."""
        day = self.after(date.fromordinal(calendar.day(now)) - timedelta(1))
        return day if self.due(calendar, day) > now else self.after(day)


NIGHTLY: Final = Schedule(Every.DAILY, minute=3 * 60)
"""Of a model of RFM, unless another one is given."""

MONTHLY: Final = Schedule(Every.MONTHLY)
"""Of a model of value, unless another one is given."""
