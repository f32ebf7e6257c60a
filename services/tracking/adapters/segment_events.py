"""What the calls and events of the Segment protocol are to us: one table, which docs/segment.md shows to people.

A row says which of our event types an event becomes, and which of our properties are filled from which of theirs, the first one
that is there. Everything else that is sent along is kept beside them. An event that is in no row and has the name of one of our types
is taken as that; every other becomes `custom.<name>`.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from services.tracking.domain.event_types import CUSTOM_PREFIX, PRESETS
from services.tracking.domain.intake import LONGEST_KEY

Properties = dict[str, Any]

# Their event | our type | ours:kind=theirs,or else,… (a row goes on where a line begins with |)
TABLE: Final = """
Products Searched              | search_performed       | keyword:text=query
Product Viewed                 | product_viewed         | sku:text=sku,product_id,productId category:text=category
Product Added                  | cart_added             | sku:text=sku,product_id,productId qty:int=quantity
Product Removed                | cart_removed           | sku:text=sku,product_id,productId qty:int=quantity
Product Added to Wishlist      | favourite_added        | sku:text=sku,product_id,productId
Product Removed from Wishlist  | favourite_removed      | sku:text=sku,product_id,productId
Wishlist Product Added to Cart | cart_added             | sku:text=sku,product_id,productId qty:int=quantity
Checkout Started               | checkout_started       | cart_value:number=value,total,revenue
Order Completed                | order_completed        | order_no:text=order_id,orderId currency:text=currency
|                                paid:number=total shipping:number=shipping lines:lines=products
Order Refunded                 | order_refunded         | order_no:text=order_id,orderId currency:text=currency
|                                amount:number=total,value,revenue refund_no:text=refund_id
Order Cancelled                | order_cancelled        | order_no:text=order_id,orderId
Promotion Viewed               | ad_exposed             | campaign:text=promotion_id,name placement:text=position
Promotion Clicked              | ad_clicked             | campaign:text=promotion_id,name
Product Shared                 | content_shared         | content_id:text=sku,product_id,url target:text=share_via
Product Reviewed               | product_feedback_given | sku:text=sku,product_id rating:number=rating
Video Playback Started         | video_played           | content_id:text=content_asset_id,video_id
Video Playback Completed       | video_played           | content_id:text=content_asset_id,video_id
Signed Up                      | registered             | method:text=method,type
Signed In                      | login                  | method:text=method,type
Signed Out                     | logout                 | method:text=method,type
"""

CALLS: Final[Mapping[str, str]] = {
    "page": "content_viewed",
    "screen": "content_viewed",
    "identify": "custom.identify",
    "alias": "custom.alias",
    "group": "custom.group",
}
"""Our type for the calls that have no event name."""

_LONGEST_NAME: Final = LONGEST_KEY - len(CUSTOM_PREFIX)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GAP: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Column:
    """One of our properties: how its value is read, and out of which of theirs."""

    name: str
    kind: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """What one event of theirs is to us."""

    name: str
    event_type: str
    columns: tuple[Column, ...] = ()


def translated(name: str, properties: Mapping[str, Any]) -> tuple[str, Properties]:
    """The type and the properties of what they call `name`."""
    row = row_of(name)
    ours = dict(properties)
    for column in row.columns:
        found = next((it for it in column.sources if ours.get(it) is not None), None)
        if found is not None:
            ours[column.name] = _READ[column.kind](ours.pop(found))
    if row.event_type == "order_completed" and "paid" not in ours:
        _add_up(ours)
    return row.event_type, ours


@lru_cache(maxsize=4096)
def row_of(name: str) -> Row:
    """The row of an event, in whatever case and with whatever between its words it is written."""
    word = _GAP.sub("_", _HUMP.sub("_", unicodedata.normalize("NFC", name[: LONGEST_KEY * 4])).lower()).strip("_")
    if word in _ROWS:
        return _ROWS[word]
    if word in PRESETS:
        return Row(name, word)
    return Row(name, f"{CUSTOM_PREFIX}{word[:_LONGEST_NAME]}" if word else "")


def _add_up(order: Properties) -> None:
    """What was paid, for those who give no total: revenue is without shipping and tax."""
    parts = [order.get(it) for it in ("revenue", "shipping", "tax")]
    numbers = [it for it in map(_number, parts) if type(it) in (int, float)]
    if type(_number(parts[0])) in (int, float):
        order["paid"] = round(sum(numbers), 6)


def _text(value: Any) -> Any:
    return str(value) if type(value) in (int, float) else value


def _whole(value: Any) -> Any:
    number = _number(value)
    return int(number) if type(number) is float and number.is_integer() else number


def _number(value: Any) -> Any:
    """The number in a text; anything else as it is, for the rules of the event type to refuse."""
    if not isinstance(value, str):
        return value
    try:
        found = float(value)
    except ValueError:
        return value
    return found if abs(found) < 1e15 else value


def _lines(value: Any) -> Any:
    """The positions of an order in our words."""
    if not isinstance(value, list):
        return value
    return [_line(it) if isinstance(it, dict) else it for it in value]


def _line(product: Mapping[str, Any]) -> Properties:
    sku = next((product[it] for it in ("sku", "product_id", "productId") if product.get(it) is not None), None)
    given = {"category": product.get("category"), "brand": product.get("brand")}
    return {
        "sku": _text(sku),
        **{name: it for name, it in given.items() if it is not None},
        "quantity": _whole(1 if product.get("quantity") is None else product["quantity"]),
        "price": _number(product.get("price")),
    }


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {"text": _text, "int": _whole, "number": _number, "lines": _lines}


def _parse(line: str) -> Row:
    name, event_type, columns = (it.strip() for it in line.split("|"))
    parts = [re.split("[:=]", it) for it in columns.split()]
    return Row(name, event_type, tuple(Column(it[0], it[1], tuple(it[2].split(","))) for it in parts))


ROWS: Final = tuple(map(_parse, TABLE.replace("\n|", " ").strip().splitlines()))
_ROWS: Final = {_GAP.sub("_", it.name.lower()): it for it in ROWS}
