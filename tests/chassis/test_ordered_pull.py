"""Reading in order: what a consumer builds its positions on, and why a durable alone is no base for them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import Int64Value
from nats.aio.msg import Msg

from chassis.broker import Broker
from chassis.jetstream import Delivery, parse_header_lines
from chassis.ordered_pull import OrderedPull, ReadingInterrupted, consumer_sequence, stream_sequence
from deploy.local.broker import NatsServer
from tests.chassis.streams import connected, fill, saying, until


def numbers(messages: Sequence[Delivery | Msg]) -> list[int]:
    return [Int64Value.FromString(it.data).value for it in messages]


async def read(pull: OrderedPull, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found += numbers(await pull.next(count - len(found), 5))
    return found


def test_messages_come_in_the_order_of_the_stream_from_where_one_asks(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n) for n in range(1, 4_001)])
            pull = OrderedPull(broker, "numbers", "reader", [], 11)
            await pull.open()
            assert 0 < await pull.waiting(4_000) <= 3_990
            assert await read(pull, 3_990) == list(range(11, 4_001))
            assert await pull.waiting(4_000) > 0, "handed out is not handled"
            pull.done()
            assert await pull.waiting(4_000) == 0
            await fill(broker, "numbers", [saying(4_001, 4_001)])
            assert await pull.waiting(4_001) == 1
            assert await read(pull, 1) == [4_001]
            assert await pull.next(10, 0.01) == []
            await pull.close()

    loop.run_until_complete(scenario())


def test_a_message_from_elsewhere_ends_the_session_and_not_the_connection(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(1, 1)])
            pull = OrderedPull(broker, "numbers", "reader", [], 1)
            await pull.open()
            assert await read(pull, 1) == [1]
            await broker.publish(pull._inbox, b"7", headers={"ce-id": "forged"})
            with pytest.raises(ReadingInterrupted):
                await until_interrupted(pull)
            assert (await broker.stream("numbers")) is not None
            await pull.close()

    loop.run_until_complete(scenario())


def test_what_is_not_for_this_reader_is_asked_about_once(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n) for n in range(1, 11)])
            pull = OrderedPull(broker, "numbers", "reader", ["of.nobody.>"], 1)
            await pull.open()
            asked: list[str] = []
            request = broker.request

            async def noted(subject: str, *rest: Any, **more: Any) -> Any:
                asked.append(subject)
                return await request(subject, *rest, **more)

            broker.request = noted  # type: ignore[method-assign]
            assert await pull.waiting(10) == 0
            assert len(asked) == 1
            assert await pull.waiting(10) == 0
            assert len(asked) == 1, "up to there nothing can come any more"
            assert await pull.waiting(11) == 0
            assert len(asked) == 2, "what has come since may be for this reader"
            await pull.close()

    loop.run_until_complete(scenario())


async def until_interrupted(pull: OrderedPull) -> None:
    for _ in range(100):
        assert await pull.next(10, 0.1) == []


def test_a_new_reader_starts_where_it_is_told_and_the_old_one_learns_of_it(loop: Any, nats_server: NatsServer) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n) for n in range(1, 21)])
            old = OrderedPull(broker, "numbers", "reader", [], 1)
            await old.open()
            assert await read(old, 10) == list(range(1, 11))  # and dies before it has handled them
            new = OrderedPull(broker, "numbers", "reader", [], 1)
            await new.open()
            assert await read(new, 20) == list(range(1, 21))
            with pytest.raises(ReadingInterrupted):
                await read(old, 20)
            await new.close()

    loop.run_until_complete(scenario())


def test_a_plain_durable_hands_out_later_messages_before_the_unacknowledged_ones(
    loop: Any, nats_server: NatsServer
) -> None:
    """The negative control: whoever kept positions over this would take the first ten for done."""

    async def scenario() -> None:
        async with connected(nats_server) as broker:
            await fill(broker, "numbers", [saying(n, n) for n in range(1, 21)])
            config = {"durable_name": "reader", "ack_policy": "explicit", "ack_wait": 30_000_000_000}
            await broker.request("CONSUMER.DURABLE.CREATE.numbers.reader", {"stream_name": "numbers", "config": config})
            assert numbers(await _fetch(broker, 10)) == list(range(1, 11))  # taken by a process that dies
            assert numbers(await _fetch(broker, 10)) == list(range(11, 21))

    loop.run_until_complete(scenario())


async def _fetch(broker: Broker, count: int) -> list[Msg]:
    found: list[Msg] = []

    async def receive(message: Msg) -> None:
        found.append(message)

    inbox = broker.inbox()
    subscription = await broker.subscribe(inbox, receive)
    request = json.dumps({"batch": count}).encode()
    await broker.publish("$JS.API.CONSUMER.MSG.NEXT.numbers.reader", request, reply=inbox)
    await until(lambda: len(found) == count)
    await broker.unsubscribe(subscription)
    return found


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.numbers.reader.1.7001.42.1777636800000000000.5",
        "$JS.ACK.hub.Yc3hash.numbers.reader.1.7001.42.1777636800000000000.5.r4nd0m",
    ],
)
def test_sequences_are_read_from_both_forms_of_the_reply_subject(reply: str) -> None:
    assert (stream_sequence(reply), consumer_sequence(reply)) == (7001, 42)


def test_headers_are_read_with_and_without_a_space() -> None:
    assert parse_header_lines(b"a: b: c\r\n") == {"a": "b: c"}
    assert parse_header_lines(b"a:b\r\nc:  d \r\n\r\n") == {"a": "b", "c": "d"}
