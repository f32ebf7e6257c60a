"""All contracts of the repository as descriptors, found by looking, so that a new RPC is tested without anybody's doing."""

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("identity", "tracking", "tagging", "membership", "campaigns")


@cache
def files() -> tuple[str, ...]:
    """The contracts, such as `scrm/identity/v1/events.proto`, loaded into the default pool."""
    names = FileDescriptorSet.FromString((ROOT / "gen" / "scrm.binpb").read_bytes()).file
    found = tuple(it.name for it in names if it.name.startswith("scrm/"))
    for name in found:
        importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    return found


def services() -> Iterator[ServiceDescriptor]:
    for name in files():
        yield from descriptor_pool.Default().FindFileByName(name).services_by_name.values()


def rpcs() -> list[MethodDescriptor]:
    return [method for service in services() for method in service.methods]


def messages(file: str) -> Iterator[Descriptor]:
    """The messages of a contract with those nested in them."""
    waiting: list[Any] = list(descriptor_pool.Default().FindFileByName(file).message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        waiting.extend(message.nested_types)
        yield message
