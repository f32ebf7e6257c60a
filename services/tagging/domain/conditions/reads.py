"""What a condition reads: by it, a batch of facts finds the definitions that it can change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from services.tagging.domain.conditions.dimensions import (
    CREATED_DAYS,
    KNOWN,
    KNOWN_DAYS,
    MEMBER_DAYS,
    OF_MEMBERSHIP,
    PENDING,
    POINTS,
    meaning,
)
from services.tagging.domain.conditions.leaves import (
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    HasConsent,
    HasTag,
    InFlow,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    OrderTest,
    Reachable,
    RelatedTo,
    RfmScores,
    Streak,
    Succession,
    Tie,
)
from services.tagging.domain.conditions.limits import happenings

_NONE: Final = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Reads:
    """`event_types` and `categories` of behaviours (`any_event`: all of them), the rest by their keys and ids.

    `identity`: when the customer was created or became known. `clock`: time alone may change it. `groups` has "" for any group.
    `membership`, `reach`, `flows` and `deliveries`: what other services told of dealings.
    """

    event_types: frozenset[str] = _NONE
    categories: frozenset[str] = _NONE
    any_event: bool = False
    orders: bool = False
    attributes: frozenset[str] = _NONE
    tags: frozenset[str] = _NONE
    models: frozenset[str] = _NONE
    segments: frozenset[UUID] = frozenset()
    ties: frozenset[Tie] = frozenset()
    groups: frozenset[str] = _NONE
    consents: frozenset[str] = _NONE
    identity: bool = False
    clock: bool = False
    membership: bool = False
    reach: bool = False
    flows: bool = False
    deliveries: bool = False

    @property
    def history(self) -> bool:
        """Whether anything but kept sets is read."""
        return self != Reads(tags=self.tags, models=self.models, segments=self.segments)

    @property
    def dealings(self) -> bool:
        """Whether any of them are read."""
        return self.membership or self.reach or self.flows or self.deliveries

    def behaviour(self, kind: str, category: str) -> bool:
        """Whether a behaviour of this kind can change it."""
        return self.any_event or kind in self.event_types or category in self.categories


def reads(leaves: Iterable[Leaf]) -> Reads:
    """What `leaves` read, of a condition or of an operation on sets."""
    found = [meaning(it) for it in leaves]
    meant = [it for leaf in found for it in happenings(leaf)]
    own = {it.key for it in found if isinstance(it, AttributeTest)}
    identity = own & {KNOWN, KNOWN_DAYS, CREATED_DAYS}
    return Reads(
        event_types=frozenset(it.type for it in meant if it.type),
        categories=frozenset(it.category for it in meant if it.category and not it.type),
        any_event=any(not it.type and not it.category for it in meant),
        orders=any(isinstance(it, OrderTest) for it in found),
        attributes=frozenset(own - identity - OF_MEMBERSHIP),
        tags=frozenset(it.tag for it in found if isinstance(it, HasTag)),
        models=frozenset(it.model for it in found if isinstance(it, InLayer | RfmScores)),
        segments=frozenset(it.segment for it in found if isinstance(it, InSegment)),
        ties=frozenset(it.tie for it in found if isinstance(it, RelatedTo)),
        groups=frozenset(it.group or "" for it in found if isinstance(it, InGroup)),
        consents=frozenset(it.purpose for it in found if isinstance(it, HasConsent)),
        identity=bool(identity),
        clock=bool(identity - {KNOWN})
        or bool(own & {MEMBER_DAYS, POINTS, PENDING})
        or any(map(_moves_with_time, found)),
        membership=bool(own & OF_MEMBERSHIP),
        reach=any(isinstance(it, Reachable) for it in found),
        flows=any(isinstance(it, InFlow) for it in found),
        deliveries=any(isinstance(it, Delivered) for it in found),
    )


def _moves_with_time(leaf: Leaf) -> bool:
    match leaf:
        case Absence():
            return True
        case EventTest() | OrderTest():
            return not leaf.window.fixed or leaf.figure.of_now
        case Streak() | Succession() | Delivered():
            return not leaf.window.fixed
    return False
