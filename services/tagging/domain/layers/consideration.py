"""What became of the intent to buy (spec TG-16): transferred in, realised, transferred out, or pending."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.view import COMPETITOR, MARK, NONE, View, text

LAYERS: Final = ("NO_INTENT", "PENDING", "TRANSFER_OUT", "TRANSFER_IN", "REALISED")
LOST: Final = frozenset({"TRANSFER_OUT"})
ALSO_COMPETITOR: Final = f"{MARK}ALSO_COMPETITOR"
"""Mark of those who bought of both."""


@dataclass(frozen=True, slots=True)
class ConsiderationParams:
    """The last `window_days` days, in one `category` or (empty) in any; intent counts for `intent_days` before a purchase.

    As long as there is no `competitor_source`, nobody reports what is bought elsewhere: TRANSFER_OUT is not known then, which is
    not the same as nobody.
    """

    window_days: int = 90
    intent_days: int = 30
    category: str = ""
    competitor_source: bool = False

    def check(self) -> None:
        rules.windows(self, "window_days", "intent_days")


def layer(view: View, params: ConsiderationParams) -> str:
    if not view.days and not view.purchase_days:
        return NONE
    own, elsewhere = _first(_own(view, params), view, params), _first(_elsewhere(view, params), view, params)
    bought = [it for it in (own, elsewhere) if it is not None]
    intended = _intended(view, min(bought) if bought else view.day, params)
    if own is not None:
        return "REALISED" if intended else "TRANSFER_IN"
    if not intended:
        return "NO_INTENT"
    return "PENDING" if elsewhere is None else "TRANSFER_OUT"


def marks(view: View, params: ConsiderationParams) -> tuple[str, ...]:
    own, elsewhere = _first(_own(view, params), view, params), _first(_elsewhere(view, params), view, params)
    return (ALSO_COMPETITOR,) if own is not None and elsewhere is not None else ()


def known_layers(params: ConsiderationParams) -> tuple[str, ...]:
    """The layers of which it is known who is in them."""
    return LAYERS if params.competitor_source else tuple(it for it in LAYERS if it not in LOST)


def moments(view: View, params: ConsiderationParams) -> Iterable[int]:
    """When a purchase leaves the window, and when intent that led to none is too old."""
    bought = {day + params.window_days for day in (*_own(view, params), *_elsewhere(view, params))}
    return bought | {day + params.intent_days + 1 for day in _intent(view, params)}


class Outcome(NamedTuple):
    """Customers by outcome; without a source of reports, None bought elsewhere and None is lost."""

    transfer_in: int
    realised: int
    transfer_out: int | None
    pending: int
    realisation: Fraction | None
    loss: Fraction | None


def outcome(counts: Mapping[str, int], params: ConsiderationParams) -> Outcome:
    """Rates of the customers with intent: who bought, and of those who bought anything, who did so elsewhere."""
    realised, lost = counts.get("REALISED", 0), counts.get("TRANSFER_OUT", 0)
    intended, bought = realised + lost + counts.get("PENDING", 0), realised + lost
    known = params.competitor_source
    return Outcome(
        counts.get("TRANSFER_IN", 0),
        realised,
        lost if known else None,
        counts.get("PENDING", 0),
        Fraction(realised, intended) if intended else None,
        Fraction(lost, bought) if known and bought else None,
    )


def _own(view: View, params: ConsiderationParams) -> list[int]:
    wanted = params.category
    return [
        day
        for day, it in zip(view.purchase_days, view.purchases, strict=True)
        if not wanted or any(line.category == wanted for line in it.lines)
    ]


def _elsewhere(view: View, params: ConsiderationParams) -> list[int]:
    if not params.competitor_source or COMPETITOR not in view.last_of_type:
        return []
    wanted = params.category
    return [
        day
        for day, it in zip(view.days, view.behaviours, strict=True)
        if it.type == COMPETITOR and (not wanted or text(it, "category") == wanted)
    ]


def _first(days: Iterable[int], view: View, params: ConsiderationParams) -> int | None:
    return min((day for day in days if view.within(day, params.window_days)), default=None)


def _intent(view: View, params: ConsiderationParams) -> list[int]:
    wanted = params.category
    return [
        day
        for day, it in zip(view.days, view.behaviours, strict=True)
        if view.is_intent(it, day) and (not wanted or view.category(it) == wanted)
    ]


def _intended(view: View, until: int, params: ConsiderationParams) -> bool:
    return any(0 <= until - day <= params.intent_days for day in _intent(view, params))
