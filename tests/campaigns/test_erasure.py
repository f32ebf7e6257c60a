"""Somebody is to be forgotten: nothing is written to them any more, and every count stays as it is."""

from datetime import timedelta
from uuid import uuid4

from chassis.envelope import Incoming
from scrm.identity.v1.events_pb2 import CustomerErasing
from services.campaigns.application.commands import RollOutArm
from services.campaigns.application.gates import ERASED
from services.campaigns.application.published_events import publish
from services.campaigns.domain.conversion import Conversion
from services.campaigns.domain.delivery_batch import DeliveryBatch
from services.campaigns.domain.erasure import Erasure
from services.campaigns.read_models import conversions, deliveries
from tests.campaigns.test_delivery import units_of
from tests.campaigns.test_read_models import Reading, busy, reading  # noqa: F401 (a fixture)
from tests.campaigns.world import START, World, customer, people


def erasing(world: World, *keys: str) -> Incoming:
    nodes = [str(customer(it)) for it in keys]
    message = CustomerErasing(case_id=str(uuid4()), customer_id=nodes[0], node_ids=nodes)
    return world._incoming("identity", message, world.clock.now(), keys[0])


def test_what_is_still_to_be_sent_to_somebody_who_is_erased_is_suppressed(world: World) -> None:
    id = world.started()
    world.run(world.dispatcher().turn())
    keys = {customer(key): key for _, key in people(200)}
    world.settle()
    waiting = sorted(units_of(world, "remainder"))[:2]
    world.tell(*(erasing(world, keys[it]) for it in waiting))
    before = len(world.provider.calls)
    world.execute(RollOutArm(id, "B", "won"))
    world.settle()
    written_to = {it.unit for it in world.provider.calls[before:]}
    assert written_to
    assert written_to.isdisjoint(waiting)
    suppressed = [it.suppressed for it in world.events(DeliveryBatch.Reserved)]
    assert {unit for it in suppressed for unit in it.get(ERASED, ())} == set(waiting)


def test_who_is_erased_before_the_audience_is_assigned_is_nobody_s_unit(world: World) -> None:
    (_, first), *_ = people(200)
    world.tell(erasing(world, first))
    id = world.dispatched()
    units = [unit for it in world.events(DeliveryBatch.UnitsAssigned) for them in it.variants.values() for unit in them]
    assert customer(first) not in units
    assert world.broadcast(id).targeted == 199


def test_facts_that_come_late_are_dropped_and_an_erasure_is_answered_once(world: World) -> None:
    world.dispatched()
    unit = min(units_of(world, "A"))
    key = next(key for it, key in people(200) if it == unit)
    message = erasing(world, key)
    world.tell(message)
    world.tell(message)
    (done,) = [it for it in world.recorded() if isinstance(it.event, Erasure.Completed)]
    told = publish(done)
    assert told is not None
    assert told.removed["assignments"] == 1  # type: ignore[union-attr]
    world.tell(world.paid(key, "late", START + timedelta(hours=1)), world.merged(key, "somebody", START))
    world.settle()
    assert world.events(Conversion.Recorded) == []
    never = erasing(world, "never heard of")
    world.tell(never)
    assert set(world.events(Erasure.Completed)[-1].removed.values()) == {0}


def test_every_count_is_as_before_and_leads_to_nobody(reading: Reading) -> None:  # noqa: F811
    world, keys = reading.world, [key for _, key in people(200)]
    id = busy(world)
    reading.catch_up()
    until = world.clock.now() + timedelta(days=400)

    def counts() -> tuple[object, object]:
        return reading.read_models.query_now(
            lambda rows: (conversions.tallies(rows, id, until), deliveries.counts(rows, id)), world.context.tenant
        )

    before = counts()
    gone = [(keys[0], keys[1]), ("outsider", keys[2]), *((it,) for it in keys[20:40])]
    world.tell(*(erasing(world, *them) for them in gone))
    reading.catch_up()
    assert counts() == before
    world.settle()
    reading.catch_up()
    assert counts() == before, "also when orders are credited anew"
    hashes = reading.hashes()
    reading.rebuild()
    assert reading.hashes() == hashes
    nodes = [customer(key) for them in gone for key in them]
    for table, column in (
        ("assignments", "customer"), ("recipients", "customer"), ("recipients", "unit"), ("nodes", "node"),
        ("nodes", "customer"), ("node_moves", "node"), ("order_facts", "node"), ("captured_messages", "customer"),
    ):  # fmt: skip
        with reading.engine.connect() as rows:
            found = rows.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE {column} = ANY(%s)", (nodes,))
            assert found.scalar() == 0, (table, column)
