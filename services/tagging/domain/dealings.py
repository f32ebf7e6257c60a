"""What a brand has had to do with a customer beside what the customer did: membership, points, messages, flows, and channels that reach it.

Other services tell it; here it is only looked up. It is kept by node, and summed up for the customer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID


class Passage(NamedTuple):
    """A way through a flow; `reason` says how it ended, as campaigns tells it, and is empty until then."""

    flow: UUID
    entered_at: datetime
    ended_at: datetime | None = None
    reason: str = ""


class Message(NamedTuple):
    """A message that a provider took; `campaign` is the broadcast or the flow that sent it."""

    campaign: UUID
    sent_at: datetime
    clicked_at: datetime | None = None


class Lot(NamedTuple):
    """What is left of points granted at once: to be spent from `active_at` on, and gone from `expires_at` on."""

    points: int
    active_at: datetime
    expires_at: datetime | None = None


FINISHED: Final = frozenset({"COMPLETED", "GOAL_MET"})
"""How a flow ends for those who went through it."""


@dataclass(frozen=True, slots=True)
class Dealings:
    """All of it. `debt` are points that are owed."""

    member_since: datetime | None = None
    lots: Sequence[Lot] = ()
    debt: int = 0
    reachable: frozenset[str] = frozenset()
    passages: Sequence[Passage] = ()
    messages: Sequence[Message] = ()

    def points(self, at: datetime) -> int:
        """Those that can be spent at an instant."""
        return sum(
            it.points for it in self.lots if it.active_at <= at and (it.expires_at is None or it.expires_at > at)
        )

    def pending(self, at: datetime) -> int:
        """Those that cannot be spent yet."""
        return sum(it.points for it in self.lots if it.active_at > at)

    def after(self, at: datetime) -> bool:
        """Whether any of it, by the clock of who told it, has not happened by `at`."""
        told = [self.member_since]
        told += [it for way in self.passages for it in (way.entered_at, way.ended_at)]
        told += [it for one in self.messages for it in (one.sent_at, one.clicked_at)]
        return any(it is not None and it > at for it in told)


NO_DEALINGS: Final = Dealings()
