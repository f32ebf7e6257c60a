"""What the customer ordered, and when the next order is to be expected."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp
from services.identity.domain.purchases import Rhythm
from services.identity.read_models.profile.orders import orders_of, status_of

LATEST: Final = 10
MOST_INTERVALS: Final = 100


def read(rows: sa.Connection, asked: Asked) -> pb.OrdersSection:
    found = orders_of(rows, asked.nodes)
    rhythm = rhythm_of(found, asked.zone)
    return pb.OrdersSection(
        orders=len(found),
        occasions=len(rhythm.occasions),
        net=[money(it, currency) for currency, it in sorted(amounts(found).items())],
        refunded=[money(it, currency) for currency, it in sorted(amounts(found, "refunded").items()) if it],
        intervals=rhythm.intervals[-MOST_INTERVALS:],
        cycle_days=rhythm.cycle_days,
        last_date=_day(rhythm.last),
        next_expected_date=_day(rhythm.next_expected),
        latest=[_look(it) for it in found[:LATEST]],
        time_zone=asked.zone.key,
    )


def rhythm_of(orders: Sequence[Any], zone: ZoneInfo) -> Rhythm:
    """The rhythm of what was paid and not given back."""
    return Rhythm.of(it.paid_at.astimezone(zone).date() for it in orders if it.paid_at is not None and it.net)


def amounts(orders: Sequence[Any], name: str = "net") -> dict[str, Decimal]:
    """The sum of an amount of the orders, by currency."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for it in orders:
        amount = getattr(it, name)
        if it.currency and amount is not None:
            found[it.currency] += amount
    return found


def money(amount: Decimal, currency: str) -> Money:
    """An amount on the wire; never negative here."""
    units = int(amount)
    return Money(currency_code=currency, units=units, nanos=int((amount - units) * 1_000_000_000))


def _look(row: Any) -> pb.OrderLook:
    return pb.OrderLook(
        order_id=str(row.order_id),
        order_no=row.order_no or "",
        source_key=row.source or "",
        status=status_of(row),
        place_time=timestamp(row.placed_at),
        pay_time=timestamp(row.paid_at),
        net=money(row.net, row.currency) if row.net is not None and row.currency else None,
        refunded=money(row.refunded, row.currency) if row.refunded and row.currency else None,
    )


def _day(day: date | None) -> Date | None:
    return None if day is None else Date(year=day.year, month=day.month, day=day.day)


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_ORDERS, "orders", ("tracking",), read)
