"""The threshold of membership: what a customer has to spend, in which days, to become a member."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.membership.domain.calendar import local_date


@dataclass(frozen=True, slots=True)
class Spend:
    """A paid order as it counts towards the threshold: `net` minor units are left of it."""

    order: UUID
    node: UUID
    net: int
    currency: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Qualification:
    """The threshold was reached at `at`; the order that crossed it, and all later ones, earn."""

    at: datetime
    order: UUID
    earns_from: datetime


@dataclass(frozen=True, slots=True)
class JoinPolicy:
    """SPEND: at least `threshold` minor units net within `window_days` local days.

    A refund within `revoke_on_refund_days` after joining takes the membership back when the
    threshold would not have been reached without the money refunded.
    """

    version: int
    threshold: int
    window_days: int
    revoke_on_refund_days: int
    currency: str
    zone: str

    def counted(self, spends: Collection[Spend], at: datetime) -> list[Spend]:
        """The orders in the window that ends at `at`, by time.

        The window holds the local day of `at` and the `window_days - 1` days before it.
        """
        before = local_date(at, self.zone) - timedelta(days=self.window_days)
        inside = [
            it
            for it in spends
            if it.net > 0
            and it.currency == self.currency
            and it.paid_at <= at
            and local_date(it.paid_at, self.zone) > before
        ]
        return sorted(inside, key=lambda it: (it.paid_at, it.order))

    def progress(self, spends: Collection[Spend], at: datetime) -> int:
        """Minor units spent within the window that ends at `at`."""
        return sum(it.net for it in self.counted(spends, at))

    def is_out_of_reach(self, spends: Iterable[Spend]) -> bool:
        """Whether all orders together, whenever they were, are not enough: the quick answer for most customers."""
        return sum(it.net for it in spends) < self.threshold

    def qualification(self, spends: Collection[Spend], instants: Sequence[datetime]) -> Qualification | None:
        """The first of `instants` at which the threshold is reached, in the order given."""
        for at in instants:
            total = 0
            for spend in self.counted(spends, at):
                total += spend.net
                if total >= self.threshold:
                    return Qualification(at, spend.order, spend.paid_at)
        return None
