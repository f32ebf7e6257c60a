"""The kit of subscribers reads messages as the relay writes them: in order, each once, through whatever happens to it or to NATS."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.message import Message
from nats.aio.client import Client

from chassis.broker import Broker, StreamSpec
from chassis.envelope import Address, Offset, Outgoing, event_name, seal
from deploy.local.broker import NatsServer
from deploy.local.subscribers import Subscriber, make_durables, remove_durables
from scrm.identity.v1.events_pb2 import CustomerCreated, CustomersMerged
from scrm_client import Event, Events, Handled, NotGranted, SubscriptionTaken, UnknownEvent

CRM = Subscriber("acme", "crm", ("identity.customers_merged", "identity.customer_created"))
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class World:
    """A server with the stream of identity, into which `say` writes what its relay would."""

    def __init__(self, server: NatsServer, broker: Broker) -> None:
        self.server = server
        self.broker = broker
        self.position = 0
        self.last = 0

    async def say(self, *messages: Message, tenant: str = "acme", kind: str | None = None) -> None:
        parcels = []
        for message in messages:
            self.position += 1
            full_name = kind or message.DESCRIPTOR.full_name
            name = event_name(full_name.rpartition(".")[2])
            told = Outgoing(
                self.position, tenant, name, "customer", message.SerializeToString(), NOON, full_name, correlation="c"
            )
            parcels.append(seal(told, Address("identity", 1, Offset(self.position))))
        self.last = await self.broker.publish_batch(parcels, self.last)

    async def say_many(self, count: int) -> None:
        await self.say(*(CustomersMerged(merge_id=str(it)) for it in range(count)))

    @asynccontextmanager
    async def events(self) -> AsyncIterator[Events]:
        async with Events(CRM.url(self.server.address)) as found:
            yield found

    async def read(self, count: int, *names: str) -> list[Event]:
        """The next `count` events that the subscriber gets, all of them followed by a next one or acknowledged."""
        found: list[Event] = []
        async with self.events() as events, aclosing(events.subscribe("identity", *names)) as stream:
            async for event in stream:
                if len(found) == count:
                    break
                found.append(event)
                if len(found) == count:
                    await self.say(CustomerCreated(customer_id="end"))
        return found


@pytest.fixture(scope="module")
def server(state_dir: Path) -> Iterator[NatsServer]:
    found = NatsServer(state_dir / "nats-subscribe", subscribers=[CRM])
    found.start()
    yield found
    found.stop()


@asynccontextmanager
async def world(server: NatsServer) -> AsyncIterator[World]:
    broker = Broker(server.url)
    await broker.connect()
    await broker.ensure_stream(StreamSpec("identity", ["scrm.*.identity.v1.*.*"]))
    await make_durables(broker, CRM)
    try:
        yield World(server, broker)
    finally:
        await remove_durables(broker, CRM)
        await broker.delete_stream("identity")
        await broker.close()


def positions(events: list[Event]) -> list[int]:
    return [it.address.position for it in events]


def test_events_come_in_order_and_go_on_where_the_last_process_stopped(
    server: NatsServer, loop: asyncio.AbstractEventLoop
) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            await it.say_many(200)
            first = await it.read(120)
            assert positions(first) == list(range(1, 121))
            assert positions(await it.read(80)) == list(range(121, 201))

    loop.run_until_complete(scenario())


def test_an_event_says_what_happened_when_and_to_whom(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            await it.say(CustomersMerged(merge_id="m", survivor_id="s"))
            (event,) = await it.read(1)
            assert event.message == CustomersMerged(merge_id="m", survivor_id="s")
            assert (event.id, event.name, event.tenant) == ("identity/1/1", "customers_merged", "acme")
            assert (event.key, event.time, event.correlation) == ("customer", NOON, "c")
            assert abs(event.published - datetime.now(UTC)) < timedelta(minutes=1)

    loop.run_until_complete(scenario())


def test_only_what_was_asked_for_and_is_the_tenants_own_comes(
    server: NatsServer, loop: asyncio.AbstractEventLoop
) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            await it.say(CustomerCreated(), CustomersMerged())
            await it.say(CustomersMerged(), tenant="other")
            await it.say(CustomersMerged(), CustomerCreated())
            async with it.events() as events, aclosing(events.subscribe("identity", "customers_merged")) as stream:
                assert [await anext(stream) for _ in range(2)][1].address.position == 4

    loop.run_until_complete(scenario())


def test_an_event_whose_handling_fails_comes_again(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            await it.say_many(3)
            for _ in range(2):
                async with it.events() as events, aclosing(events.subscribe("identity")) as stream:
                    assert (await anext(stream)).address.position == 1

    loop.run_until_complete(scenario())


def test_requests_of_a_process_that_died_swallow_nothing(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            await ask_and_die(server)
            await it.say_many(100)
            assert positions(await it.read(100)) == list(range(1, 101))

    loop.run_until_complete(scenario())


async def ask_and_die(server: NatsServer) -> None:
    """What a subscriber does that is killed while it waits: its requests stay behind at the server."""
    client = Client()
    await client.connect(
        f"nats://{server.address}", user=CRM.user, password=CRM.password, inbox_prefix=CRM.inbox, allow_reconnect=False
    )
    body = json.dumps({"batch": 1, "expires": 5_000_000_000}).encode()
    for _ in range(64):
        await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.identity.{CRM.user}", body, reply=client.new_inbox())
    await client.flush()
    await client.close()


def test_a_restart_of_nats_loses_and_repeats_nothing(
    server: NatsServer, loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            await it.say_many(150)
            handled, taken = Handled(tmp_path / "handled.db"), list[int]()
            async with it.events() as events, aclosing(events.subscribe("identity")) as stream:
                async for event in stream:
                    with handled.once(event) as is_first:
                        if is_first:
                            taken.append(event.address.position)
                    if event.address.position == 70:
                        await asyncio.to_thread(server.restart)
                    if event.address.position == 150:
                        break
            assert taken == list(range(1, 151))

    loop.run_until_complete(scenario())


def test_a_subscriber_goes_back_to_a_position_or_a_time(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            await it.say_many(40)
            between = datetime.now(UTC)
            await it.say_many(20)
            assert len(await it.read(60)) == 60  # and the one that ends it: 61
            async with it.events() as events:
                await events.replay("identity", position=17)
            assert positions(await it.read(3)) == [17, 18, 19]
            async with it.events() as events:
                await events.replay("identity", since=between)
            assert positions(await it.read(3)) == [41, 42, 43]
            async with it.events() as events:
                await events.replay("identity")
            assert positions(await it.read(2)) == [1, 2]

    loop.run_until_complete(scenario())


def test_of_two_processes_on_one_durable_one_is_told(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    async def follow(it: World) -> None:
        async with it.events() as events, aclosing(events.subscribe("identity")) as stream:
            async for _ in stream:
                pass

    async def scenario() -> None:
        async with world(server) as it:
            readers = [asyncio.create_task(follow(it)) for _ in range(2)]
            try:
                while not any(reader.done() for reader in readers):
                    await it.say_many(5)
                    await asyncio.sleep(0)
                ended = next(reader for reader in readers if reader.done())
                assert isinstance(ended.exception(), SubscriptionTaken)
            finally:
                for reader in readers:
                    reader.cancel()
                await asyncio.gather(*readers, return_exceptions=True)

    loop.run_until_complete(scenario())


@pytest.mark.parametrize(("service", "name"), [("identity", "customer_erased"), ("membership", "points_earned")])
def test_what_is_not_granted_is_refused_at_once(
    server: NatsServer, loop: asyncio.AbstractEventLoop, service: str, name: str
) -> None:
    async def scenario() -> None:
        async with world(server) as it, it.events() as events, aclosing(events.subscribe(service, name)) as stream:
            with pytest.raises(NotGranted, match=service):
                await anext(stream)

    loop.run_until_complete(scenario())


def test_a_type_of_later_days_is_told_apart(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    async def scenario() -> None:
        async with world(server) as it:
            durable = Subscriber("acme", "crm", ("identity.*",), CRM.password)
            await make_durables(it.broker, durable)
            await it.say(CustomersMerged(), kind="scrm.identity.v1.CustomerTeleported")
            (event,) = await it.read(1)
            assert event.name == "customer_teleported"
            with pytest.raises(UnknownEvent, match="CustomerTeleported"):
                _ = event.message

    loop.run_until_complete(scenario())
