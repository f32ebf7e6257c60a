"""A page of a trail: its rows with the same numbers as in the whole trail, from no more of the rest than these numbers depend on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from services.tracking.domain.trail import (
    OUTSIDE_SESSIONS,
    RELOAD,
    SESSION_GAP,
    VIEWED,
    Behaviour,
    Trail,
    TrailEntry,
    family_of,
)


class FamilySessions(NamedTuple):
    """How many sessions there have been in one app or channel, and the last event of the last of them."""

    number: int
    last_at: datetime | None


class FirstView(NamedTuple):
    """When a page view was first reported, and with which content."""

    page_view_id: str
    content_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Before:
    """What happened before a page.

    `rows` is the length of the trail up to there, `sessions` are by family, and `views` the first views of the contents that
    `contents_needed` names, by time.
    """

    rows: int = 0
    sessions: Mapping[str, FamilySessions] = field(default_factory=dict)
    views: Sequence[FirstView] = ()


def contents_needed(of_views: Iterable[Behaviour]) -> set[str]:
    """The contents whose opens are counted for a page; `of_views` is all that is reported of the page views on it."""
    return {it.content_id for it in _first_views(of_views).values()}


def page_entries(page: Sequence[Behaviour], of_views: Sequence[Behaviour], before: Before) -> list[TrailEntry]:
    """The rows of a page in order of their place, as `Trail.entries` of the whole trail has them."""
    opens = _Opens()
    for view in before.views:
        opens.take(view)
    dwell = {it.behaviour.place: it.dwell_seconds for it in Trail(of_views).entries()}
    sessions = dict(before.sessions)
    entries: list[TrailEntry] = []
    for number, it in enumerate(page, before.rows + 1):
        is_view = it.event_type == VIEWED
        if is_view:
            opens.take(FirstView(it.page_view_id, it.content_id, it.occurred_at))
        entries.append(
            TrailEntry(
                behaviour=it,
                sequence=number,
                nth_open=opens.numbers[it.page_view_id] if is_view else 0,
                dwell_seconds=dwell.get(it.place, 0),
                session=_session(it, sessions),
            )
        )
    return entries


class _Opens:
    """Opens of contents, counted view by view: `numbers` is the open that each page view belongs to."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._contents: dict[str, tuple[int, datetime]] = {}

    def take(self, view: FirstView) -> None:
        if view.page_view_id in self.numbers:
            return
        opens, last_open = self._contents.get(view.content_id, (0, None))
        if last_open is None or view.at - last_open > RELOAD:
            opens += 1
            self._contents[view.content_id] = (opens, view.at)
        self.numbers[view.page_view_id] = opens


def _session(behaviour: Behaviour, sessions: dict[str, FamilySessions]) -> int:
    """The session of the next row; 0 for what belongs to none."""
    if behaviour.event_type in OUTSIDE_SESSIONS:
        return 0
    family, at = family_of(behaviour), behaviour.occurred_at
    number, last_at = sessions.get(family, FamilySessions(0, None))
    if last_at is None or at - last_at > SESSION_GAP:
        number += 1
    sessions[family] = FamilySessions(number, at)
    return number


def _first_views(behaviours: Iterable[Behaviour]) -> dict[str, Behaviour]:
    """The first view of each page view."""
    found: dict[str, Behaviour] = {}
    for it in behaviours:
        if it.event_type == VIEWED:
            first = found.setdefault(it.page_view_id, it)
            if it.place < first.place:
                found[it.page_view_id] = it
    return found
