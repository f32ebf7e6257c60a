"""To whom a code with several staff leads: in turn to those who are at work and have room for a new customer today."""

from collections.abc import Callable, Sequence
from datetime import date
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id


class Rota(Aggregate):
    """Whose turn it is at one code on one local day."""

    TOPIC = "identity.Rota"

    class Opened(InitialEvent):
        """The first customer of the day came by this code."""

        TOPIC = "identity.RotaOpened"
        tenant: str
        code_key: str
        day: date

    class Turned(Event):
        """A customer was led to `staff`, whose turn it was."""

        TOPIC = "identity.RotaTurned"
        staff: UUID
        node: UUID

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, code_key: str, day: date) -> None:
        self.tenant = tenant
        self.day = day
        self.last: UUID | None = None

    def next(self, staff: Sequence[UUID], is_free: Callable[[UUID], bool]) -> UUID | None:
        """The first free one of `staff` after who was last; None if nobody is free.

        Each day begins with another one, so that a code that few people use does not always lead to the same.
        """
        start = staff.index(self.last) + 1 if self.last in staff else self.day.toordinal()
        turn = (staff[(start + number) % len(staff)] for number in range(len(staff)))
        return next((it for it in turn if is_free(it)), None)

    @event(Turned)
    def turn(self, staff: UUID, node: UUID) -> None:
        """Note whose turn it was."""
        self.last = staff


def rota_id(tenant: str, code_key: str, day: date) -> UUID:
    return natural_id(tenant, "rota", code_key, day.isoformat())
