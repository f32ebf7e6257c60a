"""What people allow, and where they can be reached: whether a message of a class may go to somebody by a channel.

Everything is kept by node as it was said, so that a merge or its undoing changes nothing that is stored; what holds for a person
is worked out here, by the rules that identity tells with its messages (spec ID-10).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

NO_CONSENT: Final = "NO_CONSENT"
"""The person does not allow messages of this class on the channel."""

UNREACHABLE: Final = "UNREACHABLE"
"""The platform of the channel lets no message through to the person."""

STRICTNESS: Final = ("GRANTED", "DENIED", "WITHDRAWN")
"""Of two nodes of one person the later word here decides."""


class MessageClass(StrEnum):
    """What a message is for: the service somebody asked for, or to sell."""

    SERVICE = "SERVICE"
    MARKETING = "MARKETING"


class Consent(NamedTuple):
    """What was said for a purpose, and a channel or all (""); in place of anything older said for the nodes `beside`."""

    node: UUID
    purpose: str
    channel: str
    state: str
    made_at: datetime
    beside: Sequence[UUID] = ()

    @property
    def weight(self) -> tuple[datetime, int]:
        """Of two words for one node, purpose and channel the heavier counts."""
        return self.made_at, STRICTNESS.index(self.state)


class Reachability(NamedTuple):
    """Whether a platform lets messages of a channel through."""

    node: UUID
    channel: str
    reachable: bool
    since: datetime

    @property
    def weight(self) -> tuple[datetime, bool]:
        """Of two words for one node and channel the heavier counts."""
        return self.since, self.reachable


@dataclass(frozen=True, slots=True)
class Permissions:
    """What was said of marketing for all nodes of one person, and what platforms said of where they can be reached."""

    marketing: Sequence[Consent] = ()
    channels: Sequence[Reachability] = ()

    def refusal(self, kind: MessageClass, channel: str) -> str | None:
        """Why no message of the class may go out by the channel; None if it may. "" stands for a channel without a name.

        Who never said anything of marketing gets it on channels that they once followed or added: of which their platform
        has told anything.
        """
        reached = self._reached(channel)
        if kind is MessageClass.MARKETING:
            state = self._said(channel)
            is_allowed = not channel or reached is not None if state is None else state == STRICTNESS[0]
            if not is_allowed:
                return NO_CONSENT
        return UNREACHABLE if reached is False else None

    def _reached(self, channel: str) -> bool | None:
        """Whether any node can be reached; None where no platform said."""
        said = [it.reachable for it in self.channels if it.channel == channel]
        return any(said) if said else None

    def _said(self, channel: str) -> str | None:
        """The strictest word in whose place no later one counts; what was said for all channels counts for each."""
        fitting = [it for it in self.marketing if it.channel in (channel, "")]
        standing = [
            it.state
            for it in fitting
            if not any(
                later.made_at > it.made_at and (later.node == it.node or it.node in later.beside) for later in fitting
            )
        ]
        return max(standing, key=STRICTNESS.index) if standing else None


SILENT: Final = Permissions()
"""Those of somebody of whom nothing was ever said."""
