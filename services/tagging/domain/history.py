"""Everything that is known about one customer: what conditions, rules and models are functions of.

A history holds the facts of all nodes of the customer, each list in the order of business time. What follows from it
is decided for an instant (`up_to`), never for the order in which facts arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from services.tagging.domain.dealings import NO_DEALINGS, Dealings


class Behaviour(NamedTuple):
    """One accepted behaviour (spec TR-2). `offset` are minutes from UTC as the device reported them."""

    at: datetime
    type: str
    category: str
    channel: str
    offset: int | None
    content: str
    page_view: str
    properties: Mapping[str, Any]


class Line(NamedTuple):
    """One article of an order; amounts in minor units: the list price and what was paid, of all pieces together."""

    sku: str
    category: str
    brand: str
    quantity: int
    list: int
    paid: int


class Purchase(NamedTuple):
    """One paid order; `net` in minor units, without shipping and after all refunds, which are `returned` together. `lines` may not
    be known."""

    order: UUID
    at: datetime
    currency: str
    net: int
    lines: Sequence[Line] = ()
    coupons: int = 0
    returned: int = 0


@dataclass(frozen=True, slots=True)
class Reads:
    """What somebody looks at in histories beside when the customer was created and known: behaviours of these types (None: of all), the
    properties of behaviours of these types, what was paid when (`orders`) and the `lines` of it, `who` the customer is (attributes,
    relations, groups, consents), `dealings` with it, whom it referred, and by whom it was (`referrer`)."""

    properties_of: frozenset[str] | None = None
    lines: bool = True
    who: bool = True
    dealings: bool = False
    behaviours_of: frozenset[str] | None = None
    orders: bool = True
    referrals: bool = True
    referrer: bool = False

    def but(self, **others: Any) -> "Reads":
        """The same with `others`."""
        return replace(self, **others)

    def __or__(self, other: "Reads") -> "Reads":
        """What one of both looks at."""
        return Reads(
            properties_of=_either(self.properties_of, other.properties_of),
            lines=self.lines or other.lines,
            who=self.who or other.who,
            dealings=self.dealings or other.dealings,
            behaviours_of=_either(self.behaviours_of, other.behaviours_of),
            orders=self.orders or other.orders,
            referrals=self.referrals or other.referrals,
            referrer=self.referrer or other.referrer,
        )


def _either(some: frozenset[str] | None, others: frozenset[str] | None) -> frozenset[str] | None:
    return None if some is None or others is None else some | others


EVERYTHING: Final = Reads(dealings=True, referrer=True)
NOTHING: Final = Reads(frozenset(), lines=False, who=False, behaviours_of=frozenset(), orders=False, referrals=False)


@dataclass(frozen=True, slots=True)
class History:
    """One customer. `attributes` are the resolved values by key, `relations` the ids of guide, store and referrer by those
    words, `groups` the groups the customer is in, `consents` the purposes agreed to, `referrals` the instants at which somebody
    whom the customer referred paid the first order; `dealings` are as they are now, those with an instant with their instants."""

    customer: UUID
    created_at: datetime | None = None
    known_since: datetime | None = None
    behaviours: Sequence[Behaviour] = ()
    purchases: Sequence[Purchase] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    relations: Mapping[str, str] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    consents: frozenset[str] = frozenset()
    dealings: Dealings = NO_DEALINGS
    referrals: Sequence[datetime] = ()

    def up_to(self, at: datetime) -> "History":
        """What had happened by `at`, that instant included; of what is only known as it is now, what is known now."""
        return History(
            self.customer,
            self.created_at,
            self.known_since if self.known_since is not None and self.known_since <= at else None,
            [it for it in self.behaviours if it.at <= at],
            [it for it in self.purchases if it.at <= at],
            self.attributes,
            self.relations,
            self.groups,
            self.consents,
            self.dealings,
            [it for it in self.referrals if it <= at],
        )
