"""The eraser overwrites what the stream of behaviours says of people who are to be forgotten."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from chassis.broker import Broker, StreamSpec
from chassis.envelope import Address, Offset, Outgoing, seal
from deploy.local.broker import NatsServer
from services.tracking.adapters.behaviour_log import EVENT_NAME, TYPE, BehaviourLog
from services.tracking.adapters.eraser import Eraser
from services.tracking.adapters.erasures import OpenErasure
from tests.chassis.streams import NOON, connected, stored_in, until
from tests.tracking.shop import JANE

CASE, SOMEBODY_ELSE = uuid4(), uuid4()
_NOTHING = cast("Any", None)


async def publish(broker: Broker, start: int, nodes: Iterable[UUID]) -> None:
    """A behaviour of each node, at the positions from `start` on."""
    said = [
        Outgoing(start + n, "acme", EVENT_NAME, node, b"", NOON + timedelta(minutes=n), TYPE)
        for n, node in enumerate(nodes)
    ]
    parcels = [seal(it, Address(BehaviourLog.name, 1, Offset(it.position, 0))) for it in said]
    subjects = sorted({it.subject.rpartition(".")[0] + ".*" for it in parcels})
    await broker.ensure_stream(StreamSpec(BehaviourLog.name, subjects))
    await broker.publish_batch(parcels, start - 1)


async def left(broker: Broker) -> list[str]:
    return [it.headers["ce-subject"] for it in await stored_in(broker, BehaviourLog.name)]


def test_messages_of_the_erased_are_overwritten_and_those_that_come_meanwhile(
    loop: Any, nats_server: NatsServer
) -> None:
    async def scenario() -> None:
        async with connected(nats_server) as broker:
            eraser = Eraser(_NOTHING, _NOTHING, broker, settle_seconds=1)
            erasure = OpenErasure("acme", CASE, [JANE])
            assert not await eraser._scrub([erasure]), "there is no stream yet"
            await publish(broker, 1, [JANE, SOMEBODY_ELSE, JANE])
            scrubbing = asyncio.create_task(eraser._scrub([erasure]))

            async def is_scrubbed() -> bool:
                return await left(broker) == [str(SOMEBODY_ELSE)]

            await until(is_scrubbed)
            assert not scrubbing.done(), "the relay may have read more"
            await publish(broker, 4, [SOMEBODY_ELSE, JANE])
            assert await scrubbing == {CASE: 3}
            assert await left(broker) == [str(SOMEBODY_ELSE)] * 2

    loop.run_until_complete(scenario())
