"""Asks identity whose facts are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from chassis.context import Context, entered
from chassis.errors import BadFormat, DomainError, RequestIdReused, Unavailable
from chassis.status import Refusal, refusal
from scrm.identity.v1 import attribute_pb2, customer_pb2, identity_service_pb2
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from services.tracking.application.resolving import MOST_QUESTIONS, Identity
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.errors import CustomerUnresolved


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom a fact is about, in the words of its source."""

    identity: Identity
    occurred_at: datetime
    assignment_key: str = ""


class IdentityClient:
    """Whose facts are, by identity's `BatchResolve`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = IdentityServiceStub(channel)

    async def nodes(self, asked: Sequence[Asked], context: Context, request: UUID) -> list[UUID | str]:
        """The node for each, or the reason why identity refuses to name one.

        The same `request` with the same questions is the same request there. Raises Unavailable when identity does not
        answer, RequestIdReused when it was asked something else under this `request`.
        """
        found: list[UUID | str] = []
        with entered(context):
            for start in range(0, len(asked), MOST_QUESTIONS):
                found += await self._ask([_item(it) for it in asked[start : start + MOST_QUESTIONS]], request, start)
        return found

    async def declare(
        self, node: UUID, values: Sequence[attribute_pb2.AttributeObservation], context: Context, request: UUID
    ) -> None:
        """Say what the person of `node` said of themselves; the same `request` with the same values is the same there.

        Raises BadFormat for what identity does not take, CustomerUnresolved, RequestIdReused, Unavailable.
        """
        asked = identity_service_pb2.UpsertAttributesRequest(
            request_id=str(request), customer_id=str(node), values=values
        )
        with entered(context):
            try:
                await self._stub.UpsertAttributes(asked)
            except grpc.RpcError as error:
                raise _declined(refusal(error)) from error

    async def _ask(
        self, items: Sequence[identity_service_pb2.ResolveItem], request: UUID, start: int
    ) -> list[UUID | str]:
        """Ask at once; if identity does not even read the request, find the item that is to blame by halving."""
        request_id = str(uuid5(request, f"{start}+{len(items)}"))
        try:
            answer = await self._stub.BatchResolve(
                identity_service_pb2.BatchResolveRequest(request_id=request_id, items=items)
            )
        except grpc.RpcError as error:
            found = refusal(error)
            if found.code != "INVALID_ARGUMENT":
                raise Unavailable(f"identity does not answer: {found.code}") from error
            if found.reason == RequestIdReused.reason:
                raise RequestIdReused(field="request_id") from error
            if len(items) == 1:
                return [found.reason]
            middle = len(items) // 2
            first = await self._ask(items[:middle], request, start)
            return first + await self._ask(items[middle:], request, start + middle)
        return [_node(it) for it in answer.results]


def _declined(found: Refusal) -> DomainError:
    """Why identity does not take what somebody said of themselves, in our own words."""
    if found.reason == RequestIdReused.reason:
        return RequestIdReused(field="request_id")
    match found.code:
        case "INVALID_ARGUMENT":
            return BadFormat(f"an answer is none for its attribute: {found.reason}", field="answers")
        case "NOT_FOUND" | "FAILED_PRECONDITION":
            return CustomerUnresolved(f"not taken in: {found.reason}", field="identifiers")
    return Unavailable(f"identity does not answer: {found.code}")


def _item(asked: Asked) -> identity_service_pb2.ResolveItem:
    identifiers, authenticated = asked.identity
    return identity_service_pb2.ResolveItem(
        identifiers=[
            customer_pb2.Identifier(namespace=namespace, scope=scope, value=value, verified=verified)
            for namespace, scope, value, verified in identifiers
        ],
        authenticated=authenticated,
        occur_time=timestamp(asked.occurred_at),
        assignment_key=asked.assignment_key,
    )


def _node(result: identity_service_pb2.ResolveResult) -> UUID | str:
    return _reason(result.status) if result.status.code else UUID(result.node_id)


def _reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return info.reason
    return code_pb2.Code.Name(status.code)  # type: ignore[arg-type]  # any number is a code
