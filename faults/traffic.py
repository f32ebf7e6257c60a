"""What callers of all kinds do while things break: visits, behaviours, orders and grants, all noted in the journal."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from time import monotonic, sleep
from typing import Any, Final
from uuid import uuid4

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.clock import SystemClock
from chassis.status import refusal
from faults.caller import Caller, NeverAnsweredError
from faults.journal import Journal
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.membership.v1 import membership_service_pb2 as membership
from scrm.membership.v1 import points_pb2, program_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging
from scrm.tracking.v1 import behaviour_pb2, order_pb2
from scrm.tracking.v1 import tracking_service_pb2 as tracking

SHOP: Final = "shop"
CURRENCY: Final = "USD"
ZONE: Final = "America/New_York"
_MEMBERS: Final = 12
_VISITORS: Final = 24
_PAUSE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the journal has to know of a behaviour."""

    visitor: str


@dataclass(frozen=True, slots=True)
class Bought:
    """What the journal has to know of an order: who bought, for how many whole units of the currency."""

    member: str
    units: int


@dataclass(frozen=True, slots=True)
class Granted:
    """What the journal has to know of a grant of points."""

    customer: str
    points: int


class Brand:
    """The people of one brand and what can be done about them; each method notes what it asks and what it is told."""

    def __init__(self, caller: Caller, journal: Journal) -> None:
        self.caller = caller
        self.journal = journal
        self.members: dict[str, str] = {}
        self.visitors: dict[str, str] = {}

    def prepare(self) -> None:
        """Set up the program and the settings, and get to know the people that the traffic is about."""
        services = self.caller.services
        if "membership" in services:
            self._define_program()
            for number in range(_MEMBERS):
                self.members[f"m{number}"] = self.enrolled(f"m{number}")
        if "tagging" in services:
            self.settings()
        if "tracking" in services:
            for number in range(_VISITORS):
                self.visitors[f"pool:{number}"] = self.visit(f"pool:{number}")

    def visit(self, visitor: str | None = None, *, eager: bool = False) -> str:
        """Somebody nobody has seen before; the id they get."""
        visitor = visitor or f"v:{uuid4()}"
        shown = customer_pb2.Identifier(namespace="anonymous_id", value=visitor)
        request = identity.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[shown])
        return self._resolved("visitor", visitor, request, eager=eager)

    def recognized(self, person: str, *, eager: bool = False) -> str:
        """Somebody who logs in for the first time; the id they get."""
        shown = customer_pb2.Identifier(namespace="external_id", scope=SHOP, value=person, verified=True)
        request = identity.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[shown], authenticated=True)
        return self._resolved("known", person, request, eager=eager)

    def wait_until_noticed(self, customer: str, patience: float = 60.0) -> None:
        """Wait until membership has heard of a customer from identity."""
        give_up = monotonic() + patience
        while True:
            try:
                self.caller.insist(
                    "membership.GetMember", membership.GetMemberRequest(customer_id=customer), eager=True
                )
            except grpc.RpcError as error:
                if refusal(error).code != "NOT_FOUND":
                    raise
                if monotonic() > give_up:
                    raise NeverAnsweredError("membership does not hear of a new customer") from error
                sleep(0.01)
            else:
                return

    def enrolled(self, person: str) -> str:
        """Somebody known who is made a member; their id."""
        customer = self.recognized(person)
        self.wait_until_noticed(customer)
        request = membership.EnrollMemberRequest(request_id=str(uuid4()), customer_id=customer)
        self.caller.insist("membership.EnrollMember", request)
        return customer

    def track(self, dice: random.Random, *, eager: bool = False, most: int = 20) -> None:
        """A batch of behaviours of visitors who are known already."""
        visitors = [dice.choice(list(self.visitors)) for _ in range(dice.randint(1, most))]
        events = [_viewed(it) for it in visitors]
        entries = [
            self.journal.asked("behaviour", it.message_id, about=Behaviour(who))
            for it, who in zip(events, visitors, strict=True)
        ]
        answer = self.caller.insist("tracking.TrackBatch", tracking.TrackBatchRequest(events=events), eager=eager)
        for entry, result in zip(entries, answer.results, strict=True):
            if result.outcome not in _TAKEN:
                raise AssertionError(f"a behaviour was not accepted: {result}")
            self.journal.acknowledged(entry, result)

    def import_orders(self, dice: random.Random) -> None:
        """Some orders, placed and paid, in one request."""
        sold = {f"o:{uuid4()}": self._bought(dice) for _ in range(dice.randint(1, 5))}
        rows = []
        for number, bought in sold.items():
            rows.append(tracking.OrderRow(placed=_placement(number, bought)))
            rows.append(tracking.OrderRow(paid=_payment(number, bought)))
        request = tracking.ImportOrdersRequest(request_id=str(uuid4()), rows=rows)
        entries = [self.journal.asked("order", number, request, bought) for number, bought in sold.items()]
        answer = self.caller.insist("tracking.ImportOrders", request)
        if any(it.status.code for it in answer.results):
            raise AssertionError(f"an order was not imported: {answer}")
        for entry in entries:
            self.journal.acknowledged(entry, answer)

    def sell(self, dice: random.Random) -> None:
        """One order that is placed and then paid."""
        number, bought = f"o:{uuid4()}", self._bought(dice)
        placed = tracking.RecordOrderPlacedRequest(request_id=str(uuid4()), placement=_placement(number, bought))
        paid = tracking.RecordOrderPaidRequest(request_id=str(uuid4()), payment=_payment(number, bought))
        entry = self.journal.asked("order", number, paid, bought)
        self.caller.insist("tracking.RecordOrderPlaced", placed)
        self.journal.acknowledged(entry, self.caller.insist("tracking.RecordOrderPaid", paid))

    def grant(self, dice: random.Random, *, eager: bool = False) -> None:
        """Points for a member."""
        granted = Granted(dice.choice(list(self.members.values())), dice.randint(1, 50))
        request = membership.GrantPointsRequest(
            request_id=str(uuid4()),
            customer_id=granted.customer,
            source=points_pb2.POINTS_SOURCE_MANUAL,
            ref=f"g:{uuid4()}",
            points=granted.points,
        )
        entry = self.journal.asked("grant", request.ref, request, granted)
        self.journal.acknowledged(entry, self.caller.insist("membership.GrantPoints", request, eager=eager))

    def settings(self, *, eager: bool = False) -> None:
        """The same settings of tagging once more: a command that changes nothing."""
        request = tagging.UpdateTenantSettingsRequest(request_id=str(uuid4()), time_zone=ZONE, currency=CURRENCY)
        self.caller.insist("tagging.UpdateTenantSettings", request, eager=eager)

    def _resolved(self, kind: str, key: str, request: Any, *, eager: bool) -> str:
        entry = self.journal.asked(kind, key, request)
        answer = self.caller.insist("identity.ResolveIdentity", request, eager=eager)
        self.journal.acknowledged(entry, answer)
        return str(answer.customer_id)

    def _bought(self, dice: random.Random) -> Bought:
        return Bought(dice.choice(list(self.members)), dice.randint(1, 200))

    def _define_program(self) -> None:
        program = program_pb2.Program(
            code="club",
            currency_code=CURRENCY,
            time_zone=ZONE,
            points_name="Stars",
            points_per_unit="1",
            points_expiry=program_pb2.POINTS_EXPIRY_NEVER,
        )
        request = membership.DefineProgramRequest(request_id=str(uuid4()), program=program)
        self.caller.insist("membership.DefineProgram", request)


@dataclass(slots=True)
class Traffic:
    """Several callers at once, in threads; `failures` is what they were told that they should not have been."""

    brand: Brand
    callers: int = 6
    only_visits: bool = False
    pause_seconds: float = _PAUSE_SECONDS
    failures: list[str] = field(default_factory=list)
    _going: Event = field(default_factory=Event)
    _ending: Event = field(default_factory=Event)
    _threads: list[Thread] = field(default_factory=list)
    _busy: int = 0
    _turn: Lock = field(default_factory=Lock)

    def start(self) -> None:
        self._going.set()
        self._threads = [Thread(target=self._loop, args=[number], daemon=True) for number in range(self.callers)]
        for it in self._threads:
            it.start()

    def pause(self) -> None:
        """Let everything in flight be answered, and then be silent."""
        self._going.clear()
        while self._busy:
            sleep(0.005)

    def resume(self) -> None:
        self._going.set()

    def finish(self) -> None:
        """Let everything in flight be answered, and end."""
        self._ending.set()
        self._going.set()
        for it in self._threads:
            it.join()

    def _loop(self, number: int) -> None:
        dice = random.Random(number)  # noqa: S311 - repeatable
        kinds = self._kinds(dice)
        while True:
            self._going.wait()
            if self._ending.is_set():
                return
            self._count(1)
            try:
                dice.choice(kinds)()
            except Exception as error:  # noqa: BLE001 - every failure is a finding
                self.failures.append(f"a caller was told {error!r}"[:500])
            finally:
                self._count(-1)
            sleep(self.pause_seconds)

    def _kinds(self, dice: random.Random) -> Sequence[Callable[[], object]]:
        brand, services = self.brand, self.brand.caller.services
        kinds: list[Callable[[], object]] = [brand.visit]
        if self.only_visits:
            return kinds
        if "membership" in services:
            kinds.append(lambda: brand.grant(dice))
        if "tracking" in services:
            kinds += [lambda: brand.track(dice), lambda: brand.import_orders(dice), lambda: brand.sell(dice)]
        return kinds

    def _count(self, step: int) -> None:
        with self._turn:
            self._busy += step


_TAKEN: Final = (behaviour_pb2.TRACK_OUTCOME_ACCEPTED, behaviour_pb2.TRACK_OUTCOME_DUPLICATE)


def _viewed(visitor: str) -> behaviour_pb2.TrackedEvent:
    return behaviour_pb2.TrackedEvent(
        message_id=str(uuid4()),
        source_key="h5",
        event_type="content_viewed",
        identifiers=[behaviour_pb2.Identifier(namespace="anonymous_id", value=visitor)],
        original_time=_now(),
        tz_offset_minutes=0,
        context=behaviour_pb2.EventContext(channel="h5", content_id="H5-1", page_view_id=str(uuid4())),
    )


def _placement(number: str, bought: Bought) -> order_pb2.OrderPlacement:
    amount = Money(currency_code=CURRENCY, units=bought.units)
    return order_pb2.OrderPlacement(
        source_key=SHOP,
        order_no=number,
        customer=_customer(bought),
        place_time=_now(),
        lines=[order_pb2.OrderLine(sku="CD", quantity=1, list=amount, paid=amount)],
        amount=amount,
    )


def _payment(number: str, bought: Bought) -> order_pb2.OrderPayment:
    paid = Money(currency_code=CURRENCY, units=bought.units)
    return order_pb2.OrderPayment(
        source_key=SHOP, order_no=number, customer=_customer(bought), pay_time=_now(), paid=paid
    )


def _customer(bought: Bought) -> order_pb2.OrderCustomer:
    known_by = behaviour_pb2.Identifier(namespace="external_id", scope=SHOP, value=bought.member, verified=True)
    return order_pb2.OrderCustomer(identifiers=[known_by])


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(SystemClock().now())
    return stamp
