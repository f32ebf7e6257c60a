"""One message over the three ways through the gateway: native gRPC, gRPC-Web and REST-JSON."""

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import httpx
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from chassis.status import refusal
from tests.contracts.kinds import called

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # made once: every client would read all certificates of the machine


@dataclass(frozen=True, slots=True)
class Answered:
    """The gRPC code, by name, and what was answered."""

    code: str
    message: Message | None = None
    headers: Mapping[str, str] | None = None


def path_of(rpc: MethodDescriptor) -> str:
    return f"/{rpc.containing_service.full_name}/{rpc.name}"


async def by_grpc(address: str, rpc: MethodDescriptor, request: Message, headers: Mapping[str, str]) -> Answered:
    response = message_factory.GetMessageClass(rpc.output_type)
    async with grpc.aio.insecure_channel(address) as channel:
        content, metadata = request.SerializeToString(), tuple(headers.items())
        try:
            found = await called(channel, rpc, content, metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            return Answered(refusal(error).code)
    return Answered("OK", response.FromString(found))


async def by_grpc_web(address: str, rpc: MethodDescriptor, request: Message, headers: Mapping[str, str]) -> Answered:
    """The protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md"""
    content = request.SerializeToString()
    async with httpx.AsyncClient(timeout=20, verify=_NO_TLS) as client:
        answer = await client.post(
            f"http://{address}{path_of(rpc)}",
            content=b"\0" + len(content).to_bytes(4, "big") + content,
            headers={**headers, "content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
        )
    frames = list(_frames(answer.content))
    trailers = {**answer.headers, **{k: v for flag, it in frames if flag & 0x80 for k, v in _trailers(it)}}
    code = grpc_code(int(trailers["grpc-status"]))
    messages = [it for flag, it in frames if not flag & 0x80]
    found = message_factory.GetMessageClass(rpc.output_type).FromString(messages[0]) if messages else None
    return Answered(code, found, trailers)


async def by_rest(
    address: str, rpc: MethodDescriptor, request: Message, headers: Mapping[str, str], document: Mapping[str, Any]
) -> Answered:
    """As somebody would call who has read the OpenAPI document and nothing else."""
    verb, path, operation = operation_of(document, rpc)
    values: dict[str, Any] = json_format.MessageToDict(request)
    in_path = re.findall(r"\{([^}]*)\}", path)
    for name in in_path:
        path = path.replace(f"{{{name}}}", quote(str(_taken(values, name)), safe=""))
    known = {it["name"] for it in operation["parameters"] if it["in"] == "query"}
    query = [] if "requestBody" in operation else list(_flat(values, known))
    async with httpx.AsyncClient(timeout=20, verify=_NO_TLS) as client:
        answer = await client.request(
            verb,
            f"http://{address}{path}",
            params=httpx.QueryParams(tuple(query)),
            json=values if "requestBody" in operation else None,
            headers=dict(headers),
        )
    if answer.status_code != 200:
        return Answered(_code_name(answer.json()["code"]), headers=answer.headers)
    found = message_factory.GetMessageClass(rpc.output_type)()
    content = json.loads(answer.content)[0] if rpc.server_streaming else answer.json()
    return Answered("OK", json_format.ParseDict(content, found), answer.headers)


def operation_of(document: Mapping[str, Any], rpc: MethodDescriptor) -> tuple[str, str, Mapping[str, Any]]:
    """Verb, path and operation of the RPC in the document."""
    tag = rpc.containing_service.full_name.removeprefix("scrm.").replace(".v1.", ".")
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            if operation["operationId"] == rpc.name and tag in operation["tags"]:
                return verb, path, operation
    raise LookupError(rpc.full_name)


def grpc_code(number: int) -> str:
    return next(it.name for it in grpc.StatusCode if it.value[0] == number)


def _code_name(number: int) -> str:
    return grpc_code(number)


def _frames(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        length = int.from_bytes(content[1:5], "big")
        yield content[0], content[5 : 5 + length]
        content = content[5 + length :]


def _trailers(content: bytes) -> Iterator[tuple[str, str]]:
    for line in content.decode().split("\r\n"):
        if line:
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()


def _taken(values: dict[str, Any], path: str) -> Any:
    first, _, rest = path.partition(".")
    return _taken(values[first], rest) if rest else values.pop(first)


def _flat(values: Mapping[str, Any], known: set[str], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Query parameters; each must be one of those that the document knows."""
    for name, value in values.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flat(value, known, f"{path}.")
            continue
        assert path in known, path
        for it in value if isinstance(value, list) else [value]:
            yield path, it if isinstance(it, str) else json.dumps(it)
