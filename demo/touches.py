"""Reports of what somebody did, and how they arrive: most at once and once, some late, too late or twice, because reports do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from demo.buckets import buckets
from demo.people import Sighting

H5: Final = "h5"
ACCOUNT: Final = "oa"
SHOP_SERVER: Final = "shop"
SURVEY: Final = "survey"

_OF_10_000_TWICE: Final = 200
_OF_10_000_LATE: Final = 100
_OF_10_000_TOO_LATE: Final = 10
_LATE: Final = timedelta(days=3)
_TOO_LATE: Final = timedelta(days=40)
_SERVERS: Final = frozenset({SHOP_SERVER, SURVEY})


@dataclass(frozen=True, slots=True)
class Touch:
    """One report of something somebody did: when, by whom (all that the reporter knows of the person), where and what.

    `properties` are JSON; `channel` is also the source that reports.
    """

    message_id: str
    event_type: str
    channel: str
    occurred_at: datetime
    received_at: datetime
    who: tuple[Sighting, ...]
    content: str = ""
    page_view: str = ""
    code: str = ""
    staff: str = ""
    properties: str = ""

    @property
    def value(self) -> str:
        """The identifier on which it is found first."""
        return self.who[0].value


def deliveries(touches: Sequence[Touch]) -> Iterator[Touch]:
    """Each of `touches` as often, and as late, as it is delivered; servers are never too late."""
    ids = [it.message_id for it in touches]
    rolls = zip(*(buckets(purpose, ids) for purpose in ("toolate", "late", "dup")), strict=True)
    for touch, (too_late, late, twice) in zip(touches, rolls, strict=True):
        delivered = touch
        if touch.channel not in _SERVERS and too_late < _OF_10_000_TOO_LATE:
            delivered = replace(touch, received_at=touch.occurred_at + _TOO_LATE)
        elif late < _OF_10_000_LATE:
            delivered = replace(touch, received_at=touch.occurred_at + _LATE)
        yield delivered
        if twice < _OF_10_000_TWICE:
            yield delivered
