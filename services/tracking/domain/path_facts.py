"""What the purchase path of a customer is made of (TR-10): behaviours that are steps on it, and orders."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson

from services.tracking.domain.trail import Behaviour

UNKNOWN: Final = "UNKNOWN"
"""The category of what nobody can tell the category of."""


class Step(StrEnum):
    """The nodes of the path, in their canonical order."""

    NEED_LEARNING = "NEED_LEARNING"
    BROWSE = "BROWSE"
    SEARCH = "SEARCH"
    VIEW_PRODUCT = "VIEW_PRODUCT"
    FAVOURITE = "FAVOURITE"
    ADD_TO_CART = "ADD_TO_CART"
    COMPARE_PRODUCT = "COMPARE_PRODUCT"
    COMPARE_CHANNEL = "COMPARE_CHANNEL"
    PLACE_ORDER = "PLACE_ORDER"
    HESITATE = "HESITATE"
    PAY = "PAY"
    RECEIVE = "RECEIVE"
    REVIEW = "REVIEW"
    REPURCHASE = "REPURCHASE"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS: Final = {step: rank for rank, step in enumerate(Step)}

_PLAIN: Final[Mapping[str, Step]] = {
    "consult_started": Step.NEED_LEARNING,
    "livestream_entered": Step.BROWSE,
    "search_performed": Step.SEARCH,
    "product_viewed": Step.VIEW_PRODUCT,
    "favourite_added": Step.FAVOURITE,
    "cart_added": Step.ADD_TO_CART,
    "review_submitted": Step.REVIEW,
    "order_reviewed": Step.REVIEW,
    "product_feedback_given": Step.REVIEW,
}
_LEARNED_FROM: Final = frozenset({"content_viewed", "video_played"})
_COMPARED: Final = "price_compared"
_MENU: Final = "menu_clicked"

NEED_CATEGORY: Final = frozenset({*_LEARNED_FROM, _MENU})
"""The event types that are steps only where they name a category of products."""

PATH_TYPES: Final = tuple(sorted({*_PLAIN, *NEED_CATEGORY, _COMPARED}))
"""The event types that may be steps."""

Place = tuple[datetime, datetime, str]


class PathFact(NamedTuple):
    """A behaviour that is a step; `category` is empty where it names none, `brand_search` a search for a brand."""

    node: UUID
    at: datetime
    received_at: datetime
    key: str
    step: Step
    category: str = ""
    sku: str = ""
    brand_search: bool = False

    @property
    def place(self) -> Place:
        """What facts are sorted by; unique within a customer."""
        return self.at, self.received_at, self.key


class OrderFact(NamedTuple):
    """An order as far as it is known; `lines` are pairs of SKU and category, `net` is in minor units."""

    id: UUID
    node: UUID
    placed_at: datetime
    lines: tuple[tuple[str, str], ...] = ()
    paid_at: datetime | None = None
    net: int = 0
    received_at: datetime | None = None
    cancelled_at: datetime | None = None

    @property
    def given_up_at(self) -> datetime | None:
        """When it was cancelled, for good: a payment takes that back."""
        return None if self.paid_at else self.cancelled_at


def path_fact(behaviour: Behaviour) -> PathFact | None:
    """The step that a behaviour is; None if it is none."""
    if behaviour.event_type not in _TYPES:
        return None
    properties: dict[str, Any] = orjson.loads(behaviour.properties)
    category = text_of(properties, "category")
    step = _step(behaviour.event_type, properties, category)
    if step is None:
        return None
    return PathFact(
        node=behaviour.node,
        at=behaviour.occurred_at,
        received_at=behaviour.received_at,
        key=f"{behaviour.source_key}/{behaviour.message_id}",
        step=step,
        category=category,
        sku=text_of(properties, "sku"),
        brand_search=properties.get("brand_word") is True,
    )


def text_property(behaviour: Behaviour, name: str) -> str:
    """A property that is a text, declared for the type of the event or not; empty if there is none."""
    return text_of(orjson.loads(behaviour.properties), name)


_TYPES: Final = frozenset(PATH_TYPES)


def _step(event_type: str, properties: Mapping[str, Any], category: str) -> Step | None:
    if event_type in _LEARNED_FROM:
        return Step.NEED_LEARNING if category else None
    if event_type == _MENU:
        return Step.BROWSE if category else None
    if event_type == _COMPARED:
        return Step.COMPARE_CHANNEL if properties.get("vs") == "channel" else Step.COMPARE_PRODUCT
    return _PLAIN[event_type]


def text_of(properties: Mapping[str, Any], name: str) -> str:
    """A property, or one that the type of the event does not declare."""
    extra = properties.get("extra")
    found = properties.get(name) or (extra.get(name) if isinstance(extra, dict) else None)
    return found if isinstance(found, str) else ""
