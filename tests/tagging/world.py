"""A small world around tagging: its intake and commands on a database, messages as other services send them, a clock."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, groupby
from typing import Any
from uuid import UUID, uuid5

import sqlalchemy as sa
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis import inbox
from chassis.aggregate import new_id
from chassis.clock import ReplayClock
from chassis.commands import CommandBus, Effect, Unit
from chassis.context import Context
from chassis.due_times import Timer, Together
from chassis.envelope import Incoming
from chassis.event_store import PostgresEventStore
from chassis.log import Recorded
from chassis.projection import Projector
from chassis.read_models import ReadModels
from deploy.local.postgres import Database
from scrm.campaigns.v1 import events_pb2 as campaigns
from scrm.identity.v1 import consent_pb2, customer_pb2
from scrm.identity.v1 import events_pb2 as identity
from scrm.membership.v1 import events_pb2 as membership
from scrm.membership.v1 import points_pb2
from scrm.tracking.v1 import events_pb2 as tracking
from scrm.tracking.v1 import group_pb2
from services.tagging.adapters.alert_watch import alert_watch
from services.tagging.adapters.dealings_intake import DealingsIntake
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.adapters.fact_intake import FactIntake
from services.tagging.adapters.refresh_watch import command_for
from services.tagging.application import dealing_messages
from services.tagging.application.commands import handlers
from services.tagging.application.refresh_commands import REFRESH
from services.tagging.application.segment_commands import CreateSegment, MemberChange, UpdateStaticMembers
from services.tagging.application.settings_commands import UpdateTenantSettings
from services.tagging.domain.conditions import Universe
from services.tagging.domain.history import History, Line
from services.tagging.domain.refresh import REALTIME, Refresh
from services.tagging.domain.segments import Definition
from services.tagging.domain.tags import Assignment, CustomerTags, tags_id
from services.tagging.read_models import bitmaps, directory, segments
from services.tagging.read_models.audiences import PostgresAudiences
from services.tagging.read_models.histories import histories
from services.tagging.read_models.rebuild import Drift, fingerprint, rebuild
from services.tagging.service import PROJECTIONS, TIMERS

TENANT = "acme"
START = datetime(2025, 2, 1, tzinfo=UTC)
ZONE = "Asia/Shanghai"
_PEOPLE = UUID("2b7f4a7e-51d5-4d1c-8f5e-30e3f3b1a0aa")


def person(name: str | int) -> UUID:
    """A node, and the customer it was created as."""
    return uuid5(_PEOPLE, str(name))


def created(who: UUID, *, known: bool = True, key: str = "") -> identity.CustomerCreated:
    state = customer_pb2.CUSTOMER_STATE_KNOWN if known else customer_pb2.CUSTOMER_STATE_ANONYMOUS
    return identity.CustomerCreated(customer_id=str(who), node_id=str(who), state=state, assignment_key=key or str(who))


def created_at(who: UUID, at: datetime, *, known: bool = True) -> identity.CustomerCreated:
    message = created(who, known=known)
    message.create_time.CopyFrom(_time(at))
    return message


def placed(who: UUID, order: str | int, at: datetime, *lines: Line, coupons: int = 0) -> tracking.OrderPlaced:
    message = tracking.OrderPlaced(order_id=str(person(f"order {order}")), node_id=str(who), place_time=_time(at))
    message.coupons.extend(f"c{number}" for number in range(coupons))
    for it in lines:
        message.lines.add(
            sku=it.sku,
            category=it.category,
            brand=it.brand,
            quantity=it.quantity,
            list=_money(it.list, "USD"),
            paid=_money(it.paid, "USD"),
        )
    return message


def knows(
    who: UUID, key: str, value: str | None, at: datetime, *, rank: int = 50, source: int = 1
) -> identity.AttributesChanged:
    """A source says something of an attribute; None: it takes it back."""
    message = identity.AttributesChanged(node_id=str(who))
    change = message.changed.add(key=key, source_rank=rank, observe_time=_time(at), cleared=value is None)
    change.source = source  # type: ignore[assignment]
    if value is not None:
        change.value = value
    return message


def consented(
    who: UUID, purpose: str, state: str, at: datetime, *, channel: str = "", beside: Sequence[UUID] = ()
) -> identity.ConsentChanged:
    said = consent_pb2.Consent(
        purpose=consent_pb2.ConsentPurpose.Value(f"CONSENT_PURPOSE_{purpose}"),
        channel=channel,
        state=consent_pb2.ConsentState.Value(f"CONSENT_STATE_{state}"),
        make_time=_time(at),
    )
    return identity.ConsentChanged(node_id=str(who), consent=said, beside_node_ids=[str(it) for it in beside])


def guided(who: UUID, staff: UUID, at: datetime, *, store: UUID | None = None) -> identity.CustomerAssigned:
    return identity.CustomerAssigned(
        node_id=str(who), staff_id=str(staff), store_id=str(store) if store else "", assign_time=_time(at)
    )


def in_group(who: UUID, group: str, at: datetime, *, joined: bool = True) -> tracking.GroupMembershipChanged:
    change = group_pb2.GROUP_CHANGE_JOINED if joined else group_pb2.GROUP_CHANGE_LEFT
    return tracking.GroupMembershipChanged(node_id=str(who), group_id=group, change=change, change_time=_time(at))


def reached(who: UUID, channel: str, at: datetime, *, reachable: bool = True) -> identity.ReachabilityChanged:
    told = consent_pb2.ChannelReachability(channel=channel, reachable=reachable, since_time=_time(at))
    return identity.ReachabilityChanged(node_id=str(who), reachability=told)


def joined(who: UUID, at: datetime) -> membership.MemberJoined:
    return membership.MemberJoined(customer_id=str(who), member_no="M1", join_time=_time(at))


def lot(who: UUID, name: str, points: int, at: datetime = START, until: datetime | None = None) -> points_pb2.PointsLot:
    id, gone = str(uuid5(who, name)), _time(until) if until else None
    return points_pb2.PointsLot(lot_id=id, remaining=points, active_time=_time(at), expire_time=gone)


def granted(
    who: UUID, name: str, points: int, at: datetime = START, until: datetime | None = None
) -> membership.PointsGranted:
    return membership.PointsGranted(customer_id=str(who), lot=lot(who, name, points, at, until))


def burned(who: UUID, name: str, points: int, *, of: UUID | None = None) -> membership.PointsBurned:
    """Points of the lot `name` that `of` was granted."""
    some = points_pb2.PointsAllocation(lot_id=str(uuid5(of or who, name)), points=points)
    return membership.PointsBurned(customer_id=str(who), points=points, allocations=[some])


def owes(who: UUID, points: int) -> membership.PointsReversed:
    return membership.PointsReversed(customer_id=str(who), points=points, to_debt=points)


def entered(who: UUID, flow: UUID, at: datetime, instance: str) -> campaigns.InstanceEntered:
    id = str(person(f"instance {instance}"))
    return campaigns.InstanceEntered(instance_id=id, flow_id=str(flow), customer_id=str(who), enter_time=_time(at))


def flow_ended(flow: UUID, at: datetime, instance: str, reason: str = "COMPLETED") -> campaigns.InstanceEnded:
    id = str(person(f"instance {instance}"))
    return campaigns.InstanceEnded(instance_id=id, flow_id=str(flow), reason=reason, end_time=_time(at))


def sent(who: UUID, campaign: UUID, at: datetime, delivery: str) -> campaigns.DeliverySent:
    return campaigns.DeliverySent(
        delivery_id=delivery, broadcast_id=str(campaign), customer_id=str(who), send_time=_time(at)
    )


def clicked(who: UUID, at: datetime, delivery: str) -> tracking.BehaviourTracked:
    message = behaved(who, at, kind="link_clicked")
    message.message_id, message.delivery_id = f"click of {delivery}", delivery
    return message


def became_known(who: UUID, key: str) -> identity.CustomerBecameKnown:
    return identity.CustomerBecameKnown(customer_id=str(who), via_namespace="phone", assignment_key=key)


def merged(survivor: UUID, loser: UUID, merge: UUID | None = None) -> identity.CustomersMerged:
    return identity.CustomersMerged(
        merge_id=str(merge or uuid5(survivor, str(loser))),
        survivor_id=str(survivor),
        loser_id=str(loser),
        node_ids=[str(loser)],
    )


def unmerged(survivor: UUID, restored: UUID, merge: UUID | None = None) -> identity.CustomerUnmerged:
    """`merged` of the same is taken back."""
    return identity.CustomerUnmerged(
        merge_id=str(merge or uuid5(survivor, str(restored))),
        restored_id=str(restored),
        survivor_id=str(survivor),
        node_ids=[str(restored)],
        never_merge=True,
    )


def merge_id(number: int) -> UUID:
    """Ids of merges, the later with the greater number."""
    return new_id(START + timedelta(seconds=number), bytes(10))


def behaved(
    who: UUID,
    at: datetime,
    *,
    kind: str = "content_viewed",
    channel: str = "h5",
    offset: int | None = None,
    **properties: Any,
) -> tracking.BehaviourTracked:
    message = tracking.BehaviourTracked(
        message_id=f"{who}/{at}", event_type=kind, node_id=str(who), occur_time=_time(at), channel=channel
    )
    if properties:
        message.properties_json = json.dumps(properties).encode()
    if offset is not None:
        message.tz_offset_minutes = offset
    return message


def paid(who: UUID, order: str | int, at: datetime, cents: int, currency: str = "USD") -> tracking.OrderPaid:
    net = _money(cents, currency)
    return tracking.OrderPaid(
        order_id=str(person(f"order {order}")), node_id=str(who), net=net, paid=net, pay_time=_time(at)
    )


def revised(who: UUID, order: str | int, revision: int, at: datetime, cents: int) -> tracking.OrderPaymentRevised:
    return tracking.OrderPaymentRevised(
        order_id=str(person(f"order {order}")),
        node_id=str(who),
        revision=revision,
        net=_money(cents, "USD"),
        pay_time=_time(at),
    )


def refunded(who: UUID, order: str | int, no: str, at: datetime, cents: int) -> tracking.OrderRefunded:
    return tracking.OrderRefunded(
        order_id=str(person(f"order {order}")),
        refund_no=no,
        node_id=str(who),
        amount=_money(cents, "USD"),
        refund_time=_time(at),
    )


def _time(at: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(at)
    return message


def _money(cents: int, currency: str) -> Money:
    return Money(currency_code=currency, units=cents // 100, nanos=cents % 100 * 10_000_000)


class World:
    """Tagging on a database of its own."""

    def __init__(self, database: Database, zone: str = ZONE) -> None:
        self.clock = ReplayClock(START)
        self.store = PostgresEventStore(database.writer_dsn)
        self.engine = self.store.engine
        self.read_models = ReadModels(database.reader_dsn)
        audiences = PostgresAudiences()
        self.bus = CommandBus(self.store, self.clock, handlers(audiences))
        self._intake = FactIntake(audiences)
        self._dealings = DealingsIntake(audiences)
        self._projector = Projector(PROJECTIONS, self.engine, self.store)
        self._numbers = count(1)
        self.do(UpdateTenantSettings(zone, "USD"))
        self.fire()

    def close(self) -> None:
        self.read_models.close()
        self.store.close()

    def do(self, command: Any, tenant: str = TENANT, stores: frozenset[UUID] | None = None) -> Any:
        context = Context.system(tenant, "test")
        return self.bus.execute_now(command, context._replace(stores=stores))

    def tell(self, *messages: Message, tenant: str = TENANT, batch: int = 500) -> None:
        """Let other services report `messages`, in batches."""
        incoming = (self.incoming(it, tenant) for it in messages)
        for of_dealings, some in groupby(incoming, lambda it: it.stream in dealing_messages.STREAMS):
            several = list(some)
            for start in range(0, len(several), batch):
                self.absorb(several[start : start + batch], of_dealings=of_dealings)

    def absorb(self, batch: Sequence[Incoming], *, of_dealings: bool = False) -> None:
        intake = self._dealings if of_dealings else self._intake
        effect = Effect(partial(intake.absorb, tuple(batch)))
        kept = (lambda it: it) if of_dealings else self._intake.kept
        unit = Unit([(batch[0].context, effect)], lambda rows, _: inbox.keep(rows, [kept(it) for it in batch]))
        (outcome,) = self.bus.run_now(unit)
        if outcome.error:
            raise outcome.error

    def incoming(self, message: Message, tenant: str = TENANT) -> Incoming:
        """`message` as a consumer gets it."""
        number, name = next(self._numbers), message.DESCRIPTOR.full_name
        stream = name.split(".")[1]
        context = Context.system(tenant, "consume/tagging_facts")
        return Incoming(
            stream=stream,
            sequence=number,
            position=number,
            part=0,
            epoch=1,
            tenant=tenant,
            type=name,
            key=getattr(message, "node_id", "") or getattr(message, "customer_id", "") or "key",
            partition=0,
            id=f"{stream}/1/{number}",
            time=self.clock.now(),
            context=context,
            payload=message.SerializeToString(),
        )

    def at(self, now: datetime) -> None:
        """Let the clock show `now`, and do what came due."""
        self.clock.set(now)
        self.fire()

    def fire(self) -> int:
        """Carry out due timers until there are none; how many there were."""
        fired = 0
        while due := self._due():
            for (tenant, _, _), timers in self._parts(due).items():
                self.do(self._command(tenant, timers), tenant)
            fired += len(due)
        return fired

    def _parts(self, due: Sequence[tuple[str, Timer]]) -> dict[tuple[str, str, str], list[Timer]]:
        """What is one command each, as the loop of timers has it."""
        parts: dict[tuple[str, str, str], list[Timer]] = {}
        for tenant, it in due:
            key = "" if isinstance(TIMERS.get(it.kind), Together) else it.key
            parts.setdefault((tenant, it.kind, key), []).append(it)
        return parts

    def _command(self, tenant: str, timers: Sequence[Timer]) -> Any:
        """What is to be done as timers come due; what finding sets anew looks at is found out as by the loop "refreshes"."""
        timer = timers[0]
        if timer.kind == REFRESH:
            now = self.clock.now()
            return self.read_models.query_now(lambda rows: command_for(rows, tenant, timer, now), tenant)
        make = TIMERS[timer.kind]
        return make.command(timers) if isinstance(make, Together) else make(timer)

    def watch(self) -> DueWatch:
        """What judges the periods of alerts that have ended."""
        return alert_watch(self.bus, self.read_models, self.engine, self.clock)

    def _due(self) -> list[tuple[str, Timer]]:
        with self.engine.begin() as rows:
            found = rows.execute(
                sa.text(
                    "DELETE FROM timers WHERE due_at <= :now AND kind = ANY(:kinds)"
                    " RETURNING tenant, kind, key, due_at, payload"
                ),
                {"now": self.clock.now(), "kinds": [*TIMERS, REFRESH]},
            ).all()
        found = sorted(found, key=lambda it: it.due_at)
        return [(it.tenant, Timer(it.kind, it.key, it.due_at, it.payload)) for it in found]

    def tagged(self, tag: str) -> set[UUID]:
        """Who has a tag, by its bitmap."""
        with self.engine.connect() as rows:
            found = bitmaps.load(rows, TENANT, (bitmaps.of_tag(tag),))[bitmaps.of_tag(tag)]
            return {it.id for it in directory.by_ordinal(rows, TENANT, found)}

    def tags(self, who: UUID, tenant: str = TENANT) -> set[str]:
        """The tags a customer has, by its events."""
        return set(self.assignments(who, tenant))

    def assignments(self, who: UUID, tenant: str = TENANT) -> dict[str, Assignment]:
        """The tags a customer has with all that is told of them, by its events."""
        with self.engine.connect() as rows:
            customer = directory.canonical(rows, tenant, (who,))[who]
        stored = self.bus.store.load([tags_id(tenant, customer.id)])
        tags: CustomerTags | None = None
        for it in stored.get(tags_id(tenant, customer.id), []):
            tags = it.mutate(tags)
        return tags.assignments if tags else {}

    def members(self, segment: UUID, tenant: str = TENANT) -> set[UUID]:
        with self.engine.connect() as rows:
            found = segments.Sets(rows, tenant).segment(segment)
            return {it.id for it in directory.by_ordinal(rows, tenant, found)}

    def history(self, who: UUID, tenant: str = TENANT) -> History:
        with self.engine.connect() as rows:
            return histories(rows, tenant, (who,))[who]

    def define(
        self,
        name: str,
        definition: Definition | None = None,
        universe: Universe = Universe.KNOWN,
        tenant: str = TENANT,
        refresh: Refresh = REALTIME,
    ) -> UUID:
        result: UUID = self.do(CreateSegment(name, definition or Definition(), universe, refresh), tenant).id
        return result

    def listed(self, name: str, *customers: UUID, tenant: str = TENANT) -> UUID:
        """A new static segment with these members."""
        segment = self.define(name, tenant=tenant)
        self.do(UpdateStaticMembers(segment, [MemberChange(True, it) for it in customers]), tenant)
        return segment

    def events(self, kind: type) -> list[Recorded]:
        return [it for it in self.store.read_log(0, 100_000) if isinstance(it.event, kind)]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as rows:
            return [tuple(it) for it in rows.execute(sa.text(query))]

    def project(self) -> None:
        """Bring the read models up to date."""
        for it in PROJECTIONS:
            build = self._projector._ensure_live(it)
            while entries := self._projector._sources[it.source].read(build.position, 1000):
                build = self._projector._advance(build, it, entries)

    def fingerprint(self) -> str:
        with self.engine.connect() as rows:
            return fingerprint(rows)

    def rebuild(self) -> dict[str, Drift]:
        """Rebuild; only the tables where something was wrong."""
        return {table: it for table, it in rebuild(self.engine, self.store).items() if any(it)}
