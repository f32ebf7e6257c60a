"""What the contracts say in their comments, by the full name of what they say it of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

_MESSAGE, _ENUM, _SERVICE = 4, 5, 6  # numbers of the fields of FileDescriptorProto
_FIELD, _NESTED, _NESTED_ENUM = 2, 3, 4  # of DescriptorProto
_VALUE = _METHOD = 2  # of EnumDescriptorProto and of ServiceDescriptorProto


class Comments:
    """Leading comments of all elements."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._found = {name: text for file in files for name, text in _of_file(file)}

    def of(self, full_name: str) -> dict[str, str]:
        """`{"description": …}`, or nothing where there is no comment."""
        text = self._found.get(full_name)
        return {"description": text} if text else {}


def _of_file(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    names = dict(_names(file))
    for location in file.source_code_info.location:
        name = names.get(tuple(location.path))
        if name and location.leading_comments:
            yield name, "\n".join(it.strip() for it in location.leading_comments.strip().splitlines())


def _names(file: FileDescriptorProto) -> Iterator[tuple[Sequence[int], str]]:
    """Where in the file each element is, as paths of protobuf's SourceCodeInfo, and its full name."""
    for number, message in enumerate(file.message_type):
        yield from _of_message((_MESSAGE, number), f"{file.package}.{message.name}", message)
    for number, enum in enumerate(file.enum_type):
        yield from _of_enum((_ENUM, number), file.package, enum)
    for number, service in enumerate(file.service):
        yield (_SERVICE, number), f"{file.package}.{service.name}"
        for place, method in enumerate(service.method):
            yield (_SERVICE, number, _METHOD, place), f"{file.package}.{service.name}.{method.name}"


def _of_message(path: tuple[int, ...], name: str, message: Any) -> Iterator[tuple[Sequence[int], str]]:
    yield path, name
    for number, field in enumerate(message.field):
        yield (*path, _FIELD, number), f"{name}.{field.name}"
    for number, nested in enumerate(message.nested_type):
        yield from _of_message((*path, _NESTED, number), f"{name}.{nested.name}", nested)
    for number, enum in enumerate(message.enum_type):
        yield from _of_enum((*path, _NESTED_ENUM, number), name, enum)


def _of_enum(path: tuple[int, ...], scope: str, enum: Any) -> Iterator[tuple[Sequence[int], str]]:
    """The values of an enum are named beside it, not in it."""
    yield path, f"{scope}.{enum.name}"
    for number, value in enumerate(enum.value):
        yield (*path, _VALUE, number), f"{scope}.{value.name}"
