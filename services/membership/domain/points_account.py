"""A customer's points: lots that are granted, spent first-expiring-first, and gone at an instant."""

from collections.abc import Collection, Iterable, Sequence
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
    shares,
    total,
)
from services.membership.domain.tally import Tally

RESTORED_POINTS_LIVE = timedelta(days=30)


@lru_cache(maxsize=50_000)
def account_id(tenant: str, customer: UUID) -> UUID:
    """The points account of one customer."""
    return natural_id(tenant, "points_account", customer)


class PointsAccount(Aggregate):
    """The points of one customer. Debt means that every active point is used up.

    Lots, burns and debts stay with the node they came to: a merge hands all of them over to the account of the
    survivor, and when it is taken back those of the restored customer's nodes return, less what was used meanwhile.
    """

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
        node: UUID
        ref: str
        points: int
        purpose: str
        allocations: tuple[Allocation, ...]
        burned_at: datetime

    class Restored(Event):
        TOPIC = "membership.PointsRestored"
        customer: UUID
        node: UUID
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

    class Withdrawn(Event):
        TOPIC = "membership.PointsWithdrawn"
        customer: UUID
        lot: UUID
        source: Source
        ref: str
        points: int
        void: bool
        withdrawn_at: datetime

    class HandedOver(Event):
        TOPIC = "membership.PointsAccountHandedOver"
        customer: UUID
        to_customer: UUID
        merge: UUID
        lots: tuple[Lot, ...]
        debts: dict[UUID, int]
        moved_at: datetime

    class TakenOver(Event):
        TOPIC = "membership.PointsAccountTakenOver"
        customer: UUID
        from_customer: UUID
        merge: UUID
        lots: tuple[Lot, ...]
        burns: tuple[Burn, ...]
        elsewhere: dict[UUID, UUID]
        debts: dict[UUID, int]
        moved_at: datetime

    class Split(Event):
        TOPIC = "membership.PointsAccountSplit"
        customer: UUID
        to_customer: UUID
        merge: UUID
        lots: tuple[Lot, ...]
        burns: tuple[Burn, ...]
        debts: dict[UUID, int]
        moved_at: datetime

    class Regained(Event):
        TOPIC = "membership.PointsAccountRegained"
        customer: UUID
        from_customer: UUID
        merge: UUID
        lots: tuple[Lot, ...]
        burns: tuple[Burn, ...]
        elsewhere: dict[UUID, UUID]
        debts: dict[UUID, int]
        moved_at: datetime

    class Closed(Event):
        """The customer is erased: what was left is forfeited, what was owed is forgiven."""

        TOPIC = "membership.PointsAccountClosed"
        customer: UUID
        lots: tuple[Allocation, ...]
        debts: dict[UUID, int]
        closed_at: datetime

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
        self.burns: dict[tuple[UUID, str], Burn] = {}
        self.debts: dict[UUID, int] = {}
        self.sent: dict[UUID, UUID] = {}
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

    def find_burn(self, ref: str, node: UUID) -> Burn | None:
        """What `node` spent under `ref`, or else whoever is part of this customer."""
        mine = self.burns.get((node, ref))
        return mine or next((it for it in self.burns.values() if it.ref == ref), None)

    def elsewhere(self, burn: Burn) -> dict[UUID, tuple[Allocation, ...]]:
        """What `burn` took from lots that went back to other customers since, by the node of the lot."""
        found: dict[UUID, tuple[Allocation, ...]] = {}
        for it in burn.allocations:
            if (node := self.sent.get(it.lot)) is not None:
                found[node] = (*found.get(node, ()), it)
        return found

    @property
    def debt(self) -> int:
        """Points owed; `debts` tells for which grants."""
        return sum(self.debts.values())

    @property
    def nodes(self) -> set[UUID]:
        """Every node that has a share in this."""
        return {it.node for it in self.lots.values()} | {it.node for it in self.burns.values()}

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
            self._new_lot(grant),
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

    def burn(self, ref: str, points: int, purpose: str, now: datetime, node: UUID | None = None) -> Burn:
        """Spend points, once per `ref`. Raises OutOfRange, InsufficientPoints, BurnRefUsed."""
        node = node or self.customer
        if (present := self.find_burn(ref, node)) is not None:
            if present.points != points:
                raise BurnRefUsed(burned=present.points)
            return present
        if points <= 0:
            raise ValueOutOfRange("points must be positive", field="points")
        available = self.balance(now).available
        if points > available:
            raise InsufficientPoints(available=available)
        self.settle(now)
        self._burned(self.customer, node, ref, points, purpose, allocate(points, self._active()), now)
        return self.burns[node, ref]

    def cancel_burn(self, ref: str, now: datetime, node: UUID | None = None) -> Burn:
        """Give the points of a burn back to their lots, as far as these are here; nothing the second time.

        What belongs to a lot that expired meanwhile comes back as a new lot that lives for 30 days.
        Raises BurnNotFound.
        """
        burn = self.find_burn(ref, node or self.customer)
        if burn is None:
            raise BurnNotFound
        if not burn.cancelled:
            self.restore(burn, [it for it in burn.allocations if it.lot in self.lots], now)
        return self.burns[burn.node, ref]

    def restore(self, burn: Burn, allocations: Sequence[Allocation], now: datetime) -> None:
        """Give back what `burn`, of this account or of one that these lots were in, took from lots of this account."""
        self.settle(now)
        gone = [it for it in allocations if self._is_gone(it.lot, now)]
        back = tuple(it for it in allocations if it not in gone)
        new_lots = tuple(self._restore_lot(burn.ref, it, now) for it in gone)
        self._restored(self.customer, burn.node, burn.ref, back, new_lots, now)
        self._repay(now)

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

    def withdraw(self, source: Source, ref: str, now: datetime) -> None:
        """Take back what is there of a grant that lost its reason; if none of it was spent it may be made anew."""
        self.settle(now)
        lot = self.granted_lot(source, ref)
        if lot is not None and lot.remaining:
            self._withdrawn(self.customer, lot.id, source, ref, lot.remaining, lot.is_unspent, now)

    def take_over(self, other: "PointsAccount", merge: UUID, now: datetime) -> None:
        """Hold the lots, burns and debts of `other` from now on; lots keep node, amounts, expiry."""
        self.settle(now)
        other.settle(now)
        lots, burns = tuple(other.lots.values()), tuple(other.burns.values())
        debts, sent = dict(other.debts), dict(other.sent)
        other._handed_over(other.customer, self.customer, merge, lots, debts, now)  # noqa: SLF001 - the same class
        self._taken_over(self.customer, other.customer, merge, lots, burns, sent, debts, now)
        self._repay(now)

    def give_back(self, other: "PointsAccount", nodes: Collection[UUID], merge: UUID, now: datetime) -> None:
        """Let `other` have what is left of the lots and debts of `nodes`, and what they spent.

        What one side's points paid for the other stays paid. A burn names its lots wherever they are.
        """
        self.settle(now)
        lots = tuple(it for it in self.lots.values() if it.node in nodes)
        burns = tuple(it for it in self.burns.values() if it.node in nodes)
        going = {it.id for it in lots}
        used = {it.lot for burn in burns for it in burn.allocations} - going
        elsewhere = {it: self.lots[it].node if it in self.lots else self.sent[it] for it in used}
        debts = {lot: points for lot, points in self.debts.items() if lot in going}
        self._split(self.customer, other.customer, merge, lots, burns, debts, now)
        other._regained(other.customer, self.customer, merge, lots, burns, elsewhere, debts, now)  # noqa: SLF001

    def close(self, now: datetime) -> None:
        """Forfeit what is left and owe nothing. There is an entry for every point, and nobody whose they were."""
        self.settle(now)
        lots = tuple(Allocation(it.id, it.remaining) for it in first_expiring_first(self.open.values()))
        self._closed(self.customer, lots, dict(self.debts), now)

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

    def _new_lot(self, grant: Grant) -> UUID:
        turn, id = 1, lot_id(self.tenant, grant.node, grant.source, grant.ref)
        while id in self.lots:
            turn += 1
            id = lot_id(self.tenant, grant.node, grant.source, grant.ref, turn)
        return id

    def _is_gone(self, lot: UUID, now: datetime) -> bool:
        expire_at = self.lots[lot].expire_at
        return expire_at is not None and expire_at <= now

    def _restore_lot(self, ref: str, allocation: Allocation, now: datetime) -> Lot:
        old, points = self.lots[allocation.lot], allocation.points
        ref = f"{ref}/{old.id}"
        new = lot_id(self.tenant, old.node, Source.RESTORE, ref)
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
        for lot, share in shares(total(allocations), self.debts).items():
            self._owe(lot, -share)
        self._tally(debt_offsets=total(allocations))

    @event(Burned)
    def _burned(
        self,
        customer: UUID,
        node: UUID,
        ref: str,
        points: int,
        purpose: str,
        allocations: tuple[Allocation, ...],
        burned_at: datetime,
    ) -> None:
        self._take(allocations)
        self.burns[node, ref] = Burn(node, ref, points, allocations)
        self._tally(burned=points)

    @event(Restored)
    def _restored(
        self,
        customer: UUID,
        node: UUID,
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
        if (burn := self.burns.get((node, ref))) is not None:
            self.burns[node, ref] = replace(burn, cancelled=True)
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
        self._owe(lot, to_debt)
        self._tally(reversed_from_lots=total(allocations), to_debt=to_debt)

    @event(Withdrawn)
    def _withdrawn(
        self,
        customer: UUID,
        lot: UUID,
        source: Source,
        ref: str,
        points: int,
        void: bool,
        withdrawn_at: datetime,
    ) -> None:
        present = self.lots[lot]
        left, given_back = present.remaining - points, present.reversed + points
        self._keep(replace(present, remaining=left, reversed=given_back, void=void))
        if void:
            del self.grants[source, ref]
        self._tally(reversed_from_lots=points)

    @event(HandedOver)
    def _handed_over(
        self,
        customer: UUID,
        to_customer: UUID,
        merge: UUID,
        lots: tuple[Lot, ...],
        debts: dict[UUID, int],
        moved_at: datetime,
    ) -> None:
        self.lots, self.open, self.grants, self.burns, self.debts, self.sent = {}, {}, {}, {}, {}, {}
        self._tally(handed_over=_left(lots), debt_handed_over=sum(debts.values()))

    @event(TakenOver)
    def _taken_over(
        self,
        customer: UUID,
        from_customer: UUID,
        merge: UUID,
        lots: tuple[Lot, ...],
        burns: tuple[Burn, ...],
        elsewhere: dict[UUID, UUID],
        debts: dict[UUID, int],
        moved_at: datetime,
    ) -> None:
        self._receive(lots, burns, elsewhere, debts)

    @event(Split)
    def _split(
        self,
        customer: UUID,
        to_customer: UUID,
        merge: UUID,
        lots: tuple[Lot, ...],
        burns: tuple[Burn, ...],
        debts: dict[UUID, int],
        moved_at: datetime,
    ) -> None:
        for burn in burns:
            del self.burns[burn.node, burn.ref]
        used = {it.lot for burn in self.burns.values() for it in burn.allocations}
        for lot in lots:
            del self.lots[lot.id]
            self.open.pop(lot.id, None)
            self.debts.pop(lot.id, None)
            if lot.id in used:
                self.sent[lot.id] = lot.node
        self.grants = {}
        self._index_grants()
        self._tally(handed_over=_left(lots), debt_handed_over=sum(debts.values()))

    @event(Regained)
    def _regained(
        self,
        customer: UUID,
        from_customer: UUID,
        merge: UUID,
        lots: tuple[Lot, ...],
        burns: tuple[Burn, ...],
        elsewhere: dict[UUID, UUID],
        debts: dict[UUID, int],
        moved_at: datetime,
    ) -> None:
        self._receive(lots, burns, elsewhere, debts)

    @event(Closed)
    def _closed(
        self, customer: UUID, lots: tuple[Allocation, ...], debts: dict[UUID, int], closed_at: datetime
    ) -> None:
        self._take(lots)
        self.burns, self.debts, self.sent = {}, {}, {}
        self._tally(forfeited=total(lots), debt_forgiven=sum(debts.values()))

    def _receive(
        self,
        lots: tuple[Lot, ...],
        burns: tuple[Burn, ...],
        elsewhere: dict[UUID, UUID],
        debts: dict[UUID, int],
    ) -> None:
        for lot in lots:
            self._keep(lot)
        self._index_grants()
        self.burns.update(((it.node, it.ref), it) for it in burns)
        sent = {**self.sent, **elsewhere}
        self.sent = {lot: node for lot, node in sent.items() if lot not in self.lots}
        for id, points in debts.items():
            self._owe(id, points)
        self._tally(received=_left(lots), debt_received=sum(debts.values()))

    def _index_grants(self) -> None:
        """Of several lots for one (source, ref) the first one here counts."""
        for lot in self.lots.values():
            if lot.source is not Source.RESTORE and not lot.void:
                self.grants.setdefault((lot.source, lot.ref), lot.id)

    def _owe(self, lot: UUID, points: int) -> None:
        """So many points more, or less, for the grant of `lot`."""
        if owed := self.debts.pop(lot, 0) + points:
            self.debts[lot] = owed

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


def _left(lots: Iterable[Lot]) -> int:
    return sum(it.remaining for it in lots)
