"""How often it is found anew who is in a set (spec TG-5, TG-6): with every change, or by the clock of the brand."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.tagging.domain.calendar import Calendar

_MOMENT: Final = timedelta(microseconds=1)


class Pace(StrEnum):
    """REALTIME: with every fact and every instant, HOURLY: as each local hour begins, DAILY: once on each local day."""

    REALTIME = "REALTIME"
    HOURLY = "HOURLY"
    DAILY = "DAILY"


@dataclass(frozen=True, slots=True)
class Refresh:
    """A pace; of a daily one, `minute` of the local day (0 = midnight)."""

    pace: Pace = Pace.REALTIME
    minute: int = 0

    @property
    def realtime(self) -> bool:
        return self.pace is Pace.REALTIME

    def following(self, calendar: Calendar, after: datetime) -> datetime:
        """The first instant after `after` at which the set is found anew; for REALTIME, the next moment."""
        match self.pace:
            case Pace.REALTIME:
                return after + _MOMENT
            case Pace.HOURLY:
                return calendar.hour_after(after)
        day = calendar.day(after)
        return next(at for it in (day, day + 1, day + 2) if (at := calendar.moment(it, self.minute)) > after)

    def reached(self, calendar: Calendar, at: datetime) -> datetime:
        """When what holds from `at` on is seen: the first such instant that is not before `at`."""
        return at if self.realtime else self.following(calendar, at - _MOMENT)


REALTIME: Final = Refresh()
NIGHTLY: Final = Refresh(Pace.DAILY, 3 * 60)
"""When it is compared whether sets that follow every change are right."""
