"""Whenever identity says who is who: instances follow a merge, end with an erasure, and visitors are told from customers.

Taking a merge back changes nothing: an instance stays with the survivor, and what somebody was in counts by the node again.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from chassis.envelope import Incoming
from chassis.unit_of_work import UnitOfWork
from scrm.identity.v1.customer_pb2 import CUSTOMER_STATE_ANONYMOUS
from scrm.identity.v1.events_pb2 import CustomerBecameKnown, CustomerCreated, CustomerUnmerged
from services.campaigns.application.commands import Tables
from services.campaigns.application.flow_ports import Held
from services.campaigns.application.flow_steps import WAKE_TIMER, entry_of, leave
from services.campaigns.application.policies import MERGED, UNMERGED, node_moves
from services.campaigns.domain.flow_instance import EndReason, FlowInstance

CREATED: Final = CustomerCreated.DESCRIPTOR.full_name
BECAME_KNOWN: Final = CustomerBecameKnown.DESCRIPTOR.full_name

EVENTS: Final = ("customer_created", "customer_became_known")
"""What concerns visitors, as it stands in subjects."""


def follow_customers(batch: Sequence[Incoming], work: UnitOfWork, tables: Tables) -> None:
    """Take note of what identity reports in `batch`, after its nodes have moved."""
    _follow_visitors(batch, work, tables)
    moved = {move.node for it in batch if it.type in (MERGED, UNMERGED) for move in node_moves(it)}
    if moved:
        _follow_merges(moved, work, tables)


def _follow_merges(moved: Collection[UUID], work: UnitOfWork, tables: Tables) -> None:
    """Of one flow a person goes on with one instance: their own, or where they have none the one that a loser had."""
    book = tables.flows(work)
    lost = [it for it in book.running(moved) if it.holder != it.entry.customer]
    if not lost:
        return
    taken = _taken(book.running({it.holder for it in lost}))
    instances = work.find_all(FlowInstance, [it.entry.instance for it in lost])
    for it in lost:
        instance = instances[it.entry.instance]
        place = (it.holder, it.entry.flow, it.entry.entry_key)
        if place in taken:
            leave(work, book, instance, EndReason.MERGED)
        else:
            taken.add(place)
            instance.rekey(it.holder, work.now)
            book.keep(entry_of(instance))


def _taken(held: Sequence[Held]) -> set[tuple[UUID, UUID, str]]:
    return {(it.entry.customer, it.entry.flow, it.entry.entry_key) for it in held if it.holder == it.entry.customer}


def _follow_visitors(batch: Sequence[Incoming], work: UnitOfWork, tables: Tables) -> None:
    """The last word about each customer counts; of those who are erased nothing is noted."""
    is_visitor: dict[UUID, bool] = {}
    for it in batch:
        if it.type == CREATED:
            created = it.parse(CustomerCreated)
            if created.state == CUSTOMER_STATE_ANONYMOUS:
                is_visitor[UUID(created.customer_id)] = True
        elif it.type == BECAME_KNOWN:
            is_visitor[UUID(it.parse(CustomerBecameKnown).customer_id)] = False
        elif it.type == UNMERGED:
            unmerged = it.parse(CustomerUnmerged)
            is_visitor[UUID(unmerged.restored_id)] = unmerged.restored_state == CUSTOMER_STATE_ANONYMOUS
    if not is_visitor:
        return
    gone = tables.roster(work).erased(is_visitor)
    sorted_out: dict[bool, set[UUID]] = defaultdict(set)
    for customer, unknown in is_visitor.items():
        if customer not in gone:
            sorted_out[unknown].add(customer)
    tables.flows(work).note_visitors(sorted_out[True], sorted_out[False])


def end_erased(nodes: Collection[UUID], work: UnitOfWork, tables: Tables) -> None:
    """End everything that runs for somebody who is erased, before the rows about it are removed."""
    named = [it.instance for it in tables.flows(work).named(nodes) if it.ended_at is None]
    for instance in work.find_all(FlowInstance, named).values():
        if instance.stand.wake_at is not None:
            work.unschedule(WAKE_TIMER, str(instance.id))
        instance.end(EndReason.ERASED, work.now)
