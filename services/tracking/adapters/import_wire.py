"""Rows of imported files as events and as facts of orders, in the words of the contracts.

Nothing is refused here but what has no place in them: the rules for events and orders are those of every door.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Any, Final

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.errors import BadFormat, FieldRequired
from scrm.tracking.v1 import order_pb2, tracking_service_pb2
from scrm.tracking.v1.behaviour_pb2 import CampaignContext, EventContext, Identifier, TrackedEvent
from services.tracking.application.wire_values import timestamp

Fields = Mapping[str, Any]

NANO: Final = Decimal(10**9)
_CAMPAIGN: Final = ("code_key", "delivery_id", "share_id", "staff_code")


def event_of(fields: Fields, source: str) -> TrackedEvent:
    """One event. Without a `message_id` it is known by its content. Raises BadFormat, FieldRequired."""
    offset = fields.get("tz_offset_minutes")
    event = TrackedEvent(
        message_id=_text(fields, "message_id") or _digest(fields),
        source_key=source,
        event_type=_text(fields, "event_type"),
        identifiers=_identifiers(fields),
        authenticated=True,
        original_time=_time(fields),
        context=_place(fields),
        properties_json=_json(fields),
    )
    campaign = {it: _text(fields, it) for it in _CAMPAIGN}
    if any(campaign.values()):
        event.context.campaign.CopyFrom(CampaignContext(**campaign))
    if offset is not None:
        event.tz_offset_minutes = _whole(fields, "tz_offset_minutes")
    return event


def _place(fields: Fields) -> EventContext:
    return EventContext(
        channel=_text(fields, "channel"),
        app=_text(fields, "app"),
        page=_text(fields, "page"),
        content_id=_text(fields, "content_id"),
        page_view_id=_text(fields, "page_view_id"),
    )


def order_row_of(fields: Fields, source: str) -> tracking_service_pb2.OrderRow:
    """One fact of an order. Raises BadFormat, FieldRequired."""
    match _text(fields, "fact") or "paid":
        case "placed":
            return tracking_service_pb2.OrderRow(placed=_placement(fields, source))
        case "paid":
            return tracking_service_pb2.OrderRow(paid=_payment(fields, source))
        case "refunded":
            return tracking_service_pb2.OrderRow(refunded=_refund(fields, source))
    raise BadFormat("placed, paid or refunded", field="fact")


def _placement(fields: Fields, source: str) -> order_pb2.OrderPlacement:
    currency = _text(fields, "currency")
    found = order_pb2.OrderPlacement(
        source_key=source,
        order_no=_text(fields, "order_no"),
        customer=_customer(fields),
        place_time=_time(fields),
        lines=[_line(it, currency) for it in _lines(fields)],
        amount=_money(fields, "amount", currency),
        revision=_whole(fields, "revision"),
        coupons=_coupons(fields),
    )
    if "shipping" in fields:
        found.shipping.CopyFrom(_money(fields, "shipping", currency))
    return found


def _payment(fields: Fields, source: str) -> order_pb2.OrderPayment:
    currency = _text(fields, "currency")
    found = order_pb2.OrderPayment(
        source_key=source,
        order_no=_text(fields, "order_no"),
        customer=_customer(fields),
        pay_time=_time(fields),
        paid=_money(fields, "amount", currency),
        revision=_whole(fields, "revision"),
        guide_code=_text(fields, "guide_code"),
        store_code=_text(fields, "store_code"),
    )
    if "shipping" in fields:
        found.shipping.CopyFrom(_money(fields, "shipping", currency))
    return found


def _refund(fields: Fields, source: str) -> order_pb2.OrderRefund:
    return order_pb2.OrderRefund(
        source_key=source,
        order_no=_text(fields, "order_no"),
        refund_no=_text(fields, "refund_no"),
        amount=_money(fields, "amount", _text(fields, "currency")),
        refund_time=_time(fields),
    )


def _customer(fields: Fields) -> order_pb2.OrderCustomer:
    key = _text(fields, "assignment_key")
    return order_pb2.OrderCustomer(identifiers=_identifiers(fields), assignment_key=key)


def _lines(fields: Fields) -> list[Fields]:
    found = fields.get("lines", [])
    if not isinstance(found, list) or not all(isinstance(it, dict) for it in found):
        raise BadFormat("lines are a list of objects", field="lines")
    return found


def _coupons(fields: Fields) -> list[str]:
    found = fields.get("coupons", [])
    if not isinstance(found, list) or not all(isinstance(it, str) for it in found):
        raise BadFormat("coupons are a list of texts", field="coupons")
    return found


def _line(fields: Fields, currency: str) -> order_pb2.OrderLine:
    found = order_pb2.OrderLine(
        sku=_text(fields, "sku"),
        category=_text(fields, "category"),
        brand=_text(fields, "brand"),
        quantity=_whole(fields, "quantity") or 1,
        paid=_money(fields, "paid", currency),
    )
    if "list" in fields:
        found.list.CopyFrom(_money(fields, "list", currency))
    return found


def _identifiers(fields: Fields) -> list[Identifier]:
    """What a file of the brand's own says of who it was is taken for verified."""
    found = fields.get("identifiers", [])
    if not isinstance(found, list) or not all(isinstance(it, dict) for it in found):
        raise BadFormat("identifiers are a list of objects", field="identifiers")
    return [
        Identifier(
            namespace=_text(it, "namespace"), scope=_text(it, "scope"), value=_text(it, "value"), verified=it.get("verified", True) is True
        )
        for it in found
    ]  # fmt: skip


def _time(fields: Fields) -> Timestamp:
    """ISO 8601, in UTC where it names no zone."""
    given = _text(fields, "time")
    if not given:
        raise FieldRequired(field="time")
    try:
        at = datetime.fromisoformat(given)
        return timestamp(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise BadFormat("a time as ISO 8601 writes it", field="time") from None


def _money(fields: Fields, name: str, currency: str) -> Money:
    given = _text(fields, name)
    if not given:
        raise FieldRequired(field=name)
    try:
        units, nanos = divmod(int(Decimal(given) * NANO), 10**9)
    except (InvalidOperation, ValueError, OverflowError):
        raise BadFormat("an amount such as 12.50", field=name) from None
    if abs(units) >= 1 << 62:
        raise BadFormat("an amount such as 12.50", field=name)
    if units < 0 and nanos:
        units, nanos = units + 1, nanos - 10**9
    return Money(currency_code=currency, units=units, nanos=nanos)


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if type(value) in (int, float):
        return str(value)
    if not isinstance(value, str):
        raise BadFormat("a text", field=name)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadFormat("a text", field=name) from None
    return value


def _whole(fields: Fields, name: str) -> int:
    try:
        found = int(_text(fields, name) or "0")
    except ValueError:
        raise BadFormat("a whole number", field=name) from None
    if not -(1 << 31) <= found < 1 << 31:
        raise BadFormat("a whole number", field=name)
    return found


def _json(fields: Fields) -> bytes:
    properties = fields.get("properties")
    return orjson.dumps(properties) if properties is not None else b""


def _digest(fields: Fields) -> str:
    written = orjson.dumps(dict(fields), option=orjson.OPT_SORT_KEYS)
    return f"digest:{blake2b(written, digest_size=16).hexdigest()}"
