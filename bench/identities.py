"""Resolving many calls at once beside one by one, and how soon all services have followed a merge."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from uuid import uuid4

import grpc

from bench.alone import serving_alone
from bench.calls import TENANT, authorization, calls_per_second, channel
from bench.figures import Figure, at_least
from demo.backend import Backend, connected
from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from scrm.membership.v1 import membership_service_pb2 as membership
from scrm.membership.v1 import points_pb2, program_pb2
from scrm.tagging.v1 import tagging_service_pb2 as tagging
from scrm.tracking.v1 import behaviour_pb2
from scrm.tracking.v1 import tracking_service_pb2 as tracking

BATCH = 500
BATCHES = 12
CALLERS = 4
ONE_BY_ONE = 600
MERGES = 40
LOOK_SECONDS = 0.02
GIVE_UP_SECONDS = 60.0


def measure(stack: LocalStack) -> list[Figure]:
    with serving_alone(stack, "identity") as alone:
        batched, single = asyncio.run(_resolve(stack, alone.address))
    waited = sorted(asyncio.run(_merges(stack)))
    p99 = waited[-(-len(waited) * 99 // 100) - 1] * 1000
    return [
        Figure(
            "resolve_per_s", batched, "calls/s", f"BatchResolve of {BATCH}, half known and half new, {CALLERS} callers"
        ),
        Figure("resolve_one_by_one_per_s", single, "calls/s", "the same calls as ResolveIdentity, one after the other"),
        at_least("resolve_ratio", batched / single, 5, "resolve_per_s / resolve_one_by_one_per_s"),
        Figure(
            "merge_visible_ms_p99",
            p99,
            "ms",
            f"from the answer to MergeCustomers until tracking, tagging and membership read the two as one, {MERGES} merges",
        ),
    ]


async def _resolve(stack: LocalStack, address: str) -> tuple[float, float]:
    """Calls a second in batches, and one by one; of each two calls one is about somebody known."""
    metadata = authorization(stack)
    async with channel(address) as opened:
        stub = IdentityServiceStub(opened)
        known = [f"known:{uuid4()}" for _ in range(BATCH // 2)]
        await stub.BatchResolve(_batch(known), metadata=metadata, timeout=60)

        async def batch(_: int) -> None:
            answer = await stub.BatchResolve(
                _batch([*known, *(f"new:{uuid4()}" for _ in known)]), metadata=metadata, timeout=60
            )
            created = sum(it.outcome == pb.OUTCOME_CREATED for it in answer.results)
            if created != len(known):
                raise AssertionError(f"{created} of {len(known)} were new")

        async def one(number: int) -> None:
            visitor = known[number % len(known)] if number % 2 else f"new:{uuid4()}"
            request = pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[_anonymous(visitor)])
            await stub.ResolveIdentity(request, metadata=metadata, timeout=60)

        await batch(0)
        return BATCH * await calls_per_second(CALLERS, BATCHES, batch), await calls_per_second(1, ONE_BY_ONE, one)


async def _merges(stack: LocalStack) -> list[float]:
    """Seconds from the answer of each merge until every service agrees."""
    addresses = {name: stack.address(name) for name in stack.services}
    async with connected(addresses, stack.credentials.mint(TENANT, scopes())) as backend:
        await _have_program(backend)
        pairs = await asyncio.gather(*(_pair(backend) for _ in range(MERGES)))
        waited: list[float] = []
        for survivor, loser in pairs:
            await backend.identity.MergeCustomers(
                pb.MergeCustomersRequest(request_id=str(uuid4()), survivor_id=survivor, loser_id=loser, reason="BENCH")
            )
            answered = perf_counter()
            await asyncio.gather(*(_seen(look, answered) for look in _looks(backend, survivor, loser)))
            waited.append(perf_counter() - answered)
        return waited


async def _have_program(backend: Backend) -> None:
    program = program_pb2.Program(
        code="bench",
        currency_code="USD",
        time_zone="UTC",
        points_name="points",
        points_per_unit="1",
        points_expiry=program_pb2.POINTS_EXPIRY_ROLLING_12_MONTH_END,
    )
    await backend.membership.DefineProgram(membership.DefineProgramRequest(request_id=str(uuid4()), program=program))


async def _pair(backend: Backend) -> tuple[str, str]:
    """Two customers whom every service knows."""
    ids: list[str] = []
    for email in (f"{uuid4()}@example.com" for _ in range(2)):
        identifier = customer_pb2.Identifier(namespace="email", value=email)
        asked = pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=[identifier])
        ids.append((await backend.identity.ResolveIdentity(asked)).customer_id)
        event = behaviour_pb2.TrackedEvent(
            message_id=str(uuid4()),
            source_key="h5",
            event_type="content_viewed",
            identifiers=[behaviour_pb2.Identifier(namespace="email", value=email)],
            context=behaviour_pb2.EventContext(channel="h5", content_id="H5-1", page_view_id=str(uuid4())),
        )
        event.original_time.GetCurrentTime()
        await backend.tracking.TrackBatch(tracking.TrackBatchRequest(events=[event]))
    survivor, loser = ids
    await _seen(lambda: _is_known(backend, loser), perf_counter())
    for id in ids:
        await backend.membership.EnrollMember(membership.EnrollMemberRequest(request_id=str(uuid4()), customer_id=id))
        await backend.membership.GrantPoints(
            membership.GrantPointsRequest(
                request_id=str(uuid4()), customer_id=id, source=points_pb2.POINTS_SOURCE_GIFT, ref=id, points=10
            )
        )
    return survivor, loser


async def _is_known(backend: Backend, customer: str) -> bool:
    """Whether membership has heard that the customer is known; the others have by then or soon will."""
    listed = await backend.membership.GetMember(membership.GetMemberRequest(customer_id=customer))
    return bool(listed.member.customer_id)


def _looks(backend: Backend, survivor: str, loser: str) -> Sequence[Callable[[], Awaitable[bool]]]:
    """Whether each service takes the loser for the survivor."""

    async def tracked() -> bool:
        found = await backend.tracking.GetTrail(tracking.GetTrailRequest(customer_id=loser))
        return bool(found.customer_id == survivor and len(found.entries) == 2)

    async def tagged() -> bool:
        found = await backend.tagging.GetCustomerTags(tagging.GetCustomerTagsRequest(customer_id=loser))
        return bool(found.customer_id == survivor)

    async def credited() -> bool:
        found = await backend.membership.GetBalance(membership.GetBalanceRequest(customer_id=loser))
        return bool((found.balance.customer_id, found.balance.balance) == (survivor, 20))

    return tracked, tagged, credited


async def _seen(look: Callable[[], Awaitable[bool]], since: float) -> None:
    while not await _is_so(look):
        if perf_counter() - since > GIVE_UP_SECONDS:
            raise AssertionError(f"not seen after {GIVE_UP_SECONDS} seconds")
        await asyncio.sleep(LOOK_SECONDS)


async def _is_so(look: Callable[[], Awaitable[bool]]) -> bool:
    """Who is not heard of yet is not seen yet."""
    try:
        return await look()
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return False


def _batch(visitors: Sequence[str]) -> pb.BatchResolveRequest:
    items = [pb.ResolveItem(identifiers=[_anonymous(it)]) for it in visitors]
    return pb.BatchResolveRequest(request_id=str(uuid4()), items=items)


def _anonymous(value: str) -> customer_pb2.Identifier:
    return customer_pb2.Identifier(namespace="anonymous_id", value=value)
