"""SICAS (spec TG-14): sense, interest, connection, action, sharing, each seen by itself in the last 90 days."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.event_types import REFERRAL_SUCCEEDED
from services.tagging.domain.layers.view import MARK, NONE, NOT_BY_CUSTOMER, REVIEWS, SHARES, View, text

LAYERS: Final = ("S", "I", "C", "A", "S2")
LOST: Final = frozenset[str]()
FLAGS: Final = tuple(f"{MARK}{it}" for it in LAYERS)
"""Marks: beside the furthest stage, every stage that was seen."""

FOLLOWING: Final = ("oa_subscribed", "oa_unsubscribed")

_CONTACT: Final = frozenset(
    {"oa_subscribed", "wecom_friend_added", "group_joined", "registered", "consult_started", "form_submitted"}
)
_SHARED: Final = frozenset({*SHARES, *REVIEWS, REFERRAL_SUCCEEDED})


@dataclass(frozen=True, slots=True)
class SicasParams:
    """The window in days, and from how many seconds on a page it is of interest."""

    window_days: int = 90
    interest_seconds: int = 30

    def check(self) -> None:
        rules.windows(self, "window_days")
        rules.positive(self, "interest_seconds")


def layer(view: View, params: SicasParams) -> str:
    """The furthest stage."""
    seen = flags(view, params)
    return seen[-1] if seen else NONE


def marks(view: View, params: SicasParams) -> tuple[str, ...]:
    return tuple(f"{MARK}{it}" for it in flags(view, params))


def flags(view: View, params: SicasParams) -> list[str]:
    """The stages that were seen, in their order."""
    seen = [it for it, day in _last(view, params).items() if view.within(day, params.window_days)]
    if "S" not in seen and _follows(view):
        seen.insert(0, "S")
    return seen


def moments(view: View, params: SicasParams) -> Iterable[int]:
    return [day + params.window_days for day in _last(view, params).values() if day is not None]


def _last(view: View, params: SicasParams) -> dict[str, int | None]:
    """The last day of every stage."""
    interested = [view.last_of_letter.get("I"), view.last_of_letter.get("N"), _last_read(view, params)]
    return {
        "S": view.last_by_customer,
        "I": max((it for it in interested if it is not None), default=None),
        "C": view.last_of(_CONTACT),
        "A": view.occasions[-1] if view.occasions else None,
        "S2": view.last_of(_SHARED),
    }


def _last_read(view: View, params: SicasParams) -> int | None:
    for day, it in zip(reversed(view.days), reversed(view.behaviours), strict=True):
        if it.type not in NOT_BY_CUSTOMER and view.dwell.get(it.page_view, 0) >= params.interest_seconds:
            return day
    return None


def _follows(view: View) -> bool:
    """Whether the customer follows an official account: it did and did not leave since."""
    follows: dict[str, bool] = {}
    for it in view.behaviours:
        if it.type in FOLLOWING:
            follows[text(it, "appid")] = it.type == "oa_subscribed"
    return any(follows.values())
