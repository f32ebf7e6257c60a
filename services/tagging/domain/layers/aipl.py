"""AIPL (spec TG-15): aware, interested, bought, loyal; the highest that fits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.view import NONE, REVIEWS, SHARES, View, number

LAYERS: Final = ("A", "I", "P", "L")
LOST: Final = frozenset({NONE})


@dataclass(frozen=True, slots=True)
class AiplParams:
    """Windows in days. A buyer is loyal with `loyal_occasions`, a review from `good_score` on or a share."""

    contact_days: int = 15
    bought_days: int = 730
    loyal_days: int = 365
    loyal_occasions: int = 2
    good_score: float = 4

    def check(self) -> None:
        rules.windows(self, "contact_days", "bought_days", "loyal_days")
        rules.positive(self, "good_score")
        if self.loyal_occasions < 2:
            raise rules.bad("loyal_occasions", "must be at least 2")


def layer(view: View, params: AiplParams) -> str:
    if view.occasions:
        if view.bought_within(params.loyal_days) >= params.loyal_occasions:
            return "L"
        if view.within(_last_praise(view, params), params.loyal_days):
            return "L"
        if view.within(view.occasions[-1], params.bought_days):
            return "P"
    if view.within(_last_active(view), params.contact_days):
        return "I"
    return "A" if view.within(view.last_by_customer, params.contact_days) else NONE


def moments(view: View, params: AiplParams) -> Iterable[int]:
    ends = [(_last_active(view), params.contact_days), (view.last_by_customer, params.contact_days)]
    if view.occasions:
        ends += [(_last_praise(view, params), params.loyal_days), (view.occasions[-1], params.bought_days)]
        if len(view.occasions) >= params.loyal_occasions:
            ends.append((view.occasions[-params.loyal_occasions], params.loyal_days))
    return [day + days for day, days in ends if day is not None]


def _last_active(view: View) -> int | None:
    days = (view.last_of_letter.get(letter) for letter in "INC")
    return max((it for it in days if it is not None), default=None)


def _last_praise(view: View, params: AiplParams) -> int | None:
    """The last day of a share or a good review; only that of a buyer counts."""
    for day, it in zip(reversed(view.days), reversed(view.behaviours), strict=True):
        if it.type in SHARES or (it.type in REVIEWS and (number(it, "score") or 0) >= params.good_score):
            return day
    return None
