"""The deliveries to one page of an audience, from the assignment of its units to what became of them.

A delivery goes assigned → reserved → sent, failed or unknown, or assigned → suppressed or failed.
The reservation is committed before the provider is called. Nothing leads back to assigned: a
reservation whose lease ran out is unknown, because the call may have been made, and is never
planned again.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.campaigns.domain.errors import ReservationOutstanding, ReservationUnknown

ByKey = dict[str, tuple[UUID, ...]]
"""Customers by variant, arm or reason."""


class Status(StrEnum):
    """What has become of the delivery to one unit."""

    ASSIGNED = "ASSIGNED"
    RESERVED = "RESERVED"
    SENT = "SENT"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    SUPPRESSED = "SUPPRESSED"


class DeliveryBatch(Aggregate):
    """Up to 1,000 units of one broadcast: assigned together, sent together, settled together."""

    TOPIC = "campaigns.DeliveryBatch"

    class UnitsAssigned(InitialEvent):
        TOPIC = "campaigns.UnitsAssigned"
        tenant: str
        broadcast: UUID
        number: int
        variants: ByKey
        assigned_at: datetime

    class Reserved(Event):
        TOPIC = "campaigns.DeliveriesReserved"
        broadcast: UUID
        arms: ByKey
        suppressed: ByKey
        failed: ByKey
        lease_until: datetime

    class Settled(Event):
        TOPIC = "campaigns.DeliveriesSettled"
        broadcast: UUID
        sent: ByKey
        failed: ByKey
        settled_at: datetime

    class LeaseExpired(Event):
        TOPIC = "campaigns.DeliveryLeaseExpired"
        broadcast: UUID
        unknown: tuple[UUID, ...]
        expired_at: datetime

    class Reconciled(Event):
        TOPIC = "campaigns.DeliveriesReconciled"
        broadcast: UUID
        sent: ByKey
        failed: ByKey
        reconciled_at: datetime

    @event(UnitsAssigned)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        broadcast: UUID,
        number: int,
        variants: ByKey,
        assigned_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.broadcast = broadcast
        self.number = number
        self.variants = variants
        self.assigned_at = assigned_at
        self.settled_at: datetime | None = None
        self.status = {it: Status.ASSIGNED for units in variants.values() for it in units}
        self.arms: dict[UUID, str] = {}
        self.attempt = 0
        self.lease_until: datetime | None = None

    @staticmethod
    def id_of(tenant: str, broadcast: UUID, number: int) -> UUID:
        return natural_id(tenant, "delivery_batch", broadcast, number)

    @property
    def is_reserved(self) -> bool:
        return self.lease_until is not None

    def waiting(self, variants: Collection[str]) -> ByKey:
        """The units of `variants` for which nothing has been done yet."""
        found = {
            variant: tuple(it for it in units if self.status[it] is Status.ASSIGNED)
            for variant, units in self.variants.items()
            if variant in variants
        }
        return {variant: units for variant, units in found.items() if units}

    def reserve(self, arms: ByKey, suppressed: ByKey, failed: ByKey, lease_until: datetime) -> int:
        """Claim the deliveries in `arms` for one call; returns the number of the attempt.

        Those in `suppressed` and `failed`, by reason, are never made.
        """
        if self.is_reserved:
            raise ReservationOutstanding
        self._reserved(
            broadcast=self.broadcast, arms=arms, suppressed=suppressed, failed=failed, lease_until=lease_until
        )
        return self.attempt

    @event(Reserved)
    def _reserved(self, broadcast: UUID, arms: ByKey, suppressed: ByKey, failed: ByKey, lease_until: datetime) -> None:
        self.attempt += 1
        for arm, units in arms.items():
            self._mark(Status.RESERVED, units)
            self.arms.update(dict.fromkeys(units, arm))
        self._mark_all(Status.SUPPRESSED, suppressed)
        self._mark_all(Status.FAILED, failed)
        self.lease_until = lease_until if arms else None

    def settle(self, attempt: int, sent: Collection[UUID], failed: dict[UUID, str], now: datetime) -> None:
        """Record what the provider answered; what it left open becomes unknown.

        An answer that comes after the lease ran out is still the truth: it reconciles.
        """
        if not 1 <= attempt <= self.attempt:
            raise ReservationUnknown
        if not self.is_reserved or attempt < self.attempt:
            self.reconcile(sent, failed, now)
            return
        reserved = self._with(Status.RESERVED)
        self._settled(
            broadcast=self.broadcast,
            sent=self._by_arm(it for it in reserved if it in set(sent)),
            failed=_by_reason(it for it in failed.items() if it[0] in reserved),
            settled_at=now,
        )
        left_open = self._with(Status.RESERVED)
        if left_open:
            self._lease_expired(broadcast=self.broadcast, unknown=tuple(left_open), expired_at=now)

    @event(Settled)
    def _settled(self, broadcast: UUID, sent: ByKey, failed: ByKey, settled_at: datetime) -> None:
        self.settled_at = settled_at
        self._mark_all(Status.SENT, sent)
        self._mark_all(Status.FAILED, failed)
        self.lease_until = None

    def expire(self, now: datetime) -> tuple[UUID, ...]:
        """Give up a reservation whose holder is gone: nobody knows whether it called."""
        if not self.is_reserved:
            return ()
        unknown = tuple(self._with(Status.RESERVED))
        self._lease_expired(broadcast=self.broadcast, unknown=unknown, expired_at=now)
        return unknown

    @event(LeaseExpired)
    def _lease_expired(self, broadcast: UUID, unknown: tuple[UUID, ...], expired_at: datetime) -> None:
        self.settled_at = expired_at
        self._mark(Status.UNKNOWN, unknown)
        self.lease_until = None

    def reconcile(self, sent: Collection[UUID], failed: dict[UUID, str], now: datetime) -> None:
        """Replace unknown by what the provider says it did; anything else stays as it is."""
        unknown = set(self._with(Status.UNKNOWN))
        by_arm = self._by_arm(it for it in sent if it in unknown)
        by_reason = _by_reason(it for it in failed.items() if it[0] in unknown)
        if by_arm or by_reason:
            self._reconciled(broadcast=self.broadcast, sent=by_arm, failed=by_reason, reconciled_at=now)

    @event(Reconciled)
    def _reconciled(self, broadcast: UUID, sent: ByKey, failed: ByKey, reconciled_at: datetime) -> None:
        self.settled_at = reconciled_at
        self._mark_all(Status.SENT, sent)
        self._mark_all(Status.FAILED, failed)

    def unknown(self) -> list[UUID]:
        """Units of which nobody knows yet whether they got the message."""
        return self._with(Status.UNKNOWN)

    def _with(self, status: Status) -> list[UUID]:
        return [unit for unit, its in self.status.items() if its is status]

    def _mark(self, status: Status, units: Iterable[UUID]) -> None:
        self.status.update(dict.fromkeys(units, status))

    def _mark_all(self, status: Status, by_key: ByKey) -> None:
        for units in by_key.values():
            self._mark(status, units)

    def _by_arm(self, units: Iterable[UUID]) -> ByKey:
        return _grouped((self.arms[it], it) for it in units)


def delivery_id(tenant: str, broadcast: UUID, unit: UUID) -> UUID:
    """The id under which a provider sees the one delivery of `broadcast` to `unit`."""
    return natural_id(tenant, "delivery", broadcast, unit)


def _by_reason(reasons: Iterable[tuple[UUID, str]]) -> ByKey:
    return _grouped((reason, unit) for unit, reason in reasons)


def _grouped(pairs: Iterable[tuple[str, UUID]]) -> ByKey:
    found: dict[str, list[UUID]] = {}
    for key, unit in pairs:
        found.setdefault(key, []).append(unit)
    return {key: tuple(units) for key, units in found.items()}
