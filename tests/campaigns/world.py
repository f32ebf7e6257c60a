"""A small world around campaigns: its commands on a store, an audience, a provider, and a clock to turn."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID, uuid5

import sqlalchemy as sa
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.aggregate import Aggregate
from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.envelope import Incoming
from chassis.log import Recorded
from chassis.unit_of_work import UnitOfWork, replay
from scrm.identity.v1.customer_pb2 import CUSTOMER_STATE_ANONYMOUS
from scrm.identity.v1.events_pb2 import (
    CustomerBecameKnown,
    CustomerCreated,
    CustomersMerged,
    CustomerUnmerged,
)
from scrm.tagging.v1.events_pb2 import SegmentEntered
from scrm.tagging.v1.segment_pb2 import MEMBERSHIP_CAUSE_EVENT
from scrm.tracking.v1.events_pb2 import OrderCancelled, OrderPaid, OrderPlaced, OrderRefunded, PathStalled
from scrm.tracking.v1.path_pb2 import PathNode
from services.campaigns.application.commands import ApproveBroadcast, CreateBroadcast, Tables
from services.campaigns.application.dispatcher import Dispatcher, Pace
from services.campaigns.application.dispatching import FreezeAudience, OpenBroadcast
from services.campaigns.application.erasure import erase
from services.campaigns.application.flow_customers import follow_customers
from services.campaigns.application.flow_entries import follow_facts
from services.campaigns.application.permission_facts import follow_permissions
from services.campaigns.application.policies import Intake, absorb
from services.campaigns.application.ports import AudiencePage, WorkList
from services.campaigns.domain.broadcast import Broadcast
from services.campaigns.domain.conversion import Conversion
from services.campaigns.domain.design import Arm, BucketRange, Design
from tests.campaigns.memory import Provider

A = TypeVar("A", bound=Aggregate)

TENANT = "cdnow-demo"
START = datetime(1998, 1, 5, 15, tzinfo=UTC)
_PEOPLE = UUID("7d3d2c55-5a52-4f0e-9d6e-6a5a0f0a2b11")

DESIGN = Design(
    arms=(
        Arm("A", BucketRange(1000, 2500), "Hi {{name|friend}}, we miss you"),
        Arm("B", BucketRange(2500, 4000), "Hi {{name|friend}}, 20 % off"),
    ),
    holdout=BucketRange(0, 1000),
    remainder=BucketRange(4000, 10_000),
)


def customer(key: str) -> UUID:
    return uuid5(_PEOPLE, key)


def people(count: int, first: int = 1) -> list[tuple[UUID, str]]:
    """Customers "cdnow:00001"… with their ids."""
    keys = [f"cdnow:{n:05d}" for n in range(first, first + count)]
    return [(customer(key), key) for key in keys]


class ListedAudience:
    """Snapshots that are lists; every segment freezes to the one with its id."""

    def __init__(self, members: Sequence[tuple[UUID, str]]) -> None:
        self.members = list(members)
        self.pages = 0

    async def freeze(self, segment: UUID, request: UUID) -> tuple[UUID, int]:
        return request, len(self.members)

    async def size(self, snapshot: UUID) -> int:
        return len(self.members)

    async def page(self, snapshot: UUID, page: str, size: int) -> AudiencePage:
        self.pages += 1
        start = int(page or 0)
        end = start + size
        return AudiencePage(self.members[start:end], str(end) if end < len(self.members) else "")


@dataclass
class World:
    """`tables` says whether the store is in memory or PostgreSQL; everything else is the same."""

    bus: CommandBus
    clock: ReplayClock
    work: WorkList
    intake: Callable[[Any], Intake]
    tables: Tables
    loop: asyncio.AbstractEventLoop
    audience: ListedAudience = field(default_factory=lambda: ListedAudience(people(200)))
    provider: Provider = field(default_factory=Provider)
    lease_clock: ReplayClock = field(default_factory=lambda: ReplayClock(START))
    context: Context = field(default_factory=lambda: Context.system(TENANT, "test"))
    _position: int = 0

    def execute(self, command: Any) -> Any:
        return self.bus.execute_now(command, self.context)

    def dispatcher(self, page: int = 50, lease: float = 5) -> Dispatcher:
        pace = Pace(page=page, lease=timedelta(seconds=lease), call=timedelta(seconds=1))
        return Dispatcher(self.bus, self.work, self.audience, self.provider, self.lease_clock, pace)

    def create(
        self, design: Design = DESIGN, experiment: str | None = "winback-9801", at: datetime | None = None
    ) -> UUID:
        created: Broadcast = self.execute(
            CreateBroadcast("Win back", design, experiment, customer("a segment"), None, at)
        )
        return created.id

    def started(self, design: Design = DESIGN, experiment: str | None = "winback-9801") -> UUID:
        """A broadcast whose instant has come."""
        id = self.create(design, experiment)
        self.execute(ApproveBroadcast(id))
        self.execute(OpenBroadcast(id))
        return id

    def dispatched(self, design: Design = DESIGN, experiment: str | None = "winback-9801") -> UUID:
        """A broadcast that the dispatcher has brought to its end."""
        id = self.started(design, experiment)
        self.settle()
        return id

    def settle(self, dispatcher: Dispatcher | None = None) -> None:
        """Let a dispatcher work until nothing is left that it can do."""
        found = dispatcher or self.dispatcher()
        self.run(self._settled(found))

    def run(self, work: Any) -> Any:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)

    async def _settled(self, dispatcher: Dispatcher) -> None:
        while await dispatcher.turn():
            pass

    def tell(self, *messages: Incoming) -> None:
        """Let the consumer absorb these messages as one batch."""

        def take(work: UnitOfWork) -> None:
            absorb(messages, self.intake(work))
            follow_permissions(messages, work, self.tables)
            follow_customers(messages, work, self.tables)
            follow_facts(messages, work, self.tables)
            erase(messages, work, self.intake, self.tables)

        self.run(self.bus.effect(take, self.context))

    def execute_freeze(self, id: UUID) -> None:
        """Freeze the audience of a started broadcast as the dispatcher would."""
        self.execute(FreezeAudience(id, customer("a snapshot"), len(self.audience.members)))

    def timers(self) -> list[tuple[str, str, datetime]]:
        """Kind, key and instant of every timer that is set; PostgreSQL only."""
        with self.bus.store.transaction() as transaction:
            found = transaction.rows.execute(sa.text("SELECT kind, key, due_at FROM timers"))
            return [(it[0], it[1], it[2]) for it in found]

    def broadcast(self, id: UUID) -> Broadcast:
        return self.stored(Broadcast, id)

    def stored(self, kind: type[A], id: UUID) -> A:
        """An aggregate as stored."""
        found = replay(self.bus.store.load([id])[id])
        assert isinstance(found, kind)
        return found

    def events(self, kind: type | None = None) -> list[Any]:
        """What has been recorded, of one event class or all."""
        recorded = self.recorded()
        return [it.event for it in recorded if kind is None or isinstance(it.event, kind)]

    def recorded(self) -> list[Recorded]:
        return self.bus.store.read_log(0, 1_000_000)

    def credited(self, broadcast: UUID) -> dict[UUID, tuple[UUID, str, Decimal]]:
        """Order → unit, variant, net: where all events of conversions have led, without those of net 0."""
        last: dict[UUID, tuple[UUID, str, Decimal]] = {}
        for it in self.events():
            if isinstance(it, Conversion.Recorded | Conversion.Adjusted) and it.broadcast == broadcast:
                last[it.order] = (it.credit.unit, it.credit.variant, it.credit.net)
        return {order: its for order, its in last.items() if its[2] > 0}

    def paid(
        self, who: str, order: str, at: datetime, net: str = "20.00", recorded: datetime | None = None
    ) -> Incoming:
        """The customer `who` paid."""
        message = OrderPaid(
            order_id=str(customer(order)),
            order_no=order,
            node_id=str(customer(who)),
            net=_money(net),
            paid=_money(net),
            pay_time=_timestamp(at),
        )
        return self._incoming("tracking", message, recorded or at, who)

    def refunded(self, who: str, order: str, at: datetime, net: str, recorded: datetime | None = None) -> Incoming:
        """Money was given back; the order is worth `net` after it."""
        message = OrderRefunded(
            order_id=str(customer(order)),
            refund_no="1",
            node_id=str(customer(who)),
            net=_money(net),
            refund_time=_timestamp(at),
        )
        return self._incoming("tracking", message, recorded or at, who)

    def merged(self, survivor: str, loser: str, at: datetime, nodes: Iterable[str] = ()) -> Incoming:
        """`loser` and the nodes it had are `survivor` from now on."""
        message = CustomersMerged(
            survivor_id=str(customer(survivor)),
            loser_id=str(customer(loser)),
            node_ids=[str(customer(it)) for it in (loser, *nodes)],
            merge_time=_timestamp(at),
        )
        return self._incoming("identity", message, at, survivor)

    def unmerged(self, survivor: str, restored: str, at: datetime, nodes: Iterable[str] = ()) -> Incoming:
        """`restored` and the nodes it has are a customer of their own again."""
        message = CustomerUnmerged(
            survivor_id=str(customer(survivor)),
            restored_id=str(customer(restored)),
            node_ids=[str(customer(it)) for it in (restored, *nodes)],
            unmerge_time=_timestamp(at),
        )
        return self._incoming("identity", message, at, restored)

    def placed(self, who: str, order: str, at: datetime, amount: str = "20.00") -> Incoming:
        """The customer `who` placed an order."""
        message = OrderPlaced(
            order_id=str(customer(order)),
            order_no=order,
            node_id=str(customer(who)),
            amount=_money(amount),
            place_time=_timestamp(at),
        )
        return self._incoming("tracking", message, at, who)

    def cancelled(self, who: str, order: str, at: datetime) -> Incoming:
        """An order was given up."""
        message = OrderCancelled(order_id=str(customer(order)), node_id=str(customer(who)), cancel_time=_timestamp(at))
        return self._incoming("tracking", message, at, who)

    def stalled(self, who: str, order: str, since: datetime, after: timedelta = timedelta(minutes=30)) -> Incoming:
        """The customer placed an order at `since`, and did not pay it since."""
        message = PathStalled(
            mission_id=str(customer(f"mission of {order}")),
            node_id=str(customer(who)),
            category="CD",
            path_node=PathNode.PATH_NODE_PLACE_ORDER,
            order_id=str(customer(order)),
            since_time=_timestamp(since),
            after_seconds=int(after.total_seconds()),
        )
        return self._incoming("tracking", message, since + after, who)

    def entered_segment(self, who: str, segment: str, at: datetime, cause: int = MEMBERSHIP_CAUSE_EVENT) -> Incoming:
        """The customer came into a segment."""
        message = SegmentEntered(
            segment_id=str(customer(segment)), version=1, customer_id=str(customer(who)), enter_time=_timestamp(at)
        )
        message.cause = cause  # type: ignore[assignment]
        return self._incoming("tagging", message, at, segment)

    def seen(self, who: str, at: datetime) -> Incoming:
        """Somebody whom nobody knows came for the first time."""
        id = str(customer(who))
        message = CustomerCreated(
            customer_id=id, node_id=id, state=CUSTOMER_STATE_ANONYMOUS, create_time=_timestamp(at)
        )
        return self._incoming("identity", message, at, who)

    def became_known(self, who: str, at: datetime) -> Incoming:
        """The visitor has told who they are."""
        message = CustomerBecameKnown(customer_id=str(customer(who)), become_known_time=_timestamp(at))
        return self._incoming("identity", message, at, who)

    def _incoming(self, stream: str, message: Message, at: datetime, key: str) -> Incoming:
        self._position += 1
        return Incoming(
            stream=stream,
            sequence=self._position,
            position=self._position,
            part=0,
            epoch=1,
            tenant=TENANT,
            type=message.DESCRIPTOR.full_name,
            key=str(customer(key)),
            partition=0,
            id=f"{stream}/1/{self._position}",
            time=at,
            context=self.context,
            payload=message.SerializeToString(),
        )


def _money(amount: str) -> Money:
    value = Decimal(amount)
    return Money(currency_code="USD", units=int(value), nanos=int(value % 1 * 1_000_000_000))


def _timestamp(at: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(at.astimezone(UTC))
    return found
