"""A subscriber reads what its tenant is told, through its own durables, and can do nothing else on NATS."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from chassis.broker import Broker, StreamSpec
from deploy.local.broker import NatsServer
from deploy.local.subscribers import Register, Subscriber, UnknownEvent, make_durables

CRM = Subscriber("acme", "crm", ("identity.customers_merged", "tracking.*"))
SHOP = Subscriber("other.brand", "shop", ("identity.*",))
STREAMS = ("identity", "tracking")


class Connection:
    """A plain client of NATS and what the server told it off for."""

    def __init__(self) -> None:
        self.client = Client()
        self.violations: list[str] = []

    async def note(self, error: Exception) -> None:
        self.violations.append(str(error))

    async def call(self, subject: str, body: Any = None, seconds: float = 2) -> dict[str, Any]:
        answer = await self.client.request(subject, json.dumps(body).encode() if body else b"", timeout=seconds)
        found: dict[str, Any] = json.loads(answer.data)
        return found

    async def pull(self, service: str, user: str) -> list[Msg]:
        """What the durable of `user` has to hand out now."""
        found: list[Msg] = []
        while True:
            request = json.dumps({"batch": 1, "expires": 200_000_000}).encode()
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{service}.{user}"
            # In the old style, as a message comes with the subject it has in the stream.
            message = await self.client.request(subject, request, 2, old_style=True)
            if status := (message.headers or {}).get("Status"):
                assert status == "408"  # the time is over
                return found
            found.append(message)

    async def is_refused(self, subject: str) -> bool:
        """Whether the server refuses a message of this client because of its subject."""
        await self.client.publish(subject, b"{}")
        await self.client.flush()  # the refusal comes before the answer to this
        await self.client.flush()
        return any(f'publish to "{subject.lower()}"' in it for it in self.violations)


@asynccontextmanager
async def client(server: NatsServer, user: str | None, password: str | None) -> AsyncIterator[Connection]:
    made = Connection()
    options: dict[str, Any] = {"user": user, "password": password, "inbox_prefix": f"_INBOX_{user}"} if user else {}
    await made.client.connect(
        f"nats://{server.address}", allow_reconnect=False, max_reconnect_attempts=0, error_cb=made.note, **options
    )
    try:
        yield made
    finally:
        await made.client.close()


@asynccontextmanager
async def as_services(server: NatsServer) -> AsyncIterator[Broker]:
    broker = Broker(server.url)
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.close()


def of(server: NatsServer, subscriber: Subscriber) -> AbstractAsyncContextManager[Connection]:
    return client(server, subscriber.user, subscriber.password)


@pytest.fixture(scope="module")
def server(state_dir: Path, loop: asyncio.AbstractEventLoop) -> Iterator[NatsServer]:
    """A server with two subscribers and some messages of both tenants."""
    found = NatsServer(state_dir / "nats-rights", subscribers=[CRM, SHOP])
    found.start()
    loop.run_until_complete(_fill(found))
    yield found
    found.stop()


async def _fill(server: NatsServer) -> None:
    async with as_services(server) as broker:
        for stream in STREAMS:
            await broker.ensure_stream(StreamSpec(stream, [f"scrm.*.{stream}.v1.*.*"]))
        for token in ("acme", "other%2Ebrand"):
            for subject in ("identity.v1.customers_merged", "identity.v1.customer_erased", "tracking.v1.order_paid"):
                await broker.store(f"scrm.{token}.{subject}.7", token.encode())
        for subscriber in (CRM, SHOP):
            await make_durables(broker, subscriber)


async def messages(server: NatsServer) -> dict[str, int]:
    async with as_services(server) as broker:
        return {it: info.messages for it in STREAMS if (info := await broker.stream(it))}


def test_a_subscriber_reads_what_its_tenant_is_told_and_what_it_asked_for(
    server: NatsServer, loop: asyncio.AbstractEventLoop
) -> None:
    async def read() -> None:
        async with of(server, CRM) as crm, of(server, SHOP) as shop:
            assert [it.subject for it in await crm.pull("identity", CRM.user)] == [
                "scrm.acme.identity.v1.customers_merged.7"
            ]
            assert [it.subject for it in await crm.pull("tracking", CRM.user)] == ["scrm.acme.tracking.v1.order_paid.7"]
            assert [it.subject for it in await shop.pull("identity", SHOP.user)] == [
                "scrm.other%2Ebrand.identity.v1.customers_merged.7",
                "scrm.other%2Ebrand.identity.v1.customer_erased.7",
            ]

    loop.run_until_complete(read())


def test_what_is_acknowledged_is_not_handed_out_again(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    async def read() -> None:
        async with of(server, SHOP) as shop:
            await shop.call(f"$JS.API.CONSUMER.RESET.identity.{SHOP.user}", {"seq": 1})
            first, second = await shop.pull("identity", SHOP.user)
            await shop.client.request(first.reply, b"+ACK")  # answered when it has taken effect
            await shop.call(f"$JS.API.CONSUMER.RESET.identity.{SHOP.user}")
            assert [it.subject for it in await shop.pull("identity", SHOP.user)] == [second.subject]

    loop.run_until_complete(read())


FORBIDDEN = [
    "scrm.acme.identity.v1.customers_merged.7",
    "scrm.clock",
    "$JS.API.INFO",
    "$JS.API.STREAM.INFO.identity",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.CREATE.mine",
    "$JS.API.STREAM.PURGE.identity",
    "$JS.API.STREAM.DELETE.identity",
    "$JS.API.STREAM.MSG.GET.identity",
    "$JS.API.STREAM.MSG.DELETE.identity",
    "$JS.API.DIRECT.GET.identity",
    "$JS.API.DIRECT.GET.identity.scrm.acme.identity.v1.customers_merged.7",
    "$JS.API.CONSUMER.LIST.identity",
    f"$JS.API.CONSUMER.INFO.identity.{CRM.user}",
    f"$JS.API.CONSUMER.DELETE.identity.{CRM.user}",
    f"$JS.API.CONSUMER.CREATE.identity.{CRM.user}",
    f"$JS.API.CONSUMER.CREATE.identity.{CRM.user}.scrm.acme.identity.v1.customers_merged.7",
    f"$JS.API.CONSUMER.DURABLE.CREATE.identity.{CRM.user}",
    f"$JS.API.CONSUMER.MSG.NEXT.identity.{SHOP.user}",
    f"$JS.API.CONSUMER.RESET.identity.{SHOP.user}",
    f"$JS.ACK.identity.{SHOP.user}.1.1.1.1.0",
    f"$JS.API.CONSUMER.MSG.NEXT.membership.{CRM.user}",
    "$SYS.REQ.SERVER.PING",
    f"{SHOP.inbox}.somebody",
]


def test_a_subscriber_may_call_nothing_but_its_own_durables(
    server: NatsServer, loop: asyncio.AbstractEventLoop
) -> None:
    async def attack() -> list[str]:
        async with of(server, CRM) as crm:
            return [it for it in FORBIDDEN if not await crm.is_refused(it)]

    before = loop.run_until_complete(messages(server))
    assert loop.run_until_complete(attack()) == []
    assert loop.run_until_complete(messages(server)) == before


def test_the_services_may_do_all_that(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    """The control of the test above: their calls are not refused, so it is the credentials that are."""

    async def ask() -> list[str]:
        user, _, rest = server.url.removeprefix("nats://").partition(":")
        async with client(server, user, rest.partition("@")[0]) as services:
            harmless = [it for it in FORBIDDEN if "INFO" in it or "NAMES" in it or "LIST" in it or "GET" in it]
            return [it for it in harmless if await services.is_refused(it)]

    assert loop.run_until_complete(ask()) == []


@pytest.mark.parametrize(
    "subject",
    ["scrm.>", ">", "scrm.acme.identity.v1.customers_merged.7", "$JS.>", "$SYS.>", "_INBOX.>", f"{SHOP.inbox}.>"],
)
def test_a_subscriber_cannot_listen_past_its_durables(
    server: NatsServer, loop: asyncio.AbstractEventLoop, subject: str
) -> None:
    async def listen() -> list[str]:
        async with of(server, CRM) as crm:
            await crm.client.subscribe(subject)
            await crm.client.flush()  # the refusal comes before the answer to this
            await crm.client.flush()
            return crm.violations

    assert len(loop.run_until_complete(listen())) == 1


def test_no_answer_can_be_sent_into_a_stream(server: NatsServer, loop: asyncio.AbstractEventLoop) -> None:
    """The address of an answer belongs to the account of who asks, also when it reads like the subject of a message."""

    async def attack() -> None:
        target = "scrm.other%2Ebrand.identity.v1.customers_merged.7"
        async with of(server, CRM) as crm:
            await crm.call(f"$JS.API.CONSUMER.RESET.identity.{CRM.user}", {"seq": 1})
            heard = await crm.client.subscribe(f"{CRM.inbox}.>")
            request = json.dumps({"batch": 5, "no_wait": True}).encode()
            await crm.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.identity.{CRM.user}", request, reply=target)
            await crm.client.publish(f"$JS.API.CONSUMER.RESET.identity.{CRM.user}", b'{"seq": 1}', reply=target)
            await crm.client.flush()
            await crm.call(f"$JS.API.CONSUMER.RESET.identity.{CRM.user}", {"seq": 1})
            assert await crm.pull("identity", CRM.user)
            assert heard.pending_msgs

    before = loop.run_until_complete(messages(server))
    loop.run_until_complete(attack())
    assert loop.run_until_complete(messages(server)) == before


@pytest.mark.parametrize("password", [None, "guessed"])
def test_nobody_comes_in_without_credentials(
    server: NatsServer, loop: asyncio.AbstractEventLoop, password: str | None
) -> None:
    async def connect() -> None:
        async with client(server, CRM.user if password else None, password):
            pass

    with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
        loop.run_until_complete(connect())


def test_a_subscriber_is_admitted_and_expelled_while_the_services_stay_connected(
    state_dir: Path, loop: asyncio.AbstractEventLoop
) -> None:
    server = NatsServer(state_dir / "nats-admission")
    late = Subscriber("acme", "late", ("identity.*",))

    async def admit(broker: Broker) -> None:
        await broker.ensure_stream(StreamSpec("identity", ["scrm.*.identity.v1.*.*"]))
        await broker.store("scrm.acme.identity.v1.customer_created.1", b"")
        generation = broker.generation
        server.admit([late])
        await make_durables(broker, late)
        await until_admitted(server, late)
        async with of(server, late) as client:
            assert len(await client.pull("identity", late.user)) == 1
        server.admit([])
        await until_expelled(server, late)
        assert broker.generation == generation

    async def scenario() -> None:
        async with as_services(server) as broker:
            await admit(broker)

    server.start()
    try:
        loop.run_until_complete(scenario())
    finally:
        server.stop()


async def until_admitted(server: NatsServer, subscriber: Subscriber) -> None:
    async with asyncio.timeout(10):
        while not await _comes_in(server, subscriber):
            pass


async def until_expelled(server: NatsServer, subscriber: Subscriber) -> None:
    async with asyncio.timeout(10):
        while await _comes_in(server, subscriber):
            pass


async def _comes_in(server: NatsServer, subscriber: Subscriber) -> bool:
    try:
        async with of(server, subscriber):
            return True
    except nats.errors.Error:
        return False


def test_the_register_keeps_passwords_and_its_file_to_itself(tmp_path: Path) -> None:
    register = Register(tmp_path / "kept" / "subscribers.json")
    first = register.put("acme", "crm", ["identity.*"])
    again = register.put("acme", "crm", ["identity.customers_merged"])

    assert (again.password, again.events) == (first.password, ("identity.customers_merged",))
    assert register.all() == [again]
    assert (tmp_path / "kept" / "subscribers.json").stat().st_mode & 0o077 == 0
    assert register.remove("acme", "crm") == again
    assert register.all() == []


def test_what_no_service_publishes_cannot_be_subscribed_to() -> None:
    with pytest.raises(UnknownEvent):
        Subscriber("acme", "crm", ("identity.customer_vanished",))


@pytest.mark.parametrize("name", ["", "CRM", "a.b", "a~b", "-a", "a" * 41])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="subscriber"):
        Subscriber("acme", name, ("identity.*",))
