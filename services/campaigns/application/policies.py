"""Whenever identity merges customers or takes a merge back, or tracking learns about an order, campaigns takes note.

Most messages concern no broadcast and are passed over by their type and time alone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, Protocol
from uuid import UUID

from google.type.money_pb2 import Money

from chassis.envelope import Incoming
from scrm.identity.v1.events_pb2 import CustomersMerged, CustomerUnmerged
from scrm.tracking.v1.events_pb2 import OrderPaid, OrderPaymentRevised, OrderRefunded
from services.campaigns.domain.crediting import OrderFact

MERGED: Final = CustomersMerged.DESCRIPTOR.full_name
UNMERGED: Final = CustomerUnmerged.DESCRIPTOR.full_name
PAID: Final = OrderPaid.DESCRIPTOR.full_name
REVISED: Final = OrderPaymentRevised.DESCRIPTOR.full_name
REFUNDED: Final = OrderRefunded.DESCRIPTOR.full_name
ORDERS: Final = frozenset({PAID, REVISED, REFUNDED})

EVENTS: Final = ("customers_merged", "customer_unmerged", "order_paid", "order_payment_revised", "order_refunded")
"""All that concerns campaigns, as it stands in subjects."""

EARLY: Final = timedelta(days=1)
"""A payment may be told before its instant: senders' clocks are not ours."""

_NANO: Final = Decimal("0.000000001")

Spans = dict[str, list[tuple[datetime, datetime]]]


@dataclass(frozen=True, slots=True)
class NodeMoved:
    """A node belongs to `customer` since `position` of identity's log."""

    tenant: str
    node: UUID
    customer: UUID
    position: int
    at: datetime


class Intake(Protocol):
    """Where facts of all tenants are kept, in the transaction of the batch."""

    def spans(self, since: datetime) -> Spans:
        """By tenant, [opens, final) of every window that is not final at `since`."""

    def keep(self, facts: Sequence[tuple[str, OrderFact]]) -> None:
        """Keep order facts, of tenants, and let their orders be credited."""

    def move(self, moves: Sequence[NodeMoved]) -> None:
        """Note whose nodes are whose since when; the latest position of a node stands.

        Lets the orders of everybody who has other nodes than before be credited.
        """

    def erased(self, tenant: str, nodes: Collection[UUID]) -> set[UUID]:
        """Those of `nodes` of which nothing may be heard any more."""

    def erase(self, tenant: str, refs: Mapping[UUID, UUID]) -> dict[str, int]:
        """Put the reference of each node in its place everywhere, without what was written to it; rows by table."""


def absorb(batch: Sequence[Incoming], intake: Intake) -> None:
    """Take note of what concerns a broadcast in `batch`, of any tenants and in any order."""
    told = [it for it in batch if it.type in ORDERS]
    if told:
        spans = intake.spans(min(it.time for it in told))
        facts = [
            (it.tenant, order_fact(it)) for it in told if it.tenant in spans and _is_observed(it.time, spans[it.tenant])
        ]
        gone = _erased(intake, ((tenant, fact.node) for tenant, fact in facts))
        if facts := [it for it in facts if (it[0], it[1].node) not in gone]:
            intake.keep(facts)
    moves = [move for it in batch if it.type in (MERGED, UNMERGED) for move in node_moves(it)]
    gone = _erased(intake, ((it.tenant, node) for it in moves for node in (it.node, it.customer)))
    moves = [it for it in moves if gone.isdisjoint(((it.tenant, it.node), (it.tenant, it.customer)))]
    if moves:
        intake.move(moves)


def _erased(intake: Intake, named: Iterable[tuple[str, UUID]]) -> set[tuple[str, UUID]]:
    """Those of `named` who are erased: what is told of them is dropped."""
    by_tenant: dict[str, set[UUID]] = {}
    for tenant, node in named:
        by_tenant.setdefault(tenant, set()).add(node)
    return {(tenant, node) for tenant, nodes in by_tenant.items() for node in intake.erased(tenant, nodes)}


def order_fact(incoming: Incoming) -> OrderFact:
    """What a message of tracking says about an order."""
    told: OrderPaid | OrderPaymentRevised | OrderRefunded
    paid_at: datetime | None = None
    if incoming.type == REFUNDED:
        told = incoming.parse(OrderRefunded)
    else:
        told = incoming.parse(OrderPaid) if incoming.type == PAID else incoming.parse(OrderPaymentRevised)
        paid_at = told.pay_time.ToDatetime(UTC)
    return OrderFact(
        order=UUID(told.order_id),
        position=incoming.position,
        node=UUID(told.node_id),
        paid_at=paid_at,
        net=amount(told.net),
        currency=told.net.currency_code,
        recorded_at=incoming.time,
    )


def node_moves(incoming: Incoming) -> list[NodeMoved]:
    """Whose nodes are whose after a merge, or after one was taken back."""
    if incoming.type == MERGED:
        merged = incoming.parse(CustomersMerged)
        customer, moved = merged.survivor_id, (*merged.node_ids, merged.loser_id)
    else:
        unmerged = incoming.parse(CustomerUnmerged)
        customer, moved = unmerged.restored_id, (*unmerged.node_ids, unmerged.restored_id)
    nodes, owner = sorted({UUID(it) for it in moved}), UUID(customer)
    return [NodeMoved(incoming.tenant, node, owner, incoming.position, incoming.time) for node in nodes]


def _is_observed(at: datetime, spans: Sequence[tuple[datetime, datetime]]) -> bool:
    return any(opens - EARLY <= at < final for opens, final in spans)


def amount(money: Money) -> Decimal:
    """An amount from the wire."""
    return Decimal(money.units) + Decimal(money.nanos) * _NANO
