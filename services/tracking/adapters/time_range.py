"""The time that statistics are asked for: up to 400 days."""

from datetime import datetime, timedelta
from typing import Any, Final

from chassis.errors import ValueOutOfRange
from services.tracking.adapters.order_wire import required_instant

LONGEST_RANGE: Final = timedelta(days=400)


def time_range(request: Any) -> tuple[datetime, datetime]:
    """`start_time` and `end_time` of a request. Raises OUT_OF_RANGE, BadFormat."""
    start = required_instant(request.start_time, "start_time")
    end = required_instant(request.end_time, "end_time")
    if end < start or end - start > LONGEST_RANGE:
        raise ValueOutOfRange("at most 400 days", field="end_time")
    return start, end
