"""What a request must look like before anybody reads it: the rules of its contract, and the rules for all text and enums.

protovalidate checks the rules written in the contracts. Beside them every string must be NFC without control
characters other than line feed and tab, and every enum number must be one the contract knows. A field with
`ignore = IGNORE_ALWAYS` is left to the servicer: what is wrong with one item of a batch is no matter of the others.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final

import protovalidate
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from chassis.errors import BadFormat, FieldRequired, FieldTooLong, InvalidArgument, UnknownEnum, ValueOutOfRange
from chassis.status import MalformedRequest, Violation

_MOST_VIOLATIONS: Final = 50

# The last word of a rule's id tells which reason a caller gets.
_REQUIRED: Final = {"required", "min_len", "min_bytes", "min_items", "min_pairs"}
_TOO_LONG: Final = {"max_len", "max_bytes", "max_items", "max_pairs", "len", "len_bytes"}
_RANGE: Final = {"gt", "gte", "lt", "lte", "const", "finite", "within"}

_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_IsClean = Callable[[Any], bool]


@cache
def _rules() -> protovalidate.Validator:
    """One for the process: it keeps what it compiled of each message type, and to compile one takes 12 ms."""
    return protovalidate.Validator()


class RequestValidator:
    """Checks requests; keeps what it compiled per message type."""

    def __init__(self) -> None:
        self._rules = _rules()
        self._compiled: dict[str, _IsClean] = {}
        self._left_out: dict[str, list[str]] = {}

    def check(self, request: Message) -> None:
        """Raise `MalformedRequest` with every violation found (up to 50)."""
        violations = [_violation(it) for it in self._rules.collect_violations(self._ours(request))]
        if not self._checker(request.DESCRIPTOR)(request):
            violations.extend(_unclean(request, ""))
        if violations:
            raise MalformedRequest(violations[:_MOST_VIOLATIONS])

    def _ours(self, request: Message) -> Message:
        """The request without the fields that are left to the servicer: looking at those takes time, too."""
        kind = request.DESCRIPTOR
        names = self._left_out.get(kind.full_name)
        if names is None:
            names = self._left_out[kind.full_name] = [it.name for it in kind.fields if _is_left_to_servicer(it)]
        if not names:
            return request
        ours = type(request)()
        for field, value in request.ListFields():
            if field.name in names:
                continue
            if field.is_repeated or field.message_type is not None:
                getattr(ours, field.name).MergeFrom(value)
            else:
                setattr(ours, field.name, value)
        return ours

    def _checker(self, descriptor: Any) -> _IsClean:
        """Whether all text and enums of a message are in order: the quick answer, which does not say where they are not."""
        name = descriptor.full_name
        if name not in self._compiled:

            def later(message: Message) -> bool:  # for a type that holds itself, while it is made
                return self._compiled[name](message)

            self._compiled[name] = later
            self._compiled[name] = self._compile(descriptor.fields)
        return self._compiled[name]

    def _compile(self, fields: Iterable[Any]) -> _IsClean:
        texts: list[str] = []
        others: list[tuple[str, _IsClean]] = []
        messages: list[tuple[str, _IsClean]] = []
        for field in fields:
            if _is_left_to_servicer(field):
                continue
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                texts.append(field.name)
            elif (is_clean := self._field_check(field)) is not None:
                optional = field.message_type is not None and not field.is_repeated
                (messages if optional else others).append((field.name, is_clean))
        return _message_check(texts, others, messages)

    def _field_check(self, field: FieldDescriptor) -> _IsClean | None:
        """The check of what `getattr` returns for the field; None where there is nothing to check."""
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            check_key, check_value = (self._value_check(kind.fields_by_name[it]) for it in ("key", "value"))
            return lambda entries: (
                (check_key is None or all(map(check_key, entries)))
                and (check_value is None or all(map(check_value, entries.values())))
            )
        check = self._value_check(field)
        if check is not None and field.is_repeated:
            return lambda values: all(map(check, values))
        return check

    def _value_check(self, field: FieldDescriptor) -> _IsClean | None:
        if field.type == FieldDescriptor.TYPE_STRING:
            return is_clean_text
        if field.enum_type is not None:
            return frozenset(field.enum_type.values_by_number).__contains__
        if field.message_type is not None and field.message_type.full_name != "google.protobuf.Timestamp":
            return self._checker(field.message_type)
        return None


def _message_check(
    texts: Sequence[str], others: Sequence[tuple[str, _IsClean]], messages: Sequence[tuple[str, _IsClean]]
) -> _IsClean:
    def check(message: Message) -> bool:
        for name in texts:
            text = getattr(message, name)
            if not (text.isascii() and text.isprintable()) and any(_faults(text)):
                return False
        for name, is_clean in others:
            if not is_clean(getattr(message, name)):
                return False
        for name, is_clean in messages:  # noqa: SIM110 (a generator per message costs as much as all the rest)
            if message.HasField(name) and not is_clean(getattr(message, name)):
                return False
        return True

    return check


def is_clean_text(text: str) -> bool:
    """Whether `text` is in normal form C and free of control characters other than line feed and tab."""
    return (text.isascii() and text.isprintable()) or not any(_faults(text))


def _faults(text: str) -> Iterator[tuple[str, str]]:
    """What is wrong with `text`: the ids of broken rules, each with a sentence."""
    if _CONTROL.search(text):
        yield "string.no_control", "must not contain control characters"
    if not unicodedata.is_normalized("NFC", text):
        yield "string.nfc", "must be in Unicode normal form C"


def _is_left_to_servicer(field: Any) -> bool:
    return bool(field.GetOptions().Extensions[validate_pb2.field].ignore == validate_pb2.IGNORE_ALWAYS)


def _unclean(message: Message, path: str) -> Iterator[Violation]:
    """Every text and enum below `message` that is not in order, with its path."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        if _is_left_to_servicer(field):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key_field, value_field = (field.message_type.fields_by_name[it] for it in ("key", "value"))
            for number, (key, item) in enumerate(value.items()):
                yield from _unclean_value(key_field, key, f"{name}[{number}]")
                yield from _unclean_value(value_field, item, f"{name}[{number}]")
        elif field.is_repeated:
            for index, item in enumerate(value):
                yield from _unclean_value(field, item, f"{name}[{index}]")
        else:
            yield from _unclean_value(field, value, name)


def _unclean_value(field: FieldDescriptor, value: Any, path: str) -> Iterator[Violation]:
    if field.type == FieldDescriptor.TYPE_STRING:
        for rule, description in _faults(value):
            yield Violation(path, rule, description)
    elif field.enum_type is not None:
        if value not in field.enum_type.values_by_number:
            yield Violation(path, "enum.defined_only", "has no such value", UnknownEnum)
    elif field.message_type is not None:
        yield from _unclean(value, path)


def _violation(found: protovalidate.Violation) -> Violation:
    proto = found.proto
    path = ""
    for element in proto.field.elements if proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            subscript = element.subscript.value
            path += "[...]" if isinstance(subscript, str) else f"[{subscript}]"
    return Violation(path, proto.rule_id, proto.message, _reason(proto.rule_id))


def _reason(rule: str) -> type[InvalidArgument]:
    """The reason for a rule's id, such as `string.max_len` or `int32.gte_lte_exclusive`."""
    word = rule.rpartition(".")[2]
    if word in _REQUIRED or word.endswith("_empty"):
        return FieldRequired
    if word in _TOO_LONG:
        return FieldTooLong
    if rule.startswith("enum."):
        return UnknownEnum
    if word.split("_")[0] in _RANGE:
        return ValueOutOfRange
    return BadFormat
