"""By which channel a customer comes (spec TG-12): the one before most of the last purchases, else of most sessions."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.tagging.domain.history import Behaviour
from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.view import NONE, NOT_BY_CUSTOMER, View, text
from services.tagging.domain.sessions import LONGEST_PAUSE

OTHER: Final = "OTHER"
CHANNELS: Final[Mapping[str, str]] = {
    **{
        it: it.upper()
        for it in (
            *("oa", "community", "livestream", "moments", "mini_program", "channels_video"),
            *("wecom", "store", "weibo", "alipay", "web"),
        )
    },
    "h5": "WEB",
    "pc": "WEB",
}
LAYERS: Final = (OTHER, *dict.fromkeys(CHANNELS.values()))
LOST: Final = frozenset[str]()

_BY_STAFF: Final = frozenset({"call_connected"})


@dataclass(frozen=True, slots=True)
class PathParams:
    """How many purchase occasions count, and without any, the sessions of how many days."""

    occasions: int = 10
    session_days: int = 90

    def check(self) -> None:
        rules.positive(self, "occasions")
        rules.windows(self, "session_days")


def layer(view: View, params: PathParams) -> str:
    touches = [it for it in view.behaviours if it.type not in NOT_BY_CUSTOMER]
    if not touches:
        return OTHER if view.occasions else NONE
    own = [it for it in touches if not by_staff(it)]
    if view.occasions:
        return _most(_before_purchases(view, own, params))
    since = view.day - params.session_days
    recent = [it for it, day in zip(view.behaviours, view.days, strict=True) if day > since]
    return _most(_sessions([it for it in recent if it.type not in NOT_BY_CUSTOMER and not by_staff(it)]))


def moments(view: View, params: PathParams) -> Iterable[int]:
    """Without purchases, whenever a day of the last ones passes out of the window."""
    return () if view.occasions else {day + params.session_days for day in view.days}


def by_staff(behaviour: Behaviour) -> bool:
    """Whether a member of staff came to the customer, not the other way round."""
    return behaviour.type in _BY_STAFF or bool(text(behaviour, "staff"))


def _before_purchases(view: View, touches: Sequence[Behaviour], params: PathParams) -> list[str]:
    """The class of the last touch before the first payment of each of the last occasions, where there is one."""
    instants = [it.at for it in touches]
    first = {day: it.at for day, it in reversed(list(zip(view.purchase_days, view.purchases, strict=True)))}
    found = []
    for day in view.occasions[-params.occasions :]:
        index = bisect_right(instants, first[day])
        if index:
            found.append(CHANNELS.get(touches[index - 1].channel, OTHER))
    return found


def _sessions(touches: Sequence[Behaviour]) -> list[str]:
    """The class of every session: touches in one class no more than 30 minutes apart, by their ends."""
    last: dict[str, Behaviour] = {}
    ended: list[Behaviour] = []
    for it in touches:
        channel = CHANNELS.get(it.channel, OTHER)
        before = last.get(channel)
        if before is not None and it.at - before.at > LONGEST_PAUSE:
            ended.append(before)
        last[channel] = it
    ended.extend(last.values())
    return [CHANNELS.get(it.channel, OTHER) for it in sorted(ended, key=lambda it: it.at)]


def _most(classes: Sequence[str]) -> str:
    """The most frequent; of several, the one that comes last."""
    if not classes:
        return OTHER
    counts = Counter(classes)
    most = max(counts.values())
    return next(it for it in reversed(classes) if counts[it] == most)
