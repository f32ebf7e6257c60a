"""Live boards (TR-13): which behaviours count on which board, and under what subject."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from services.tracking.domain.path_facts import text_of


class Board(StrEnum):
    """What somebody watches."""

    GUIDE = "GUIDE"
    CAMPAIGN = "CAMPAIGN"
    PRODUCT_SCAN = "PRODUCT_SCAN"
    OFFICIAL_ACCOUNT = "OFFICIAL_ACCOUNT"
    CONTENT = "CONTENT"


@dataclass(frozen=True, slots=True)
class Mark:
    """One behaviour on one board: the `metric` is its event type."""

    board: Board
    metric: str
    subject: str


_ADS: Final = frozenset({"ad_exposed", "ad_clicked"})
_FOLLOWING: Final = frozenset({"oa_subscribed", "oa_unsubscribed"})
_CONTENT: Final = frozenset(
    {
        "content_viewed",
        "content_liked",
        "content_commented",
        "content_shared",
        "content_forwarded",
        "button_clicked",
        "video_played",
    }
)
_READS_PROPERTIES: Final = _ADS | _FOLLOWING | {"product_code_scanned", "menu_clicked"}
LONGEST_SUBJECT: Final = 128


def marks(
    event_type: str, *, app: str, content_id: str, code_key: str, staff_code: str, properties: str
) -> Iterator[Mark]:
    """Where a behaviour counts; nothing without a subject does."""
    if staff_code:
        yield Mark(Board.GUIDE, event_type, staff_code[:LONGEST_SUBJECT])
    if code_key:
        yield Mark(Board.CAMPAIGN, event_type, code_key[:LONGEST_SUBJECT])
    if content_id and event_type in _CONTENT:
        yield Mark(Board.CONTENT, event_type, content_id[:LONGEST_SUBJECT])
    if event_type in _READS_PROPERTIES:
        given: Mapping[str, Any] = orjson.loads(properties)
        yield from _by_properties(event_type, app, given)


def _by_properties(event_type: str, app: str, given: Mapping[str, Any]) -> Iterator[Mark]:
    board = Board.OFFICIAL_ACCOUNT
    names: tuple[str, ...] = ("appid",)
    if event_type in _ADS:
        board, names = Board.CAMPAIGN, ("campaign",)
    elif event_type == "product_code_scanned":
        board, names = Board.PRODUCT_SCAN, ("sku", "code")
    elif event_type == "menu_clicked":
        names = ("menu_key",)
    subject = next((it for name in names if (it := text_of(given, name))), "")
    if event_type in _FOLLOWING:
        subject = subject or app
    if subject:
        yield Mark(board, event_type, subject[:LONGEST_SUBJECT])
