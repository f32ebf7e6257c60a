"""What the generated descriptor set says about the contracts: which gRPC services there are and which scopes they ask for."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

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


def scopes(descriptors: Path = DESCRIPTORS) -> list[str]:
    """Every scope that some RPC needs, sorted."""
    found = {
        method.options.Extensions[scope_pb2.scope]
        for file in _files(descriptors)
        for service in file.service
        for method in service.method
    }
    return sorted(found - {""})


def _files(descriptors: Path) -> Iterator[FileDescriptorProto]:
    yield from FileDescriptorSet.FromString(descriptors.read_bytes()).file
