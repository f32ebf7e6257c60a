"""Who brought whom (spec MB-7, TG-13): out of the codes that customers have, and what those whom they tell do.

A brand gives customers a code of their own, as the attribute `referral_code`. Somebody new who registers because of one names it
(`referral_registered`); the referral succeeds with that customer's first paid order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

NEW_FOR: Final = timedelta(days=30)
"""Who has been known for longer is not new any more, and nobody's referee."""


class Registration(NamedTuple):
    """Somebody named a code; it is "" if none was told."""

    at: datetime
    code: str


@dataclass(frozen=True, slots=True)
class Referee:
    """A customer who registered because of somebody. `paid_at` are the instants of orders of which something is left."""

    customer: UUID
    known_since: datetime | None
    registrations: Sequence[Registration]
    paid_at: Sequence[datetime]

    @property
    def first(self) -> Registration:
        """What counts: whoever registers again stays with whom it was."""
        return min(self.registrations)

    @property
    def is_new(self) -> bool:
        """Whether the customer was new when it registered: without an order, and not known for long."""
        at = self.first.at
        known_for_long = self.known_since is not None and self.known_since < at - NEW_FOR
        return not known_for_long and not any(it < at for it in self.paid_at)

    @property
    def succeeded_at(self) -> datetime | None:
        """When the referral succeeded: with the first order."""
        return min(self.paid_at, default=None) if self.is_new else None


@dataclass(frozen=True, slots=True)
class Referral:
    """A new customer came because of the holder of a code; `succeeded_at` is the instant of the first order, if there is one."""

    referrer: UUID
    referee: UUID
    succeeded_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReferralCount:
    """How far customers are told of a brand by others: customers each.

    `sharers` shared something or were named; `converted` of the `invited` paid an order; `referrers` says how many were
    named with success how often.
    """

    holders: int
    sharers: int
    named: int
    invited: int
    converted: int
    referrers: dict[int, int]
