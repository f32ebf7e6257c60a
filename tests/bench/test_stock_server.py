"""The stock server of the bench carries out what it is compared by: a resolution, with the handler that identity has."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from bench.stock_server import StockBus, StockIdentity
from chassis.context import Context, entered
from chassis.errors import AggregateNotFound
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.adapters import wire
from services.identity.domain.customer import Customer
from services.identity.domain.identifiers import GivenIdentifier, IdentifierReader


async def resolved(bus: StockBus, value: str) -> Any:
    read = IdentifierReader(b"stock" * 8, region="US").read
    identifiers = [GivenIdentifier("anonymous_id", value)]
    request = pb.ResolveIdentityRequest(request_id=str(uuid4()))
    command = wire.resolve_command(request, lambda _: read("acme", identifiers))
    return await bus.execute(command, wire.resolved)


def test_an_unseen_visitor_is_created_once() -> None:
    async def scenario() -> None:
        bus = StockBus(StockIdentity(env={}))
        with entered(Context("acme", "bench")):
            first, again = await resolved(bus, "v1"), await resolved(bus, "v1")
            assert (first.outcome, again.outcome) == (pb.OUTCOME_CREATED, pb.OUTCOME_MATCHED)
            assert first.customer_id == again.customer_id
            with pytest.raises(AggregateNotFound):
                await bus.load(Customer, uuid4())

    asyncio.run(scenario())
