"""The brand pyramid (spec TG-13): from awareness to advocates, and those who fell off it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.event_types import KNOWN, REFERRAL_SUCCEEDED
from services.tagging.domain.layers.view import COMPETITOR, NONE, View

LAYERS: Final = ("L1", "L2", "L3", "L4", "L5", "L6", "LAPSED", "OUT")
PYRAMID: Final = LAYERS[:6]
LOST: Final = frozenset({"LAPSED", "OUT"})

ACTIONS: Final = {
    "L1": "branding content",
    "L2": "targeted offer",
    "L3": "repurchase offer",
    "L4": "replenishment reminder",
    "L5": "VIP benefits",
    "L6": "referral incentive",
}
"""What a brand may do for whoever is in a layer."""


@dataclass(frozen=True, slots=True)
class PyramidParams:
    """Windows in days and purchase occasions of the layers."""

    awareness_days: int = 365
    consideration_days: int = 90
    lapsed_days: int = 365
    repeat_occasions: int = 2
    loyal_occasions: int = 3
    competitor_days: int = 365
    advocate_days: int = 365
    referrals: int = 1
    referral_events: tuple[str, ...] = (REFERRAL_SUCCEEDED,)

    def check(self) -> None:
        days = ("awareness_days", "consideration_days", "lapsed_days", "competitor_days", "advocate_days")
        rules.windows(self, *days)
        rules.increasing(self, "repeat_occasions", "loyal_occasions")
        if self.repeat_occasions < 2:
            raise rules.bad("repeat_occasions", "must be at least 2")
        rules.positive(self, "referrals")
        rules.event_types("referral_events.", self.referral_events, KNOWN)


def layer(view: View, params: PyramidParams) -> str:
    bought = len(view.occasions)
    if not bought:
        return _before_purchase(view, params)
    if not view.within(view.occasions[-1], params.lapsed_days):
        return "LAPSED"
    if bought < params.repeat_occasions:
        return "L3"
    if bought < params.loyal_occasions or view.within(view.last_of_type.get(COMPETITOR), params.competitor_days):
        return "L4"
    return "L6" if view.within(_last_referral(view, params), params.advocate_days) else "L5"


def moments(view: View, params: PyramidParams) -> Iterable[int]:
    ends = (
        (view.occasions[-1] if view.occasions else None, params.lapsed_days),
        (view.last_of_type.get(COMPETITOR), params.competitor_days),
        (_last_referral(view, params), params.advocate_days),
        (view.last_intent, params.consideration_days),
        (view.days[-1] if view.days else None, params.awareness_days),
    )
    return [day + days for day, days in ends if day is not None]


def _before_purchase(view: View, params: PyramidParams) -> str:
    if view.within(view.last_intent, params.consideration_days):
        return "L2"
    if not view.days:
        return NONE
    return "L1" if view.within(view.days[-1], params.awareness_days) else "OUT"


def _last_referral(view: View, params: PyramidParams) -> int | None:
    """The day up to whose window there are referrals enough."""
    days = view.days_of(frozenset(params.referral_events))
    return days[-params.referrals] if len(days) >= params.referrals else None
