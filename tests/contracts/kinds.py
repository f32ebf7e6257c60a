"""Calls and answers of an RPC whatever its kind is, as the contract says: unary, a stream of answers, or a stream of requests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

Answer = Callable[[Any, Any], Awaitable[Any]]


def handler_of(rpc: MethodDescriptor, answer: Answer) -> Any:
    """What a server registers for the RPC: `answer` says what becomes of a request, or of each of a stream.

    A stream of answers may be given as a list, and end by an error in it.
    """

    async def give(request: Any, call: Any) -> AsyncIterator[Message]:
        found = await answer(request, call)
        for it in found if isinstance(found, list) else [found]:
            if isinstance(it, Exception):
                raise it
            yield it

    async def take(requests: AsyncIterator[Any], call: Any) -> Any:
        found = [await answer(request, call) async for request in requests]
        return found[-1]

    if rpc.server_streaming:
        return grpc.unary_stream_rpc_method_handler(give)
    if rpc.client_streaming:
        return grpc.stream_unary_rpc_method_handler(take)
    return grpc.unary_unary_rpc_method_handler(answer)


async def called(channel: grpc.aio.Channel, rpc: MethodDescriptor, content: bytes, **options: Any) -> bytes:
    """The answer to a call with one request, the first of those of a stream. Raises AioRpcError, also for what ends a stream later."""
    path = f"/{rpc.containing_service.full_name}/{rpc.name}"
    if rpc.server_streaming:
        stream: Any = channel.unary_stream(path)
        found: list[bytes] = [it async for it in stream(content, **options)]
        return found[0]
    method: Any = channel.stream_unary(path) if rpc.client_streaming else channel.unary_unary(path)
    answer: bytes = await method([content] if rpc.client_streaming else content, **options)
    return answer
