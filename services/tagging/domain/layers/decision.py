"""What makes a customer buy (spec TG-11): the strongest influence before each of the last purchases, where one prevails."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Final

from services.tagging.domain.history import Behaviour, Purchase
from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.view import NONE, SHARES, View, text

UNDETERMINED: Final = "UNDETERMINED"
LOST: Final = frozenset[str]()


class Influence(IntEnum):
    """From the weakest to the strongest."""

    NONE = 0
    DEEP_CONTENT = 1
    PROMOTION = 2
    COMMUNITY = 3
    KOL = 4
    REFERRAL = 5


NAMES: Final = {
    Influence.DEEP_CONTENT: "DEEP_KNOWLEDGE",
    Influence.PROMOTION: "PRICE_SENSITIVE",
    Influence.COMMUNITY: "COMMUNITY",
    Influence.KOL: "KOL_INFLUENCED",
    Influence.REFERRAL: "REFERRAL",
}
LAYERS: Final = (UNDETERMINED, *NAMES.values())

_GROUP: Final = frozenset({"group_joined", "group_message_sent"})


@dataclass(frozen=True, slots=True)
class DecisionParams:
    """`days` before a payment count; a discount from `discount_percent` on is a promotion."""

    days: int = 7
    occasions: int = 10
    least: int = 2
    share: float = 0.5
    discount_percent: int = 10
    reading_seconds: int = 60

    def check(self) -> None:
        rules.windows(self, "days")
        rules.positive(self, "occasions", "least", "discount_percent", "reading_seconds")
        rules.shares(self, "share")
        if self.least > self.occasions:
            raise rules.bad("least", "must not be above occasions")


def layer(view: View, params: DecisionParams) -> str:
    days = view.occasions[-params.occasions :]
    if not days:
        return NONE
    if len(days) < params.least:
        return UNDETERMINED
    found = influences(view, days, params)
    counts = Counter(found)
    most = max(counts.values())
    if most < params.share * len(found):
        return UNDETERMINED
    latest = next(it for it in reversed(found) if counts[it] == most)
    return NAMES.get(latest, UNDETERMINED)


def moments(view: View, params: DecisionParams) -> Iterable[int]:
    return ()


def influences(view: View, days: list[int], params: DecisionParams) -> list[Influence]:
    """The strongest influence on the purchases of each of `days`."""
    strongest = dict.fromkeys(days, Influence.NONE)
    for day, purchase in zip(view.purchase_days, view.purchases, strict=True):
        if day in strongest:
            strongest[day] = max(strongest[day], _on(view, purchase, params))
    return list(strongest.values())


def _on(view: View, purchase: Purchase, params: DecisionParams) -> Influence:
    since = purchase.at - timedelta(params.days)
    before = (it for it in view.behaviours if since <= it.at <= purchase.at)
    found = max((_of(view, it, params) for it in before), default=Influence.NONE)
    return max(found, Influence.PROMOTION) if _promoted(purchase, params) else found


def _of(view: View, behaviour: Behaviour, params: DecisionParams) -> Influence:
    kind = behaviour.type
    if kind == "referral_registered" or (kind not in SHARES and text(behaviour, "share_id")):
        return Influence.REFERRAL
    if kind == "livestream_entered" and text(behaviour, "host"):
        return Influence.KOL
    if kind in _GROUP or behaviour.channel == "community" or text(behaviour, "group_id"):
        return Influence.COMMUNITY
    if kind == "content_viewed" and view.dwell.get(behaviour.page_view, 0) >= params.reading_seconds:
        return Influence.DEEP_CONTENT if view.category(behaviour) else Influence.NONE
    return Influence.NONE


def _promoted(purchase: Purchase, params: DecisionParams) -> bool:
    listed, paid = sum(it.list for it in purchase.lines), sum(it.paid for it in purchase.lines)
    return purchase.coupons > 0 or (listed > 0 and (listed - paid) * 100 >= params.discount_percent * listed)
