"""Whenever identity erases a customer, campaigns writes to them no more, and only counts them."""

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming
from scrm.identity.v1.events_pb2 import CustomerErasing
from services.campaigns.application.commands import Tables
from services.campaigns.application.flow_customers import end_erased
from services.campaigns.application.policies import Intake
from services.campaigns.domain.erasure import Erasure

ERASING: Final = CustomerErasing.DESCRIPTOR.full_name
EVENTS: Final = ("customer_erasing",)


def erase(batch: Sequence[Incoming], work: UnitOfWork, intake: Callable[[UnitOfWork], Intake], tables: Tables) -> None:
    """Let go of everybody who is erased in `batch`; nothing the second time."""
    for message in batch:
        if message.type != ERASING:
            continue
        it = message.parse(CustomerErasing)
        case_id = UUID(it.case_id)
        if work.find(Erasure, case_id) is not None:
            continue
        nodes = sorted(UUID(node) for node in it.node_ids)
        refs = dict(zip(nodes, sorted(work.new_id() for _ in nodes), strict=True))
        end_erased(nodes, work, tables)
        removed = intake(work).erase(message.tenant, refs)
        work.add(Erasure(case_id, message.tenant, UUID(it.customer_id), refs, removed, work.now))
