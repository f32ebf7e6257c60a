"""What a customer likes (spec TG-10): the category of products that has half of all weight, which fades by half in 60 days.

All weights fade alike, so that time alone changes no share.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import log2
from typing import Final, NamedTuple

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.view import NONE, REVIEWS, View, number

MIXED: Final = "MIXED"
LOST: Final = frozenset[str]()

_TIED: Final = 1e-9


@dataclass(frozen=True, slots=True)
class PreferenceParams:
    """Weights of what shows a preference; good reviews have a score from `good_score`, bad ones up to `bad_score`."""

    half_life_days: int = 60
    share: float = 0.5
    events: int = 2
    view: float = 1
    favourite: float = 3
    cart: float = 4
    menu: float = 1
    purchase: float = 10
    good_review: float = 2
    bad_review: float = 4
    good_score: float = 4
    bad_score: float = 2

    def check(self) -> None:
        rules.windows(self, "half_life_days")
        rules.shares(self, "share")
        rules.positive(self, "events")
        rules.increasing(self, "bad_score", "good_score")
        for name in ("view", "favourite", "cart", "menu", "purchase", "good_review", "bad_review"):
            if getattr(self, name) < 0:
                raise rules.bad(name, "a weight is not negative")


class _Sign(NamedTuple):
    day: int
    category: str
    weight: float


def shares(view: View, params: PreferenceParams) -> dict[str, float]:
    """The share of every category in all weight; what is disliked has none."""
    return _shares(list(_signs(view, params)), params)


def layer(view: View, params: PreferenceParams) -> str:
    signs = list(_signs(view, params))
    if not signs:
        return NONE
    found = _shares(signs, params)
    if not found:
        return MIXED
    category, share = max(found.items(), key=lambda it: (it[1], it[0]))
    enough = sum(1 for it in signs if it.category == category) >= params.events
    return category if enough and share >= params.share - _TIED else MIXED


def moments(view: View, params: PreferenceParams) -> Iterable[int]:
    return ()


def _shares(signs: list[_Sign], params: PreferenceParams) -> dict[str, float]:
    latest = max((it.day for it in signs), default=0)
    weights: dict[str, float] = {}
    for it in signs:
        faded = it.weight * 0.5 ** ((latest - it.day) / params.half_life_days)
        weights[it.category] = weights.get(it.category, 0.0) + faded
    kept = {category: weight for category, weight in weights.items() if weight > _TIED}
    total = sum(kept.values())
    return {category: weight / total for category, weight in kept.items()}


def _signs(view: View, params: PreferenceParams) -> Iterator[_Sign]:
    weights = {
        "product_viewed": params.view,
        "favourite_added": params.favourite,
        "cart_added": params.cart,
        "menu_clicked": params.menu,
    }
    for day, it in zip(view.days, view.behaviours, strict=True):
        weight = weights.get(it.type)
        if it.type in REVIEWS:
            weight = _of_review(number(it, "score"), params)
        elif it.type == "menu_clicked":
            weight = number(it, "weight") or params.menu
        if weight and (category := view.category(it)):
            yield _Sign(day, category, weight)
    for day, purchase in zip(view.purchase_days, view.purchases, strict=True):
        for line in purchase.lines:
            if line.category:
                yield _Sign(day, line.category, params.purchase * log2(1 + line.quantity))


def _of_review(score: float | None, params: PreferenceParams) -> float | None:
    if score is None or params.bad_score < score < params.good_score:
        return None
    return params.good_review if score >= params.good_score else -params.bad_review
