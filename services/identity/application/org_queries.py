"""What identity can be asked about one store or member of staff, answered from the event store, as the caller may see it."""

from datetime import datetime
from uuid import UUID

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from services.identity.domain.errors import StaffNotFound, StoreNotFound
from services.identity.domain.staff import Staff
from services.identity.domain.stores import Store


async def get_store(bus: CommandBus, id: UUID) -> Store:
    """Raises StoreScope and StoreNotFound."""
    current().require_store(id)
    try:
        return await bus.load(Store, id)
    except AggregateNotFound:
        raise StoreNotFound(field="store_id") from None


async def get_staff(bus: CommandBus, id: UUID, at: datetime) -> Staff:
    """Somebody who works, at `at`, in a store that the caller may see. Raises StoreScope and StaffNotFound."""
    try:
        staff = await bus.load(Staff, id)
    except AggregateNotFound:
        current().require_store(None)
        raise StaffNotFound(field="staff_id") from None
    current().require_store(staff.store_at(at))
    return staff
