"""A small contract for tests of the edges, made in memory: a command, a query, and a method that forgot its scope."""

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from buf.validate import validate_pb2
from scrm.auth.v1 import scope_pb2

PACKAGE = "scrm.echo.v1"
STRING, INT32, ENUM, MESSAGE = (
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_INT32,
    FieldDescriptorProto.TYPE_ENUM,
    FieldDescriptorProto.TYPE_MESSAGE,
)


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="scrm/echo/v1/echo.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend(["buf/validate/validate.proto", "scrm/auth/v1/scope.proto"])
    mood = file.enum_type.add(name="Mood")
    mood.value.add(name="MOOD_UNSPECIFIED", number=0)
    mood.value.add(name="MOOD_GOOD", number=1)

    item = file.message_type.add(name="Item")
    _field(item, "text", STRING)

    say = file.message_type.add(name="SayRequest")
    _field(say, "request_id", STRING).string.uuid = True
    rules = _field(say, "name", STRING).string
    rules.min_len, rules.max_len = 1, 10
    _field(say, "mood", ENUM, type_name="Mood")
    _field(say, "items", MESSAGE, type_name="Item", repeated=True)
    _field(say, "count", INT32).int32.lte = 100
    labels = say.nested_type.add(name="LabelsEntry")
    labels.options.map_entry = True
    _field(labels, "key", STRING)
    _field(labels, "value", STRING)
    _field(say, "labels", MESSAGE, type_name="SayRequest.LabelsEntry", repeated=True)
    _field(file.message_type.add(name="SayResponse"), "text", STRING)

    listing = file.message_type.add(name="ListSayingsRequest")
    _field(listing, "page_size", INT32)
    _field(listing, "page_token", STRING)
    _field(listing, "filter", STRING)
    listed = file.message_type.add(name="ListSayingsResponse")
    _field(listed, "sayings", STRING, repeated=True)
    _field(listed, "next_page_token", STRING)

    recite = file.message_type.add(name="ReciteRequest")
    _field(recite, "count", INT32).int32.lte = 1_000_000
    _field(recite, "page_token", STRING)
    recited = file.message_type.add(name="ReciteResponse")
    _field(recited, "text", STRING)
    _field(recited, "next_page_token", STRING)
    dictate = file.message_type.add(name="DictateRequest")
    _field(dictate, "request_id", STRING).string.uuid = True
    _field(dictate, "word", STRING).string.max_len = 10
    _field(file.message_type.add(name="DictateResponse"), "text", STRING)

    service = file.service.add(name="EchoService")
    for name, scope in (("Say", "echo.write"), ("ListSayings", "echo.read")):
        method = service.method.add(
            name=name, input_type=f".{PACKAGE}.{name}Request", output_type=f".{PACKAGE}.{name}Response"
        )
        method.options.Extensions[scope_pb2.scope] = scope
    recite_method = service.method.add(
        name="Recite",
        input_type=f".{PACKAGE}.ReciteRequest",
        output_type=f".{PACKAGE}.ReciteResponse",
        server_streaming=True,
    )
    recite_method.options.Extensions[scope_pb2.scope] = "echo.read"
    dictate_method = service.method.add(
        name="Dictate",
        input_type=f".{PACKAGE}.DictateRequest",
        output_type=f".{PACKAGE}.DictateResponse",
        client_streaming=True,
    )
    dictate_method.options.Extensions[scope_pb2.scope] = "echo.write"
    forget = service.method.add(
        name="Forget", input_type=f".{PACKAGE}.ListSayingsRequest", output_type=f".{PACKAGE}.ListSayingsResponse"
    )
    forget.options.Extensions[scope_pb2.scope] = "echo.write"
    file.service.add(name="OpenService").method.add(
        name="Say", input_type=f".{PACKAGE}.SayRequest", output_type=f".{PACKAGE}.SayResponse"
    )
    endless = file.service.add(name="EndlessService")
    for name, from_caller in (("Mutter", False), ("Converse", True)):
        stream = endless.method.add(
            name=name,
            input_type=f".{PACKAGE}.SayRequest",
            output_type=f".{PACKAGE}.SayResponse",
            client_streaming=from_caller,
            server_streaming=True,
        )
        stream.options.Extensions[scope_pb2.scope] = "echo.read"
    return file


def _field(
    message: DescriptorProto, name: str, kind: Any, *, type_name: str = "", repeated: bool = False
) -> validate_pb2.FieldRules:
    field = message.field.add(name=name, number=len(message.field) + 1, type=kind, json_name=name)
    field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    if type_name:
        field.type_name = f".{PACKAGE}.{type_name}"
    rules: validate_pb2.FieldRules = field.options.Extensions[validate_pb2.field]
    return rules


descriptor_pool.Default().AddSerializedFile(_file().SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.{name}"))


Item = _message("Item")
SayRequest = _message("SayRequest")
SayResponse = _message("SayResponse")
ListSayingsRequest = _message("ListSayingsRequest")
ListSayingsResponse = _message("ListSayingsResponse")
ReciteRequest = _message("ReciteRequest")
ReciteResponse = _message("ReciteResponse")
DictateRequest = _message("DictateRequest")
DictateResponse = _message("DictateResponse")


def adder(service: str, *methods: str) -> Callable[[Any, Any], None]:
    """What generated code calls `add_<service>Servicer_to_server`."""

    def add(servicer: Any, server: Any) -> None:
        found = descriptor_pool.Default().FindServiceByName(f"{PACKAGE}.{service}").methods_by_name
        handlers: dict[str, Any] = {name: handler_of(found[name], getattr(servicer, name)) for name in methods}
        server.add_registered_method_handlers(f"{PACKAGE}.{service}", handlers)

    return add


def handler_of(method: Any, answer: Any) -> Any:
    """What generated code registers for a method, of whichever of the four kinds it is."""
    ways = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return ways[method.client_streaming, method.server_streaming](answer)


add_echo_servicer = adder("EchoService", "Say", "ListSayings")
add_streaming_servicer = adder("EchoService", "Recite", "Dictate")
add_open_servicer = adder("OpenService", "Say")


def method(channel: grpc.aio.Channel, name: str, service: str = "EchoService") -> Any:
    """A method of the generated stub."""
    found = descriptor_pool.Default().FindServiceByName(f"{PACKAGE}.{service}").methods_by_name[name]
    open_call = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }[found.client_streaming, found.server_streaming]
    return open_call(
        f"/{PACKAGE}.{service}/{name}",
        request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
        response_deserializer=_message(f"{name}Response").FromString,
    )
