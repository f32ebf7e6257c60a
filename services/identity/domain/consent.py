"""What a person allows the brand to do, and on which channels the person can be reached at all.

Both are kept by node, like everything that is known of somebody. What holds for a customer follows from all nodes: the most
restrictive of what was said for one purpose and channel, unless something was said later for all of them together. So a
merge or its undoing changes nothing that is stored.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id


class Purpose(StrEnum):
    """What a consent is for."""

    MARKETING = "MARKETING"
    PROFILING = "PROFILING"
    SENSITIVE_INFERENCE = "SENSITIVE_INFERENCE"
    DATA_SHARING = "DATA_SHARING"


class ConsentState(StrEnum):
    """What a person said. Who said nothing has no state."""

    GRANTED = "GRANTED"
    DENIED = "DENIED"
    WITHDRAWN = "WITHDRAWN"


STRICTNESS: Final = (ConsentState.GRANTED, ConsentState.DENIED, ConsentState.WITHDRAWN)
"""Of two nodes of one customer the later state here decides."""

OFFICIAL_ACCOUNT: Final = frozenset({"OA", "WECHAT_OA"})
UNFOLLOWED: Final = "UNFOLLOWED"

Subject = tuple[Purpose, str]
"""A purpose and a channel; an empty channel stands for all."""


@dataclass(frozen=True, slots=True)
class OptOut:
    """That somebody said no to a purpose on a channel, or on all of them if it is empty."""

    purpose: Purpose
    channel: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What was said, with its proof: the policy that was shown, and where; `made_at` is when it was said.

    It counts instead of anything older of the nodes `beside`, which belonged to the same customer when it was recorded.
    """

    purpose: Purpose
    channel: str
    state: ConsentState
    policy_version: str
    source: str
    made_at: datetime
    beside: frozenset[UUID] = frozenset()

    @property
    def subject(self) -> Subject:
        return self.purpose, self.channel


@dataclass(frozen=True, slots=True)
class Reachability:
    """Whether a platform lets messages of a channel through; `reason` is its code, such as "UNFOLLOWED"."""

    channel: str
    reachable: bool
    reason: str
    since: datetime

    @property
    def has_left_official_account(self) -> bool:
        """Whether the person unfollowed a WeChat official account, whose data must be deleted then."""
        return not self.reachable and self.channel in OFFICIAL_ACCOUNT and self.reason == UNFOLLOWED


class Permissions(Aggregate):
    """The statements of one node, and where it can be reached."""

    TOPIC = "identity.Permissions"

    class Opened(InitialEvent):
        """The first thing of this kind was heard of the node."""

        TOPIC = "identity.PermissionsOpened"
        tenant: str
        node: UUID

    class ConsentChanged(Event):
        """The person said something, later than what was known."""

        TOPIC = "identity.ConsentChanged"
        node: UUID
        statement: Statement

    class ReachabilityChanged(Event):
        """A platform began or stopped to let messages through."""

        TOPIC = "identity.ReachabilityChanged"
        node: UUID
        reachability: Reachability

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, node: UUID) -> None:
        self.tenant = tenant
        self.node = node
        self.statements: dict[Subject, Statement] = {}
        self.reachability: dict[str, Reachability] = {}

    @classmethod
    def of_node(cls, tenant: str, node: UUID) -> "Permissions":
        return cls(permissions_id(tenant, node), tenant, node)

    def state(self, statement: Statement) -> None:
        """Take note of what was said, unless it is older than what was said for the same purpose and channel.

        The same said again later counts as said later, against whatever is heard of in between.
        """
        known = self.statements.get(statement.subject)
        if known is None or _is_news(statement, known):
            self._consent_changed(node=self.node, statement=statement)

    def reach(self, reachability: Reachability) -> None:
        """Take note of what a platform says, unless it is older than what it said before; of one moment "yes" counts."""
        known = self.reachability.get(reachability.channel)
        if known is None or (known.since, known.reachable) < (reachability.since, reachability.reachable):
            self._reachability_changed(node=self.node, reachability=reachability)

    @event(ConsentChanged)
    def _consent_changed(self, node: UUID, statement: Statement) -> None:
        self.statements[statement.subject] = statement

    @event(ReachabilityChanged)
    def _reachability_changed(self, node: UUID, reachability: Reachability) -> None:
        self.reachability[reachability.channel] = reachability


def _is_news(statement: Statement, known: Statement) -> bool:
    """Whether it was said later, or at the same moment and is stricter."""
    if statement.made_at != known.made_at:
        return statement.made_at > known.made_at
    return STRICTNESS.index(statement.state) > STRICTNESS.index(known.state)


def permissions_id(tenant: str, node: UUID) -> UUID:
    """The permissions of one node."""
    return natural_id(tenant, "permissions", node)


def strictest(of_nodes: Iterable[Permissions]) -> Mapping[Subject, Statement]:
    """What holds for the customer of these nodes, for each purpose and channel that anything was said of.

    What was said for all channels counts for each. Of the statements in whose place no later one counts the most
    restrictive holds, and of equal ones the newest.
    """
    said = [(it.node, statement) for it in of_nodes for statement in it.statements.values()]
    return {subject: max(_standing(said, *subject), key=_strictness) for subject in {it.subject for _, it in said}}


def _standing(said: Sequence[tuple[UUID, Statement]], purpose: Purpose, channel: str) -> list[Statement]:
    """What was said of the channel, or of all, and was not said anew for its node; the last of all always is among them."""
    fitting = [(node, it) for node, it in said if it.purpose is purpose and it.channel in (channel, "")]
    return [
        it
        for node, it in fitting
        if not any(later.made_at > it.made_at and (whose == node or node in later.beside) for whose, later in fitting)
    ]


def opt_outs(of_nodes: Iterable[Permissions]) -> tuple[OptOut, ...]:
    """What the customer of these nodes refused or took back."""
    said = strictest(of_nodes).items()
    return tuple(
        OptOut(*subject) for subject, it in sorted(said, key=lambda it: it[0]) if it.state is not ConsentState.GRANTED
    )


def reachable(of_nodes: Iterable[Permissions]) -> Mapping[str, Reachability]:
    """Where the customer of these nodes can be reached: wherever one of them can; of equal ones the newest is told."""
    found: dict[str, Reachability] = {}
    for permissions in of_nodes:
        for channel, it in permissions.reachability.items():
            if channel not in found or (it.reachable, it.since) > (found[channel].reachable, found[channel].since):
                found[channel] = it
    return found


def _strictness(it: Statement) -> tuple[int, datetime]:
    return STRICTNESS.index(it.state), it.made_at
