"""What the generated descriptor set says about the contracts: the gRPC services, the scopes they ask for, and what is published."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from chassis.envelope import event_name
from scrm.auth.v1 import scope_pb2

ROOT: Final = Path(__file__).resolve().parents[2]
DESCRIPTORS: Final = ROOT / "gen" / "scrm.binpb"


def grpc_services(packages: Iterable[str], descriptors: Path = DESCRIPTORS) -> list[str]:
    """The full names of the gRPC services in the packages that start with one of `packages`, such as "scrm.identity."."""
    prefixes = tuple(packages)
    return [
        f"{file.package}.{service.name}"
        for file in _files(descriptors)
        if file.package.startswith(prefixes)
        for service in file.service
    ]


def streams(package: str, descriptors: Path = DESCRIPTORS) -> list[str]:
    """The paths of the RPCs that stream, such as "/scrm.tagging.v1.TaggingService/ExportSegment", in a package such as "scrm.tagging."."""
    return [
        f"/{file.package}.{service.name}/{method.name}"
        for file in _files(descriptors)
        if file.package.startswith(package)
        for service in file.service
        for method in service.method
        if method.client_streaming or method.server_streaming
    ]


def scopes(descriptors: Path = DESCRIPTORS) -> list[str]:
    """Every scope that some RPC needs, sorted."""
    found = {
        method.options.Extensions[scope_pb2.scope]
        for file in _files(descriptors)
        for service in file.service
        for method in service.method
    }
    return sorted(found - {""})


class Published(NamedTuple):
    """A type of message that a service publishes; `name` is the event in snake_case, as in subjects."""

    service: str
    name: str
    type: str


def published(descriptors: Path = DESCRIPTORS) -> list[Published]:
    """Every published type, in the order of the contracts: a message of an events.proto that is no part of another one there."""
    found = []
    for file in _files(descriptors):
        if file.package.startswith("scrm.") and file.name.endswith("/events.proto"):
            service = file.package.split(".")[1]
            parts = {it for message in file.message_type for it in _types_within(message)}
            names = [it.name for it in file.message_type if f".{file.package}.{it.name}" not in parts]
            found += [Published(service, event_name(it), f"{file.package}.{it}") for it in names]
    return found


def _types_within(message: DescriptorProto) -> Iterator[str]:
    yield from (field.type_name for field in message.field)
    for nested in message.nested_type:
        yield from _types_within(nested)


def _files(descriptors: Path) -> Iterator[FileDescriptorProto]:
    yield from FileDescriptorSet.FromString(descriptors.read_bytes()).file
