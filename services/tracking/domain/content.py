"""Content that people read, watch and play (TR-6), and what came of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tracking.domain.errors import DuplicateButton
from services.tracking.domain.trail import RELOAD

COMPLETE_PERCENT: Final = 90
"""So much of a page has been scrolled through by who has read it: pages end in what nobody reads."""


class ContentKind(StrEnum):
    """What it is."""

    H5 = "H5"
    VIDEO = "VIDEO"
    GAME = "GAME"
    ARTICLE = "ARTICLE"
    MINIPROGRAM = "MINIPROGRAM"


@dataclass(frozen=True, slots=True)
class Button:
    """Something to click; who clicks one with `intent` means to buy."""

    button_id: str
    label: str
    intent: bool = False


@dataclass(frozen=True, slots=True)
class ContentDesign:
    """What is said of a content."""

    kind: ContentKind
    title: str
    topics: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    buttons: tuple[Button, ...] = ()

    def check(self) -> None:
        """Raise DuplicateButton."""
        if len({it.button_id for it in self.buttons}) < len(self.buttons):
            raise DuplicateButton(field="content.buttons")


class Content(Aggregate):
    """One content, known by the id that its pages report."""

    TOPIC = "tracking.Content"

    class Registered(InitialEvent):
        TOPIC = "tracking.ContentRegistered"
        tenant: str
        content_id: str
        design: ContentDesign

    class Changed(Event):
        """Something else is said of it from now on."""

        TOPIC = "tracking.ContentChanged"
        content_id: str
        design: ContentDesign

    @event(Registered)
    def __init__(self, id: UUID, tenant: str, content_id: str, design: ContentDesign) -> None:
        self.tenant = tenant
        self.content_id = content_id
        self.design = design

    def change(self, design: ContentDesign) -> None:
        if design != self.design:
            self._changed(self.content_id, design)

    @event(Changed)
    def _changed(self, content_id: str, design: ContentDesign) -> None:
        self.design = design


@dataclass(frozen=True, slots=True)
class View:
    """One loading of a page by a customer."""

    customer: UUID
    at: datetime
    dwell_seconds: int
    percent: float


@dataclass(frozen=True, slots=True)
class Reading:
    """How a content was read; the seconds are of an open, on average and in the middle (the lower of two)."""

    page_views: int
    viewers: int
    opens: int
    average_dwell: float
    median_dwell: int
    completions: int


def reading_of(views: Iterable[View]) -> Reading:
    """Sum up the views of one content; one within 10 s of the same customer's open before is part of that open (TR-3)."""
    opened: dict[UUID, datetime] = {}
    dwell: list[int] = []
    latest: dict[UUID, int] = {}
    completed: set[UUID] = set()
    count = 0
    for it in sorted(views, key=lambda it: it.at):
        count += 1
        before = opened.get(it.customer)
        if before is None or it.at - before > RELOAD:
            opened[it.customer] = it.at
            latest[it.customer] = len(dwell)
            dwell.append(0)
        dwell[latest[it.customer]] += it.dwell_seconds
        if it.percent >= COMPLETE_PERCENT:
            completed.add(it.customer)
    dwell.sort()
    average = sum(dwell) / len(dwell) if dwell else 0.0
    median = dwell[(len(dwell) + 1) // 2 - 1] if dwell else 0
    return Reading(count, len(opened), len(dwell), average, median, len(completed))


def content_key(tenant: str, content_id: str) -> UUID:
    """The id of the one content with this id of its own."""
    return natural_id(tenant, "content", content_id)
