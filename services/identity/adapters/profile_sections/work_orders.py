"""What the customer asks to be solved."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.engagement_wire import listed_work_order
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.domain.work_order import DONE
from services.identity.read_models.work_order_queue import WorkOrderFilter, list_work_orders

MOST: Final = 10
LOOKED_AT: Final = 100


def read(rows: sa.Connection, asked: Asked) -> pb.WorkOrdersSection:
    found = list_work_orders(rows, WorkOrderFilter(nodes=asked.nodes), None, LOOKED_AT)
    waiting = [it for it in found if it.state not in DONE]
    done = sorted((it for it in found if it.state in DONE), key=lambda it: it.changed_at, reverse=True)
    return pb.WorkOrdersSection(
        work_orders=[listed_work_order(it) for it in (*waiting, *done)[:MOST]], open=len(waiting)
    )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_WORK_ORDERS, "work_orders", (), read)
