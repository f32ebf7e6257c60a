"""Facts of orders on their way from the wire to commands: read row by row, and given the nodes of their customers."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from chassis.context import Context
from chassis.errors import DomainError, FieldRequired
from chassis.validation import RequestValidator
from scrm.tracking.v1 import order_pb2, tracking_service_pb2
from services.tracking.adapters import order_wire
from services.tracking.adapters.identity_client import Asked
from services.tracking.adapters.resolver import Nodes
from services.tracking.application.commands import (
    ImportOrders,
    OrderFact,
    OrderKey,
    RecordOrderPaid,
    RecordOrderPlaced,
    RecordOrderRefunded,
)
from services.tracking.application.resolving import questions
from services.tracking.domain.errors import CustomerErased, CustomerUnresolved
from services.tracking.domain.order_facts import Payment, Placement


@dataclass(frozen=True, slots=True)
class Sold:
    """A placement or payment whose customer has no node yet."""

    key: OrderKey
    content: Placement | Payment
    revision: int
    asked: Asked

    def by(self, node: UUID) -> OrderFact:
        match self.content:
            case Placement():
                return RecordOrderPlaced(self.key, node, self.content, self.revision)
            case Payment():
                return RecordOrderPaid(self.key, node, self.content, self.revision)


def placed(tenant: str, fact: order_pb2.OrderPlacement) -> Sold:
    content = order_wire.placement(fact)
    key = OrderKey.of(tenant, fact.source_key, fact.order_no)
    return Sold(key, content, fact.revision, order_wire.customer(fact.customer, content.placed_at))


def paid(tenant: str, fact: order_pb2.OrderPayment) -> Sold:
    content = order_wire.payment(fact)
    key = OrderKey.of(tenant, fact.source_key, fact.order_no)
    return Sold(key, content, fact.revision, order_wire.customer(fact.customer, content.paid_at))


def refunded(tenant: str, fact: order_pb2.OrderRefund) -> RecordOrderRefunded:
    refund, currency = order_wire.refund(fact)
    return RecordOrderRefunded(OrderKey.of(tenant, fact.source_key, fact.order_no), currency, refund)


def order_id_of(tenant: str, row: tracking_service_pb2.OrderRow) -> str:
    """The id of the order that a row is about; empty where it does not say."""
    fact = row.WhichOneof("fact")
    if fact is None:
        return ""
    about = getattr(row, fact)
    return str(OrderKey.of(tenant, about.source_key, about.order_no).id) if about.order_no else ""


class OrderReader:
    """Reads facts of orders; `identity` says who the customers are."""

    def __init__(self, identity: Nodes) -> None:
        self._identity = identity
        self._validator = RequestValidator()

    async def one(self, sold: Sold, context: Context, request: UUID) -> OrderFact:
        """The command for one fact. Raises CustomerUnresolved and CustomerErased."""
        return (await self._resolved([sold], context, request))[0]

    async def all(self, rows: Sequence[tracking_service_pb2.OrderRow], context: Context, request: UUID) -> ImportOrders:
        """The command for many facts; what is wrong with a row stands in its place."""
        read = [self._read(context.tenant, it) for it in rows]
        sold = [it for it in read if isinstance(it, Sold)]
        resolved = iter(await self._resolved_or_not(sold, context, request))
        return ImportOrders(tuple(next(resolved) if isinstance(it, Sold) else it for it in read))

    def fault(self, tenant: str, row: tracking_service_pb2.OrderRow) -> DomainError | None:
        """What is wrong with a row by itself."""
        found = self._read(tenant, row)
        return found if isinstance(found, DomainError) else None

    def _read(self, tenant: str, row: tracking_service_pb2.OrderRow) -> Sold | RecordOrderRefunded | DomainError:
        try:
            match row.WhichOneof("fact"):
                case "placed":
                    self._validator.check(row.placed)
                    return placed(tenant, row.placed)
                case "paid":
                    self._validator.check(row.paid)
                    return paid(tenant, row.paid)
                case "refunded":
                    self._validator.check(row.refunded)
                    return refunded(tenant, row.refunded)
            raise FieldRequired(field="fact")
        except DomainError as refusal:
            return refusal

    async def _resolved(self, sold: Sequence[Sold], context: Context, request: UUID) -> list[OrderFact]:
        facts: list[OrderFact] = []
        for it in await self._resolved_or_not(sold, context, request):
            if isinstance(it, DomainError):
                raise it
            facts.append(it)
        return facts

    async def _resolved_or_not(
        self, sold: Sequence[Sold], context: Context, request: UUID
    ) -> list[OrderFact | DomainError]:
        """Each fact with its node; identity is asked once for all that name the same customer."""
        asked = questions([it.asked.identity for it in sold])
        answers = await self._identity.nodes([sold[it.events[0]].asked for it in asked], context, request)
        found: dict[int, OrderFact | DomainError] = {}
        for question, answer in zip(asked, answers, strict=True):
            for place in question.events:
                found[place] = sold[place].by(answer) if isinstance(answer, UUID) else _refusal(answer)
        return [found[place] for place in range(len(sold))]


def _refusal(reason: str) -> DomainError:
    return CustomerErased() if reason == CustomerErased.reason else CustomerUnresolved(cause=reason)
