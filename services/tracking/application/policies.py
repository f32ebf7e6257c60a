"""What tracking does when another service reports something."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming
from scrm.identity.v1.events_pb2 import CustomerErasing
from services.tracking.application.erasure_commands import BeginErasure, Tables, begin_erasure

IDENTITY_EVENTS: Final = (
    "customer_created",
    "customers_merged",
    "customer_unmerged",
    "customer_became_known",
    "customer_erasing",
)
ERASING: Final = CustomerErasing.DESCRIPTOR.full_name


def keep_customers(batch: Sequence[Incoming], work: UnitOfWork, tables: Tables) -> None:
    """Whenever identity reports who is whom, keep it: the read models that need it are built from the inbox.

    Whenever it erases somebody, begin to do so here.
    """
    for it in batch:
        if it.type == ERASING:
            begin_erasure(_erasure(it.parse(CustomerErasing)), work, tables)


def _erasure(it: CustomerErasing) -> BeginErasure:
    return BeginErasure(UUID(it.case_id), UUID(it.customer_id), tuple(UUID(node) for node in it.node_ids))
