"""Values of the domain as the contracts write them."""

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from scrm.tracking.v1 import order_pb2
from services.tracking.domain.intake import is_instant
from services.tracking.domain.money import major_units
from services.tracking.domain.order_facts import Line

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY: Final = 86_400


def timestamp(at: datetime) -> Timestamp:
    """An instant to the microsecond."""
    since = at - _EPOCH
    return Timestamp(seconds=since.days * _SECONDS_PER_DAY + since.seconds, nanos=since.microseconds * 1000)


def instant(at: Timestamp) -> datetime | None:
    """The instant to the microsecond; None if there is none."""
    if not is_instant(at.seconds, at.nanos):
        return None
    return _EPOCH + timedelta(seconds=at.seconds, microseconds=at.nanos // 1000)


def money(currency: str, minor: int) -> Money:
    units, nanos = major_units(currency, minor)
    return Money(currency_code=currency, units=units, nanos=nanos)


def order_line(line: Line, currency: str) -> order_pb2.OrderLine:
    return order_pb2.OrderLine(
        sku=line.sku,
        category=line.category,
        brand=line.brand,
        quantity=line.quantity,
        list=money(currency, line.listed),
        paid=money(currency, line.paid),
    )
