"""How active a customer is (spec TG-8): weighted behaviours of the last 90 days that fade by half in 14."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.event_types import KNOWN, PURCHASE, REFERRAL_SUCCEEDED
from services.tagging.domain.layers.view import NONE, NOT_BY_CUSTOMER, REVIEWS, SHARES, View

LAYERS: Final = ("SILENT", "LOW", "MEDIUM", "HIGH")
LOST: Final = frozenset({"SILENT"})

_TIED: Final = 1e-9

WEIGHTS: Final[Mapping[str, float]] = {
    **dict.fromkeys(("content_viewed", "product_viewed", "video_played", "channels_video_viewed"), 1.0),
    **dict.fromkeys(("livestream_entered", "checkin"), 1.0),
    **dict.fromkeys(("button_clicked", "menu_clicked", "link_clicked", "ad_clicked"), 2.0),
    **dict.fromkeys(("content_commented", "content_liked", "group_message_sent", "moments_interacted"), 3.0),
    **dict.fromkeys(("activity_joined", "survey_answered", *SHARES, *REVIEWS), 5.0),
    PURCHASE: 8.0,
    REFERRAL_SUCCEEDED: 10.0,
}


@dataclass(frozen=True, slots=True)
class ActivityParams:
    """`weights` by event type, of each of which `most_per_day` count; scores from `medium` and from `high` on are those levels."""

    window_days: int = 90
    half_life_days: int = 14
    most_per_day: int = 5
    medium: float = 5
    high: float = 20
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)

    def check(self) -> None:
        rules.windows(self, "window_days", "half_life_days")
        rules.positive(self, "most_per_day")
        rules.increasing(self, "medium", "high")
        rules.weights(self, "weights", KNOWN | {PURCHASE})


def score(view: View, params: ActivityParams) -> float:
    """What counts of the last days, each day's half as much for every half-life that has passed."""
    daily = _by_day(view, params)
    return sum(weight * _faded(view.day - day, params) for day, weight in daily.items())


class Cycle(NamedTuple):
    """When a customer does something: how many behaviours in each hour of the week by its own clock, from Monday 0:00 on, and the
    median of days from one active day to the next; None where there is but one."""

    hours: tuple[int, ...]
    gap: float | None


def cycle(view: View, params: ActivityParams) -> Cycle:
    """The cycle of the last days."""
    hours, days = [0] * (7 * 24), set[int]()
    for day, it in view.recent(params.window_days):
        if it.type not in NOT_BY_CUSTOMER:
            local = view.calendar.local(it.at, it.offset)
            hours[local.weekday() * 24 + local.hour] += 1
            days.add(day)
    gaps = [later - day for day, later in pairwise(sorted(days))]
    return Cycle(tuple(hours), float(median(gaps)) if gaps else None)


def layer(view: View, params: ActivityParams) -> str:
    if not view.behaviours and not view.purchases and not view.referrals:
        return NONE
    return _level(score(view, params), params)


def moments(view: View, params: ActivityParams) -> Iterable[int]:
    """Days on which the score falls below a bound, and the one on which nothing counts any more."""
    daily = _by_day(view, params)
    if not daily:
        return
    yield max(daily) + params.window_days
    value = sum(weight * _faded(view.day - day, params) for day, weight in daily.items())
    before = _level(value, params)
    fade, least = _faded(1, params), _faded(params.window_days, params)
    for day in range(view.day + 1, max(daily) + params.window_days):
        value = value * fade - daily.get(day - params.window_days, 0.0) * least
        levels = {_level(max(value - _TIED, _TIED), params), _level(max(value + _TIED, _TIED), params)}
        if levels != {before}:
            before = "" if len(levels) > 1 else levels.pop()
            yield day


def _level(score: float, params: ActivityParams) -> str:
    if score >= params.high:
        return "HIGH"
    if score >= params.medium:
        return "MEDIUM"
    return "LOW" if score > 0 else "SILENT"


def _by_day(view: View, params: ActivityParams) -> dict[int, float]:
    """What counts of every day of the window."""
    counts: Counter[tuple[int, str]] = Counter(
        (day, it.type) for day, it in view.recent(params.window_days) if it.type in params.weights
    )
    if params.weights.get(PURCHASE):
        counts.update((day, PURCHASE) for day in view.purchase_days if view.within(day, params.window_days))
    if params.weights.get(REFERRAL_SUCCEEDED):
        counts.update((day, REFERRAL_SUCCEEDED) for day in view.referrals if view.within(day, params.window_days))
    daily: dict[int, float] = {}
    for (day, kind), n in sorted(counts.items()):
        weight = params.weights[kind] * min(n, params.most_per_day)
        if weight:
            daily[day] = daily.get(day, 0.0) + weight
    return daily


def _faded(days: int, params: ActivityParams) -> float:
    return float(0.5 ** (days / params.half_life_days))
