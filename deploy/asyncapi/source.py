"""A published message as the text of a .proto file: itself and what it is made of beside Google's types, with the comments."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from deploy.openapi.comments import Comments

_SCALARS: Final[Mapping[int, str]] = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_") and name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}


def source(message: Descriptor, comments: Comments) -> str:
    """The text; the message comes first."""
    kinds: dict[str, Descriptor | EnumDescriptor] = {}
    _gather(message, kinds)
    imports = sorted({it.file.name for it in kinds.values() if not _is_ours(it)})
    blocks = [
        "\n".join(_lines(it, comments))
        for it in kinds.values()
        if _is_ours(it) and (it.containing_type is None or it.containing_type.full_name not in kinds)
    ]
    head = [f'import "{it}";' for it in imports]
    opening = ['syntax = "proto3";', f"package {message.file.package};", *([""] if head else []), *head]
    return "\n\n".join(["\n".join(opening), *blocks]) + "\n"


def _gather(kind: Any, kinds: dict[str, Any]) -> None:
    if kind.full_name in kinds:
        return
    kinds[kind.full_name] = kind
    for field in kind.fields if isinstance(kind, Descriptor) and _is_ours(kind) else ():
        part = _kind_of(field)
        if part is not None:
            _gather(part, kinds)


def _kind_of(field: Any) -> Any:
    """The message or enum that a field holds, or a map as its values; None for a scalar."""
    if _is_map(field):
        return _kind_of(field.message_type.fields_by_name["value"])
    return field.message_type or field.enum_type


def _is_ours(kind: Any) -> bool:
    return bool(kind.file.package.startswith("scrm."))


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _lines(kind: Any, comments: Comments) -> Iterator[str]:
    yield from _comment(kind.full_name, comments)
    if isinstance(kind, EnumDescriptor):
        yield f"enum {kind.name} {{"
        scope = kind.full_name.rpartition(".")[0]  # values are named beside their enum
        for value in kind.values:
            yield from (f"  {it}" for it in _comment(f"{scope}.{value.name}", comments))
            yield f"  {value.name} = {value.number};"
    else:
        yield f"message {kind.name} {{"
        if kind.GetOptions().deprecated:
            yield "  option deprecated = true;"
        for nested in (*kind.enum_types, *kind.nested_types):
            if not (isinstance(nested, Descriptor) and nested.GetOptions().map_entry):
                yield from (f"  {it}" for it in _lines(nested, comments))
        yield from (f"  {it}" for it in _fields(kind, comments))
    yield "}"


def _fields(message: Descriptor, comments: Comments) -> Iterator[str]:
    choice = None
    for field in message.fields:
        within = field.containing_oneof if field.containing_oneof and not _is_optional(field) else None
        if within is not choice:
            if choice is not None:
                yield "}"
            if within is not None:
                yield f"oneof {within.name} {{"
            choice = within
        indent = "  " if choice is not None else ""
        yield from (f"{indent}{it}" for it in _comment(field.full_name, comments))
        given_up = " [deprecated = true]" if field.GetOptions().deprecated else ""
        yield f"{indent}{_type(field)} {field.name} = {field.number}{given_up};"
    if choice is not None:
        yield "}"


def _is_optional(field: Any) -> bool:
    return len(field.containing_oneof.fields) == 1 and field.containing_oneof.name == f"_{field.name}"


def _type(field: Any) -> str:
    if _is_map(field):
        key, value = (field.message_type.fields_by_name[it] for it in ("key", "value"))
        return f"map<{_name(key)}, {_name(value)}>"
    if field.is_repeated:
        return f"repeated {_name(field)}"
    return f"optional {_name(field)}" if field.containing_oneof and _is_optional(field) else _name(field)


def _name(field: Any) -> str:
    kind = field.message_type or field.enum_type
    if kind is None:
        return _SCALARS[field.type]
    package = field.file.package
    return str(kind.full_name.removeprefix(f"{package}."))


def _comment(name: str, comments: Comments) -> list[str]:
    return [f"// {it}".rstrip() for it in comments.of(name).get("description", "").splitlines()]
