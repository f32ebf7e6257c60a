"""Stages of life (spec TG-8), tested from the top: lost, advocates, sleepers, newcomers, buyers, prospects."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.event_types import KNOWN, REFERRAL_SUCCEEDED
from services.tagging.domain.layers.view import MARK, REVIEWS, SHARES, View, number

LAYERS: Final = ("PROSPECT", "NEW", "GROWING", "MATURE", "SEED", "ANGEL", "SUPER", "DORMANT", "CHURNED")
LOST: Final = frozenset({"DORMANT", "CHURNED"})
FUNNEL: Final = tuple(f"{MARK}{it}" for it in ("ACQUIRED", "CONVERTED", "RETAINED", "REPURCHASED", "REFERRED"))
"""The second axis: how far a customer ever came."""

_FEEDBACK: Final = frozenset({"survey_answered", "product_feedback_given", "group_message_sent", *REVIEWS})


@dataclass(frozen=True, slots=True)
class LifecycleParams:
    """Days and counts of the stages. Without `launched_on` there are no seed and angel users; `koc_attribute` is the
    attribute that is true of those on the roster of key opinion consumers."""

    churned_days: int = 365
    launched_on: date | None = None
    angel_days: int = 180
    seed_days: int = 90
    seed_acts: int = 3
    seed_acts_days: int = 30
    good_score: float = 4
    dormant_days: int = 90
    dormant_cycles: int = 2
    new_days: int = 30
    mature_occasions: int = 2
    buyer_days: int = 365
    koc_attribute: str = "koc"
    referral_events: tuple[str, ...] = (REFERRAL_SUCCEEDED,)

    def check(self) -> None:
        days = ("churned_days", "angel_days", "seed_days", "seed_acts_days", "dormant_days", "new_days", "buyer_days")
        rules.windows(self, *days)
        rules.positive(self, "seed_acts", "good_score", "dormant_cycles", "mature_occasions")
        rules.event_types("referral_events.", self.referral_events, KNOWN)


def layer(view: View, params: LifecycleParams) -> str:
    first = view.occasions[0] if view.occasions else None
    if first is not None and not view.within(view.occasions[-1], params.churned_days):
        return "CHURNED"
    if view.history.attributes.get(params.koc_attribute) in (True, "true"):
        return "SUPER"
    if params.launched_on is not None:
        launch = params.launched_on.toordinal()
        if first is not None and first - launch < params.angel_days and _recommends(view, params):
            return "ANGEL"
        if _is_seed(view, params, launch):
            return "SEED"
    if _sleeps(view, params):
        return "DORMANT"
    if view.within(first, params.new_days) or view.within(_known_day(view), params.new_days):
        return "NEW"
    bought = view.bought_within(params.buyer_days)
    if bought >= params.mature_occasions:
        return "MATURE"
    return "GROWING" if bought else "PROSPECT"


def moments(view: View, params: LifecycleParams) -> Iterable[int]:
    if view.occasions:
        yield view.occasions[-1] + params.churned_days
        yield view.occasions[-1] + params.buyer_days
        yield view.occasions[0] + params.new_days
        if len(view.occasions) >= params.mature_occasions:
            yield view.occasions[-params.mature_occasions] + params.buyer_days
    last = _last_sign(view)
    if last is not None:
        yield last + params.dormant_days
        if view.gap is not None:
            yield last + int(params.dormant_cycles * view.gap) + 1
    known = _known_day(view)
    if known is not None:
        yield known + params.new_days


def marks(view: View, params: LifecycleParams) -> tuple[str, ...]:
    """The position on the funnel."""
    acquired, converted, retained, repurchased, referred = FUNNEL
    if view.last_of(SHARES | set(params.referral_events)) is not None:
        return (referred,)
    if len(view.occasions) > 1:
        return (repurchased,)
    last = view.last_by_customer
    if view.occasions:
        return (retained if last is not None and last > view.occasions[0] else converted,)
    return (acquired,) if last is not None or _known_day(view) is not None else ()


def _recommends(view: View, params: LifecycleParams) -> bool:
    if view.last_of(SHARES | set(params.referral_events)) is not None:
        return True
    return any(it.type in REVIEWS and (number(it, "score") or 0) >= params.good_score for it in view.behaviours)


def _is_seed(view: View, params: LifecycleParams, launch: int) -> bool:
    known = _known_day(view)
    if known is None or known - launch >= params.seed_days:
        return False
    acts = sum(
        1
        for day, it in zip(view.days, view.behaviours, strict=True)
        if it.type in _FEEDBACK and known <= day < known + params.seed_acts_days
    )
    return acts >= params.seed_acts


def _sleeps(view: View, params: LifecycleParams) -> bool:
    """Silent for long, or for much longer than from one purchase to the next."""
    last = _last_sign(view)
    if last is None:
        return False
    silent = view.day - last
    return silent >= params.dormant_days or (view.gap is not None and silent > params.dormant_cycles * view.gap)


def _last_sign(view: View) -> int | None:
    """The last day with a purchase, with anything the customer did, or on which it became known."""
    signs = (view.occasions[-1] if view.occasions else None, view.last_by_customer, _known_day(view))
    return max((it for it in signs if it is not None), default=None)


def _known_day(view: View) -> int | None:
    known = view.history.known_since
    return view.calendar.day(known) if known is not None and known <= view.at else None
