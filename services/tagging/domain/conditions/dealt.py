"""What leaves on dealings find (spec TG-4): messages, flows, membership and points."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from services.tagging.domain.conditions.dimensions import DEBT, MEMBER, MEMBER_DAYS, POINTS
from services.tagging.domain.conditions.facts import Facts
from services.tagging.domain.conditions.leaves import Delivered, FlowState, InFlow
from services.tagging.domain.dealings import FINISHED, Passage


def delivered(facts: Facts, leaf: Delivered, at: datetime) -> Sequence[datetime]:
    """When it was, in the window as of `at`."""
    instants = facts.delivered(leaf)
    start, end = facts.span(leaf.window, instants, at)
    return instants[start:end]


def passages(facts: Facts, leaf: InFlow, at: datetime) -> list[Passage]:
    """The ways through the flow that make the leaf hold at `at`."""
    meant = [it for it in facts.history.dealings.passages if leaf.flow in (None, it.flow)]
    if leaf.state is FlowState.IN:
        return [it for it in meant if it.entered_at <= at and (it.ended_at is None or it.ended_at > at)]
    return [it for it in meant if it.ended_at is not None and it.ended_at <= at and it.reason in FINISHED]


def turns(facts: Facts, leaf: InFlow, at: datetime) -> Iterator[datetime]:
    """When the customer, as far as is known, comes into the flow or leaves it after `at`."""
    for it in facts.history.dealings.passages:
        if leaf.flow in (None, it.flow):
            yield from (turn for turn in (it.entered_at, it.ended_at) if turn is not None and turn > at)


def of_membership(facts: Facts, key: str, at: datetime) -> Any:
    """The value of a dimension of membership; points of somebody who never had any are 0."""
    it, calendar = facts.history.dealings, facts.calendar
    if key in (MEMBER, MEMBER_DAYS):
        since = it.member_since if it.member_since is not None and it.member_since <= at else None
        if key == MEMBER:
            return since is not None
        return None if since is None else calendar.day(at) - calendar.day(since)
    if key == DEBT:
        return it.debt
    return it.points(at) if key == POINTS else it.pending(at)


def turns_of_points(facts: Facts, at: datetime) -> Iterator[datetime]:
    """When points come to be spent, or are gone, after `at`."""
    for it in facts.history.dealings.lots:
        if it.points:
            yield from (turn for turn in (it.active_at, it.expires_at) if turn is not None and turn > at)
