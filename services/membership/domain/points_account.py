"""A customer's points: lots that are granted, spent first-expiring-first, and gone at an instant."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import ValueOutOfRange
from services.membership.domain.errors import (
    BurnNotFound,
    BurnRefUsed,
    GrantNotFound,
    GrantRefUsed,
    InsufficientPoints,
    ReversalExceedsGrant,
)
from services.membership.domain.lots import (
    Allocation,
    Balance,
    Burn,
    Grant,
    Lot,
    Source,
    allocate,
    first_expiring_first,
    lot_id,
    total,
)
from services.membership.domain.tally import Tally

RESTORED_POINTS_LIVE = timedelta(days=30)


@lru_cache(maxsize=50_000)
def account_id(tenant: str, customer: UUID) -> UUID:
    """The points account of one customer."""
    return natural_id(tenant, "points_account", customer)


class PointsAccount(Aggregate):
    """The points of one customer. Debt means that every active point is used up."""

    TOPIC = "membership.PointsAccount"

    class Opened(InitialEvent):
        TOPIC = "membership.PointsAccountOpened"
        tenant: str
        customer: UUID

    class Granted(Event):
        TOPIC = "membership.PointsGranted"
        customer: UUID
        lot: Lot
        rules: tuple[str, ...]
        granted_at: datetime

    class Activated(Event):
        TOPIC = "membership.PointsActivated"
        customer: UUID
        lot: UUID
        points: int
        activated_at: datetime

    class DebtOffset(Event):
        TOPIC = "membership.PointsDebtOffset"
        customer: UUID
        allocations: tuple[Allocation, ...]
        offset_at: datetime

    class Burned(Event):
        TOPIC = "membership.PointsBurned"
        customer: UUID
        ref: str
        points: int
        purpose: str
        allocations: tuple[Allocation, ...]
        burned_at: datetime

    class Restored(Event):
        TOPIC = "membership.PointsRestored"
        customer: UUID
        ref: str
        allocations: tuple[Allocation, ...]
        new_lots: tuple[Lot, ...]
        restored_at: datetime

    class Expired(Event):
        TOPIC = "membership.PointsExpired"
        customer: UUID
        lot: UUID
        points: int
        expired_at: datetime

    class Reversed(Event):
        TOPIC = "membership.PointsReversed"
        customer: UUID
        lot: UUID
        source: Source
        ref: str
        points: int
        allocations: tuple[Allocation, ...]
        to_debt: int
        reversed_at: datetime

    class HandedOver(Event):
        TOPIC = "membership.PointsAccountHandedOver"
        customer: UUID
        to_customer: UUID
        merge: UUID

    class TakenOver(Event):
        TOPIC = "membership.PointsAccountTakenOver"
        customer: UUID
        from_customer: UUID
        merge: UUID
        lots: tuple[Lot, ...]
        burns: tuple[Burn, ...]
        debt: int
        tally: Tally

    @event(Opened)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        customer: UUID,
    ) -> None:
        self.tenant = tenant
        self.customer = customer
        self.lots: dict[UUID, Lot] = {}
        self.open: dict[UUID, Lot] = {}
        self.grants: dict[tuple[Source, str], UUID] = {}
        self.burns: dict[str, Burn] = {}
        self.debt = 0
        self.tally = Tally()

    @classmethod
    def open_for(cls, tenant: str, customer: UUID) -> "PointsAccount":
        return cls(account_id(tenant, customer), tenant, customer)

    # What is there

    def balance(self, at: datetime) -> Balance:
        """The account at `at`, by the instants of its lots: whether timers ran does not matter."""
        spendable = [it for it in self.open.values() if it.is_spendable(at)]
        pending = sum(it.remaining for it in self.open.values() if it.active_at > at)
        first = min((it.expire_at for it in spendable if it.expire_at), default=None)
        expiring = sum(it.remaining for it in spendable if it.expire_at == first)
        active = sum(it.remaining for it in spendable)
        return Balance(active, pending, self.debt, (first, expiring) if first else None)

    def granted_lot(self, source: Source, ref: str) -> Lot | None:
        lot = self.grants.get((source, ref))
        return self.lots[lot] if lot is not None else None

    @property
    def next_due(self) -> datetime | None:
        """When the first of the lots activates or expires."""
        dues = (it.due_at for it in self.open.values())
        return min((due for due in dues if due is not None), default=None)

    # What can be done

    def settle(self, now: datetime) -> None:
        """Record what came by itself up to `now`: activations and expiries, in the order of time."""
        while (due := self.next_due) is not None and due <= now:
            lots = sorted((it for it in self.open.values() if it.due_at == due), key=lambda it: it.id)
            for lot in lots:
                if lot.pending:
                    self._activated(self.customer, lot.id, lot.remaining, due)
                else:
                    self._expired(self.customer, lot.id, lot.remaining, due)
            self._repay(due)

    def grant(self, grant: Grant, now: datetime) -> Lot:
        """Grant points, once per (source, ref); debt is repaid out of them first.

        Raises OutOfRange, and GrantRefUsed when (source, ref) granted another amount.
        """
        if (present := self.granted_lot(grant.source, grant.ref)) is not None:
            if present.granted != grant.points:
                raise GrantRefUsed(granted=present.granted)
            return present
        if grant.points <= 0:
            raise ValueOutOfRange("points must be positive", field="points")
        if grant.expire_at is not None and grant.expire_at <= grant.active_at:
            raise ValueOutOfRange("points must expire after they activate", field="expire_time")
        self.settle(now)
        lot = Lot(
            lot_id(self.tenant, self.customer, grant.source, grant.ref),
            grant.node,
            grant.source,
            grant.ref,
            granted=grant.points,
            remaining=grant.points,
            active_at=grant.active_at,
            expire_at=grant.expire_at,
            pending=grant.active_at > now,
            rate=grant.rate,
        )
        self._granted(self.customer, lot, grant.rules, now)
        self.settle(now)
        self._repay(now)
        return self.lots[lot.id]

    def burn(self, ref: str, points: int, purpose: str, now: datetime) -> Burn:
        """Spend points, once per `ref`. Raises OutOfRange, InsufficientPoints, BurnRefUsed."""
        if (present := self.burns.get(ref)) is not None:
            if present.points != points:
                raise BurnRefUsed(burned=present.points)
            return present
        if points <= 0:
            raise ValueOutOfRange("points must be positive", field="points")
        available = self.balance(now).available
        if points > available:
            raise InsufficientPoints(available=available)
        self.settle(now)
        self._burned(self.customer, ref, points, purpose, allocate(points, self._active()), now)
        return self.burns[ref]

    def cancel_burn(self, ref: str, now: datetime) -> Burn:
        """Give the points of a burn back to their lots; nothing the second time.

        What belongs to a lot that expired meanwhile comes back as a new lot that lives for 30 days.
        Raises BurnNotFound.
        """
        burn = self.burns.get(ref)
        if burn is None:
            raise BurnNotFound
        if not burn.cancelled:
            self.settle(now)
            gone = [it for it in burn.allocations if self._is_gone(it.lot, now)]
            back = tuple(it for it in burn.allocations if it not in gone)
            new_lots = tuple(self._restore_lot(ref, it, now) for it in gone)
            self._restored(self.customer, ref, back, new_lots, now)
            self._repay(now)
        return self.burns[ref]

    def reverse(self, source: Source, ref: str, points: int | None, now: datetime) -> Lot:
        """Take back `points` of a grant, or (None) all that is left of it; the rest becomes debt.

        Raises GrantNotFound, OutOfRange, ReversalExceedsGrant.
        """
        lot = self.granted_lot(source, ref)
        if lot is None:
            raise GrantNotFound
        if points is not None and points <= 0:
            raise ValueOutOfRange("points must be positive", field="points")
        self.settle(now)
        lot = self.lots[lot.id]
        if points is not None and points > lot.reversible:
            raise ReversalExceedsGrant(left=lot.reversible)
        self._take_back(lot, lot.reversible if points is None else points, now)
        return self.lots[lot.id]

    def reverse_down_to(self, source: Source, ref: str, target: int, now: datetime) -> None:
        """Take back what a grant is too much when only `target` points were due for it.

        Targets are cumulative, so that any number of partial refunds does not drift. Points that
        expired unspent count as given back.
        """
        lot = self.granted_lot(source, ref)
        if lot is not None:
            self.settle(now)
            lot = self.lots[lot.id]
            self._take_back(lot, lot.reversible - target, now)

    def take_over(self, other: "PointsAccount", merge: UUID, now: datetime) -> None:
        """Hold the lots, burns and debt of `other` from now on; lots keep node, amounts, expiry."""
        self.settle(now)
        other.settle(now)
        lots, burns = tuple(other.lots.values()), tuple(other.burns.values())
        debt, tally = other.debt, other.tally
        other._handed_over(other.customer, self.customer, merge)  # noqa: SLF001 - the same class
        self._taken_over(self.customer, other.customer, merge, lots, burns, debt, tally)
        self._repay(now)

    # How that is decided

    def _active(self) -> list[Lot]:
        return first_expiring_first(it for it in self.open.values() if not it.pending)

    def _repay(self, now: datetime) -> None:
        """Active points pay debt before anything else."""
        if self.debt and (allocations := allocate(self.debt, self._active())):
            self._debt_offset(self.customer, allocations, now)

    def _take_back(self, lot: Lot, points: int, now: datetime) -> None:
        """From the lot itself, then from other active lots, the rest from points to come."""
        if points <= 0:
            return
        others = [it for it in self._active() if it.id != lot.id]
        allocations = allocate(points, [lot, *others])
        to_debt = points - total(allocations)
        self._reversed(self.customer, lot.id, lot.source, lot.ref, points, allocations, to_debt, now)

    def _is_gone(self, lot: UUID, now: datetime) -> bool:
        expire_at = self.lots[lot].expire_at
        return expire_at is not None and expire_at <= now

    def _restore_lot(self, ref: str, allocation: Allocation, now: datetime) -> Lot:
        old, points = self.lots[allocation.lot], allocation.points
        ref = f"{ref}/{old.id}"
        new = lot_id(self.tenant, self.customer, Source.RESTORE, ref)
        expire_at = now + RESTORED_POINTS_LIVE
        return Lot(new, old.node, Source.RESTORE, ref, points, points, now, expire_at, pending=False)

    # What that changes

    @event(Granted)
    def _granted(self, customer: UUID, lot: Lot, rules: tuple[str, ...], granted_at: datetime) -> None:
        self._keep(lot)
        self.grants[lot.source, lot.ref] = lot.id
        self._tally(granted=lot.granted)

    @event(Activated)
    def _activated(self, customer: UUID, lot: UUID, points: int, activated_at: datetime) -> None:
        self._keep(replace(self.lots[lot], pending=False))

    @event(DebtOffset)
    def _debt_offset(self, customer: UUID, allocations: tuple[Allocation, ...], offset_at: datetime) -> None:
        self._take(allocations)
        self.debt -= total(allocations)
        self._tally(debt_offsets=total(allocations))

    @event(Burned)
    def _burned(
        self,
        customer: UUID,
        ref: str,
        points: int,
        purpose: str,
        allocations: tuple[Allocation, ...],
        burned_at: datetime,
    ) -> None:
        self._take(allocations)
        self.burns[ref] = Burn(ref, points, allocations)
        self._tally(burned=points)

    @event(Restored)
    def _restored(
        self,
        customer: UUID,
        ref: str,
        allocations: tuple[Allocation, ...],
        new_lots: tuple[Lot, ...],
        restored_at: datetime,
    ) -> None:
        for it in allocations:
            lot = self.lots[it.lot]
            self._keep(replace(lot, remaining=lot.remaining + it.points))
        for lot in new_lots:
            self._keep(lot)
        self.burns[ref] = replace(self.burns[ref], cancelled=True)
        self._tally(restored=total(allocations) + sum(it.granted for it in new_lots))

    @event(Expired)
    def _expired(self, customer: UUID, lot: UUID, points: int, expired_at: datetime) -> None:
        present = self.lots[lot]
        left, expired = present.remaining - points, present.expired + points
        self._keep(replace(present, remaining=left, expired=expired))
        self._tally(expired=points)

    @event(Reversed)
    def _reversed(
        self,
        customer: UUID,
        lot: UUID,
        source: Source,
        ref: str,
        points: int,
        allocations: tuple[Allocation, ...],
        to_debt: int,
        reversed_at: datetime,
    ) -> None:
        self._take(allocations)
        self._keep(replace(self.lots[lot], reversed=self.lots[lot].reversed + points))
        self.debt += to_debt
        self._tally(reversed_from_lots=total(allocations), to_debt=to_debt)

    @event(HandedOver)
    def _handed_over(self, customer: UUID, to_customer: UUID, merge: UUID) -> None:
        self.lots, self.open, self.grants, self.burns = {}, {}, {}, {}
        self.debt, self.tally = 0, Tally()

    @event(TakenOver)
    def _taken_over(
        self,
        customer: UUID,
        from_customer: UUID,
        merge: UUID,
        lots: tuple[Lot, ...],
        burns: tuple[Burn, ...],
        debt: int,
        tally: Tally,
    ) -> None:
        for lot in lots:
            self._keep(lot)
            self.grants.setdefault((lot.source, lot.ref), lot.id)
        for burn in burns:
            self.burns.setdefault(burn.ref, burn)
        self.debt += debt
        self.tally += tally

    def _tally(self, **points: int) -> None:
        self.tally += Tally(**points)

    def _take(self, allocations: Sequence[Allocation]) -> None:
        for it in allocations:
            lot = self.lots[it.lot]
            self._keep(replace(lot, remaining=lot.remaining - it.points))

    def _keep(self, lot: Lot) -> None:
        self.lots[lot.id] = lot
        if lot.remaining:
            self.open[lot.id] = lot
        else:
            self.open.pop(lot.id, None)
