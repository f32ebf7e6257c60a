"""Good requests made out of nothing but the contract, and ways to spoil them.

A request starts empty; whatever rule it breaks is mended until none is broken. Where a rule cannot be guessed from (a
pattern nothing of SAMPLES matches, an expression), EXAMPLES has the value, by the full name of the field.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final
from uuid import uuid4

import protovalidate
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2

EXAMPLES: Final[dict[str, Any]] = {
    "google.type.Money.currency_code": "CNY",
    "google.protobuf.Timestamp.seconds": 1_767_225_600,
    "google.type.Date.year": 2026,
    "google.type.Date.month": 1,
    "google.type.Date.day": 1,
    "scrm.identity.v1.GetIssueBoardRequest.month": "2026-06",
    "scrm.identity.v1.ServiceHours.time_zone": "Asia/Shanghai",
    "scrm.identity.v1.MatchModel.prior": 0.0001,
    "scrm.identity.v1.MatchModel.high_threshold": 0.95,
    "scrm.identity.v1.MatchModel.low_threshold": 0.8,
    "scrm.identity.v1.MatchLevel.m": 0.5,
    "scrm.identity.v1.MatchLevel.u": 0.5,
    "scrm.tracking.v1.SetWechatAccountRequest.encoding_aes_key": "a" * 43,
    # somebody whom identity can recognise: what a request leaves open, the answer would be about
    "scrm.tracking.v1.OrderCustomer.identifiers": {"namespace": "external_id", "scope": "shop", "value": "c-1"},
    "scrm.tracking.v1.SubmitFormRequest.identifiers": {"namespace": "external_id", "scope": "shop", "value": "c-1"},
    "scrm.tagging.v1.LinkClusterSurveyRequest.cluster": "CLUSTER:1",
    # part of the address of an update
    "scrm.tracking.v1.ChannelCode.code_key": "a",
}
SAMPLES: Final = (
    "a",
    "1",
    "tea",
    "A",
    "TEA",
    "CNY",
    "2026-01-01",
    "0.5",
    "Asia/Shanghai",
    "https://example.org/",
    "{}",
)
ROUNDS: Final = 40

_validator = protovalidate.Validator()


class CannotCompleteError(Exception):
    """EXAMPLES lacks the value of a field."""


def good_request(descriptor: Any) -> Message:
    """A request that breaks no rule of its contract; every call gives another request_id."""
    request = message_factory.GetMessageClass(descriptor)()
    _give_examples(request)
    for _ in range(ROUNDS):
        violations = _validator.collect_violations(request)
        if not violations:
            return request
        for violation in violations:
            _mend(request, violation)
    raise CannotCompleteError(f"{descriptor.full_name}: {[str(it.proto) for it in violations]}")


def _mend(request: Message, violation: protovalidate.Violation) -> None:
    message: Any = request
    elements = list(violation.proto.field.elements) if violation.proto.field else []
    if not elements:
        raise CannotCompleteError(f"{request.DESCRIPTOR.full_name}: {violation.proto.rule_id}")
    for element in elements[:-1]:
        message = getattr(message, element.field_name)
        if element.subscript is not None:
            message = message[element.subscript.value]
    name = elements[-1].field_name
    if name in message.DESCRIPTOR.oneofs_by_name:
        name = message.DESCRIPTOR.oneofs_by_name[name].fields[0].name
    field = message.DESCRIPTOR.fields_by_name[name]
    if not field.is_repeated:
        _set(message, field, _sample(field, _rules(field)))
    elif elements[-1].subscript is None:
        _add(getattr(message, name), field)
    else:
        getattr(message, name)[elements[-1].subscript.value] = _sample(field, _rules(field).repeated.items)


def _set(message: Any, field: Any, value: Any) -> None:
    if isinstance(value, Message):
        getattr(message, field.name).CopyFrom(value)
        getattr(message, field.name).SetInParent()
    else:
        setattr(message, field.name, value)


def _add(values: Any, field: Any) -> None:
    if field.message_type is None:
        values.append(_sample(field, _rules(field).repeated.items))
    else:
        _give_examples(values.add())


def _rules(field: Any) -> Any:
    return field.GetOptions().Extensions[validate_pb2.field]


def _sample(field: Any, rules: Any) -> Any:
    if field.full_name in EXAMPLES:
        return EXAMPLES[field.full_name]
    if field.message_type is not None:
        message = message_factory.GetMessageClass(field.message_type)()
        _give_examples(message)
        return message
    if field.enum_type is not None:
        excluded = {0, *rules.enum.not_in}
        return next(it.number for it in field.enum_type.values if it.number not in excluded)
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return _text(field, rules.string)
        case FieldDescriptor.TYPE_BYTES:
            return b"x" * max(1, rules.bytes.min_len)
        case FieldDescriptor.TYPE_BOOL:
            return True
    return _number(getattr(rules, rules.WhichOneof("type") or "int32"))


def _text(field: Any, rules: Any) -> str:
    if rules.uuid:
        return str(uuid4())
    if getattr(rules, "in"):
        return str(getattr(rules, "in")[0])
    for sample in SAMPLES:
        if len(sample) >= rules.min_len and (not rules.pattern or re.search(rules.pattern, sample)):
            return sample
    if rules.pattern:
        raise CannotCompleteError(f"{field.full_name} must match {rules.pattern}")
    return "x" * int(max(1, rules.min_len, rules.len))


def _number(rules: Any) -> Any:
    for name, step in (("const", 0), ("gte", 0), ("gt", 1), ("lte", 0), ("lt", -1)):
        if rules.HasField(name) if name in rules.DESCRIPTOR.fields_by_name else False:
            return getattr(rules, name) + step
    return 1


def _give_examples(message: Any) -> None:
    """Set the fields of a message that EXAMPLES knows, whether they are needed or not."""
    for field in message.DESCRIPTOR.fields:
        example = EXAMPLES.get(field.full_name)
        if isinstance(example, dict):
            getattr(message, field.name).add(**example)
        elif example is not None:
            setattr(message, field.name, example)


def places(request: Message, path: str = "") -> Iterator[tuple[str, Message, Any]]:
    """Every singular or repeated field of `request` and of the messages set in it: path, message, field."""
    for field in request.DESCRIPTOR.fields:
        here = f"{path}.{field.name}" if path else field.name
        yield here, request, field
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for index, value in enumerate(getattr(request, field.name)):
                yield from places(value, f"{here}[{index}]")
        elif request.HasField(field.name):
            yield from places(getattr(request, field.name), here)


def spoilt(request: Message, wanted: Any, value: Any) -> Iterator[tuple[str, Message]]:
    """Copies of `request`, each with one field for which `wanted(field)` holds spoilt by `value(old)`; with the path."""
    for path in [path for path, _, field in places(request) if wanted(field)]:
        copy = deepcopy(request)
        for here, message, field in places(copy):
            if here == path and field.is_repeated:
                getattr(message, field.name).append(value(""))
            elif here == path:
                setattr(message, field.name, value(getattr(message, field.name)))
        yield path, copy


def is_text(field: Any) -> bool:
    return bool(field.type == FieldDescriptor.TYPE_STRING)


def is_enum(field: Any) -> bool:
    return field.enum_type is not None
