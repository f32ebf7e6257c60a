"""Intent to buy (spec TG-9): points per category of products that fade by half in 7 days and end with a purchase of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, log2
from typing import Final, NamedTuple

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.event_types import KNOWN
from services.tagging.domain.layers.view import NONE, View, text

LAYERS: Final = ("LOW", "MEDIUM", "HIGH")
LOST: Final = frozenset[str]()

CONTENT: Final = "content_viewed"
"""Counts where the content is about a category and was read for long enough."""

WEIGHTS: Final[Mapping[str, float]] = {
    "product_viewed": 5.0,
    "favourite_added": 10.0,
    "cart_added": 20.0,
    "coupon_claimed": 10.0,
    "consult_started": 15.0,
    "price_compared": 10.0,
    "checkout_started": 30.0,
    CONTENT: 3.0,
}


@dataclass(frozen=True, slots=True)
class IntentParams:
    """`weights` by event type. A product counts as viewed once a day. With a `category`, only that one counts; a lead
    comes at `high`, and again only after the score was below `rearm`."""

    category: str = ""
    half_life_days: int = 7
    most: float = 100
    low: float = 1
    medium: float = 20
    rearm: float = 30
    high: float = 50
    reading_seconds: int = 60
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)

    def check(self) -> None:
        rules.windows(self, "half_life_days")
        rules.increasing(self, "low", "medium", "high", "most")
        rules.increasing(self, "rearm", "high")
        rules.positive(self, "reading_seconds")
        rules.weights(self, "weights", KNOWN)


class Sign(NamedTuple):
    """Something that shows intent to buy in a category; a purchase in it has no points and ends it."""

    at: datetime
    day: int
    category: str
    points: float
    kind: str


class Lead(NamedTuple):
    """The score of a category became high: at which instant, how high, through which behaviours, and when it was won."""

    category: str
    at: datetime
    score: float
    evidence: tuple[str, ...]
    won_at: datetime | None


def scores(view: View, params: IntentParams) -> dict[str, float]:
    """The points of every category now."""
    found: dict[str, float] = {}
    for category, signs in _by_category(view, params).items():
        day, score = view.day, 0.0
        for it in signs:
            score = 0.0 if not it.points else min(params.most, _faded(score, it.day - day, params) + it.points)
            day = it.day
        found[category] = _faded(score, view.day - day, params)
    return found


def layer(view: View, params: IntentParams) -> str:
    """By the category with the most points."""
    return _band(max(scores(view, params).values(), default=0.0), params)


def bands(view: View, params: IntentParams) -> dict[str, str]:
    """The band of every category with enough points for one."""
    found = {category: _band(score, params) for category, score in scores(view, params).items()}
    return {category: band for category, band in sorted(found.items()) if band != NONE}


def band_moments(view: View, params: IntentParams) -> Iterable[int]:
    """Days on which the points of a category may fall below the bound of its band."""
    for score in scores(view, params).values():
        band = _band(score, params)
        if band != NONE:
            days = ceil(log2(score / _bound(band, params)) * params.half_life_days)
            yield from range(view.day + days - 1, view.day + days + 2)


def moments(view: View, params: IntentParams) -> Iterable[int]:
    score = max(scores(view, params).values(), default=0.0)
    for bound in (params.high, params.medium, params.low):
        if score >= bound:
            days = ceil(log2(score / bound) * params.half_life_days)
            yield from (view.day + days, view.day + days + 1)


def leads(view: View, params: IntentParams) -> list[Lead]:
    """All leads up to now, in the order of time."""
    found: list[Lead] = []
    for category, signs in _by_category(view, params).items():
        found.extend(_leads(category, signs, params))
    return sorted(found, key=lambda it: (it.at, it.category))


def _leads(category: str, signs: list[Sign], params: IntentParams) -> Iterator[Lead]:
    day, score, armed = 0, 0.0, True
    evidence: list[str] = []
    waiting: Lead | None = None
    for it in signs:
        score = _faded(score, it.day - day, params) if score else 0.0
        armed = armed or score < params.rearm
        day = it.day
        if not it.points:
            if waiting is not None:
                yield waiting._replace(won_at=it.at)
            waiting, score, armed, evidence = None, 0.0, True, []
            continue
        score = min(params.most, score + it.points)
        evidence.append(it.kind)
        if armed and score >= params.high:
            if waiting is not None:
                yield waiting
            waiting, armed = Lead(category, it.at, score, tuple(evidence[-20:]), None), False
    if waiting is not None:
        yield waiting


def _by_category(view: View, params: IntentParams) -> dict[str, list[Sign]]:
    found: dict[str, list[Sign]] = {}
    for it in sorted(_signs(view, params), key=lambda it: (it.at, it.points == 0)):
        if params.category in ("", it.category):
            found.setdefault(it.category, []).append(it)
    return found


def _signs(view: View, params: IntentParams) -> Iterator[Sign]:
    viewed: set[tuple[str, int]] = set()
    for day, it in zip(view.days, view.behaviours, strict=True):
        points = params.weights.get(it.type)
        if not points:
            continue
        category = view.category(it)
        if it.type == CONTENT and (not category or view.dwell.get(it.page_view, 0) < params.reading_seconds):
            continue
        if it.type == "product_viewed":
            product = (text(it, "sku") or category, day)
            if product in viewed:
                continue
            viewed.add(product)
        yield Sign(it.at, day, category, points, it.type)
    for day, purchase in zip(view.purchase_days, view.purchases, strict=True):
        for category in {line.category for line in purchase.lines} | {""}:
            yield Sign(purchase.at, day, category, 0.0, "")


def _band(score: float, params: IntentParams) -> str:
    return next((name for name in reversed(LAYERS) if score >= _bound(name, params)), NONE)


def _bound(band: str, params: IntentParams) -> float:
    bound: float = getattr(params, band.lower())
    return bound


def _faded(score: float, days: int, params: IntentParams) -> float:
    return float(score * 0.5 ** (days / params.half_life_days))
