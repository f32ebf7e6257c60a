"""A member of staff: what they do, in which store they worked at any time, and whether they still do.

The id follows from the code, so a code names one person. The name is personal: it is kept sealed under a key of this id.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.errors import StaffInactive


class Role(StrEnum):
    """What somebody does."""

    GUIDE = "GUIDE"
    MANAGER = "MANAGER"
    SERVICE = "SERVICE"
    ADMIN = "ADMIN"


@dataclass(frozen=True, slots=True)
class Duties:
    """What somebody does; `capacity` is how many new customers they can take a day from codes that route."""

    role: Role
    capacity: int


@dataclass(frozen=True, slots=True, order=True)
class Placement:
    """From `effective_at` until the next placement somebody works in `store`."""

    effective_at: datetime
    store: UUID


class Staff(Aggregate):
    """One person who works, or worked, for one brand."""

    TOPIC = "identity.Staff"

    class Registered(InitialEvent):
        """Somebody was taken on; `name` is sealed."""

        TOPIC = "identity.StaffRegistered"
        tenant: str
        code: str
        name: bytes
        duties: Duties
        placement: Placement
        registered_at: datetime

    class Changed(Event):
        """Something else is true of them from now on; with `placement`, where they work from some time on; who had left is back."""

        TOPIC = "identity.StaffChanged"
        code: str
        name: bytes
        duties: Duties
        placement: Placement | None
        changed_at: datetime

    class Left(Event):
        """They do not work for the brand any more."""

        TOPIC = "identity.StaffLeft"
        code: str
        left_at: datetime

    class ShiftChanged(Event):
        """They began or ended a shift."""

        TOPIC = "identity.StaffShiftChanged"
        on_shift: bool
        changed_at: datetime

    @event(Registered)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        code: str,
        name: bytes,
        duties: Duties,
        placement: Placement,
        registered_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.code = code
        self.name = name
        self.duties = duties
        self.placements = [placement]
        self.on_shift = True
        self.left_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        return self.left_at is None

    def require_active(self, field: str) -> None:
        """Raises StaffInactive for `field` of the request."""
        if not self.is_active:
            raise StaffInactive(field=field)

    def store_at(self, at: datetime) -> UUID | None:
        """The store where they worked at `at`; None before the first placement."""
        position = bisect_right(self.placements, at, key=lambda it: it.effective_at)
        return self.placements[position - 1].store if position else None

    def change(self, name: bytes | None, duties: Duties, placement: Placement, at: datetime) -> None:
        """Take over what the brand says now; `name` is None where it is the one known.

        A placement where they already are at its time is no news. One for the very time of another takes its place.
        """
        moves = self.store_at(placement.effective_at) != placement.store
        if name is None and duties == self.duties and self.is_active and not moves:
            return
        news = placement if moves else None
        self._changed(code=self.code, name=name or self.name, duties=duties, placement=news, changed_at=at)

    def leave(self, at: datetime) -> None:
        """Stop working for the brand; who has left stays so."""
        if self.is_active:
            self._left(code=self.code, left_at=at)

    def set_shift(self, on_shift: bool, at: datetime) -> None:
        """Begin or end a shift. Raises StaffInactive."""
        self.require_active("staff_id")
        if on_shift != self.on_shift:
            self._shift_changed(on_shift=on_shift, changed_at=at)

    @event(Changed)
    def _changed(
        self, code: str, name: bytes, duties: Duties, placement: Placement | None, changed_at: datetime
    ) -> None:
        self.name = name
        self.duties = duties
        self.left_at = None
        if placement is not None:
            self.placements = [it for it in self.placements if it.effective_at != placement.effective_at]
            insort(self.placements, placement)

    @event(Left)
    def _left(self, code: str, left_at: datetime) -> None:
        self.left_at = left_at

    @event(ShiftChanged)
    def _shift_changed(self, on_shift: bool, changed_at: datetime) -> None:
        self.on_shift = on_shift


def staff_id(tenant: str, code: str) -> UUID:
    """The one member of the tenant's staff with this code."""
    return natural_id(tenant, "staff", code)
