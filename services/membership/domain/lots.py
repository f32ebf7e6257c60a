"""Lots of points: what was granted at once, expires at once, and is used up first in, first gone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import natural_id

FOREVER = datetime.max.replace(tzinfo=UTC)


class Source(StrEnum):
    """Why points were granted."""

    ORDER = "ORDER"
    TASK = "TASK"
    REFERRAL = "REFERRAL"
    GIFT = "GIFT"
    MANUAL = "MANUAL"
    RECEIPT = "RECEIPT"
    RESTORE = "RESTORE"


class LotState(StrEnum):
    """Where the points of a lot are."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    EXHAUSTED = "EXHAUSTED"
    EXPIRED = "EXPIRED"
    REVERSED = "REVERSED"


@dataclass(frozen=True, slots=True)
class Lot:
    """Points granted for (source, ref) to `node`; `rate` is what an order earned per 1.00.

    `expired` points went unspent, `reversed` points had to be given back (from this lot or not).
    Spendable while active_at ≤ t < expire_at. `void` if all that was not gone was given back and may be granted again.
    """

    id: UUID
    node: UUID
    source: Source
    ref: str
    granted: int
    remaining: int
    active_at: datetime
    expire_at: datetime | None
    pending: bool
    rate: Decimal | None = None
    expired: int = 0
    reversed: int = 0
    void: bool = False

    @property
    def state(self) -> LotState:
        if self.pending:
            return LotState.PENDING
        if self.remaining:
            return LotState.ACTIVE
        if self.expired:
            return LotState.EXPIRED
        return LotState.REVERSED if self.reversed >= self.granted else LotState.EXHAUSTED

    @property
    def reversible(self) -> int:
        """Points of the grant that are neither given back nor gone unspent."""
        return self.granted - self.reversed - self.expired

    @property
    def is_unspent(self) -> bool:
        """Whether all that can be given back is still there."""
        return self.remaining == self.reversible > 0

    @property
    def due_at(self) -> datetime | None:
        """When something happens to the rest of this lot by itself: it activates or expires."""
        if not self.remaining:
            return None
        return self.active_at if self.pending else self.expire_at

    def is_spendable(self, at: datetime) -> bool:
        """By the instants alone, whether or not activation and expiry were recorded already."""
        return self.remaining > 0 and self.active_at <= at and (self.expire_at is None or at < self.expire_at)


@dataclass(frozen=True, slots=True)
class Allocation:
    """So many points of one lot."""

    lot: UUID
    points: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Points to be granted: once per (source, ref) and account."""

    node: UUID
    source: Source
    ref: str
    points: int
    active_at: datetime
    expire_at: datetime | None
    rate: Decimal | None = None
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Balance:
    """An account at an instant; `total` is negative while there is debt."""

    active: int
    pending: int
    debt: int
    next_expiry: tuple[datetime, int] | None

    @property
    def total(self) -> int:
        return self.active - self.debt

    @property
    def available(self) -> int:
        return max(0, self.total)


@dataclass(frozen=True, slots=True)
class Burn:
    """Points that `node` spent under `ref`, and the lots they came from."""

    node: UUID
    ref: str
    points: int
    allocations: tuple[Allocation, ...]
    cancelled: bool = False


def lot_id(tenant: str, node: UUID, source: Source, ref: str, turn: int = 1) -> UUID:
    """The lot that (source, ref) grants to a node: there can be only one that is not void."""
    return natural_id(tenant, "lot", node, source, ref, *([turn] if turn > 1 else []))


def first_expiring_first(lots: Iterable[Lot]) -> list[Lot]:
    """The order of use: earliest expiry, then earliest activation, then lot id."""
    return sorted(lots, key=lambda it: (it.expire_at or FOREVER, it.active_at, it.id))


def allocate(points: int, lots: Iterable[Lot]) -> tuple[Allocation, ...]:
    """Take up to `points` from `lots` in the order given."""
    taken = []
    for lot in lots:
        if points <= 0:
            break
        share = min(points, lot.remaining)
        if share:
            taken.append(Allocation(lot.id, share))
            points -= share
    return tuple(taken)


def shares(points: int, weights: Mapping[UUID, int]) -> dict[UUID, int]:
    """`points` divided in proportion to `weights`, of which they are not more; what is left over goes to the largest fractions."""
    whole = sum(weights.values())
    parts = {it: divmod(points * weight, whole) for it, weight in weights.items()}
    found = {it: part for it, (part, _) in parts.items()}
    by_fraction = sorted(parts, key=lambda it: (-parts[it][1], it))
    for it in by_fraction[: points - sum(found.values())]:
        found[it] += 1
    return found


def total(allocations: Iterable[Allocation]) -> int:
    return sum(it.points for it in allocations)
