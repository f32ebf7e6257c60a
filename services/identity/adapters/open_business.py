"""Open business of a customer for which an erasure waits, looked up in read models: what happened a moment ago may be missing."""

from typing import Final

import sqlalchemy as sa

from chassis import builds
from chassis.commands import UnitOfWork
from services.identity.domain.customer import Customer
from services.identity.domain.work_order import Priority
from services.identity.read_models.work_order_queue import WorkOrderQueueProjection, work_orders

OPEN_WORK_ORDER: Final = "OPEN_WORK_ORDER"


def open_urgent_work_order(customer: Customer, work: UnitOfWork) -> str | None:
    """OPEN_WORK_ORDER while one of the highest priority is not resolved; None for nothing to wait for."""
    build = builds.live_build(work.reading, WorkOrderQueueProjection.name)
    if build is None:
        return None
    table = work_orders.to_metadata(sa.MetaData(), schema=build.schema)
    urgent = (table.c.priority == Priority.P1) & table.c.is_open
    mine = (table.c.tenant == customer.tenant) & table.c.node.in_(customer.nodes)
    found = work.reading.scalar(sa.select(sa.exists().where(mine & urgent)))
    return OPEN_WORK_ORDER if found else None
