"""The REST-JSON side of the contracts as one OpenAPI 3.1 document, made from the descriptors of `make proto`.

Paths, parameters and bodies follow google.api.http as the gateway's transcoder applies it: what the path does not name is the
body of a `body: "*"`, or else a query parameter, `outer.inner` for a field of a field.
"""

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2

from deploy.openapi.comments import Comments
from deploy.openapi.refusals import ANSWERS, reasons_of
from deploy.openapi.schemas import WELL_KNOWN, Schema, Schemas, is_required
from scrm.auth.v1 import scope_pb2

VERSION: Final = "1"
_VARIABLE: Final = re.compile(r"\{([a-z0-9_.]+)(?:=[^}]*)?\}")
_VERBS: Final = ("get", "put", "post", "delete", "patch")


def document(descriptors: Path) -> dict[str, Any]:
    """The document for all RPCs of `scrm.*` that have an HTTP mapping."""
    files = list(FileDescriptorSet.FromString(descriptors.read_bytes()).file)
    comments = Comments(files)
    schemas = Schemas(comments)
    services = list(_services(files))
    paths: dict[str, dict[str, Any]] = {}
    for service in services:
        for method in service.methods:
            for verb, path, operation in _operations(method, schemas, comments):
                paths.setdefault(path, {})[verb] = operation
    for detail in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
        schemas.reference(detail.DESCRIPTOR)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Social CRM", "version": VERSION, "description": _introduction(services)},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": _tag(it), **comments.of(it.full_name)} for it in services],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.made,
            "responses": {
                **{name: _refusal(text, schemas) for name, text in ANSWERS.values()},
                **{
                    name: refusal
                    for package in sorted({it.file.package for it in services})
                    for name, refusal in _of_service(package, comments, schemas)
                },
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


_INTRODUCTION: Final = (
    "Every call needs a bearer token; its tenant is the brand it works for, and it must hold the scope that the operation names. "
    "A call that changes something carries a `requestId` (a UUID): sent again, it has no second effect and gets the first answer. "
    "Lists come in pages: hand the `nextPageToken` back as `pageToken`. Refusals are `google.rpc.Status`; the `reason` of its "
    "`ErrorInfo` is stable and meant for programs."
)


_STREAMED: Final = (
    "The answers, sent as they are made. A stream that breaks ends like one that is complete, since its status was sent at its "
    "beginning: it is complete when the last element has no `nextPageToken`, and otherwise gone on with by that of the last one."
)


def _introduction(services: Sequence[ServiceDescriptor]) -> str:
    """What is said of all calls, and which there are beside those with a path: HTTP carries no stream of requests."""
    streams = [f"`{it.full_name}/{method.name}`" for it in services for method in it.methods if method.client_streaming]
    if not streams:
        return _INTRODUCTION
    return f"{_INTRODUCTION}\n\nCalls by native gRPC only, since they take a stream of requests: {', '.join(streams)}."


def _services(files: Sequence[FileDescriptorProto]) -> Iterator[ServiceDescriptor]:
    """The services that callers of ours have, from the generated code, in which the options are readable."""
    for file in files:
        if file.package.startswith("scrm."):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            for it in file.service:
                service = descriptor_pool.Default().FindServiceByName(f"{file.package}.{it.name}")
                if any(_rule(method) or method.client_streaming for method in service.methods):
                    yield service


def _tag(service: ServiceDescriptor) -> str:
    """`tagging.AnalysisService`: two services may each have an RPC service of one name."""
    return f"{service.file.package.split('.')[1]}.{service.name}"


def _rule(method: MethodDescriptor) -> Any:
    options = method.GetOptions()
    return options.Extensions[annotations_pb2.http] if options.HasExtension(annotations_pb2.http) else None


def _operations(
    method: MethodDescriptor, schemas: Schemas, comments: Comments
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Verb, path and operation of each mapping of the RPC."""
    rule = _rule(method)
    for number, binding in enumerate([rule, *rule.additional_bindings] if rule else []):
        verb = binding.WhichOneof("pattern")
        if verb not in _VERBS:
            raise ValueError(f"{method.full_name}: OpenAPI has no {verb}")
        template = getattr(binding, verb)
        named = _VARIABLE.findall(template)
        operation = {
            "operationId": method.name if number == 0 else f"{method.name}{number + 1}",
            "tags": [_tag(method.containing_service)],
            "summary": _spaced(method.name),
            "description": _described(method, comments),
            "parameters": _parameters(method.input_type, named, binding.body, schemas),
            **_body(method.input_type, named, binding.body, schemas),
            "responses": _responses(method, named, schemas),
            "x-scope": method.GetOptions().Extensions[scope_pb2.scope],
        }
        yield verb, _VARIABLE.sub(lambda it: "{" + _json_path(method.input_type, it[1]) + "}", template), operation


def _described(method: MethodDescriptor, comments: Comments) -> str:
    said = comments.of(method.full_name).get("description", "")
    return f"{said}\n\nScope: `{method.GetOptions().Extensions[scope_pb2.scope]}`."


def _parameters(message: Descriptor, named: Sequence[str], body: str, schemas: Schemas) -> list[dict[str, Any]]:
    in_path = [_parameter(_json_path(message, it), _field_at(message, it), "path", schemas) for it in named]
    if body == "*":
        return in_path
    fields = [it for it in message.fields if it.name not in {*named, body}]
    return in_path + [it for field in fields for it in _query(field, "", schemas)]


def _query(field: FieldDescriptor, prefix: str, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """A query parameter for a field, or for each field of a message in it; lists of messages have no such form."""
    name, inner = f"{prefix}{field.json_name}", field.message_type
    if inner is None or inner.full_name in WELL_KNOWN:
        yield _parameter(name, field, "query", schemas)
    elif not field.is_repeated:
        for it in inner.fields:
            yield from _query(it, f"{name}.", schemas)


def _parameter(name: str, field: FieldDescriptor, place: str, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.field(field)
    description = schema.pop("description", None)
    required = place == "path" or (is_required(field) and "." not in name)
    return {
        "name": name,
        "in": place,
        "required": required,
        **({"description": description} if description else {}),
        "schema": schema,
    }


def _body(message: Descriptor, named: Sequence[str], body: str, schemas: Schemas) -> dict[str, Any]:
    if not body:
        return {}
    if body == "*":
        schema = schemas.message(message, frozenset(it for it in named if "." not in it))
    else:
        schema = schemas.field(message.fields_by_name[body])
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _responses(method: MethodDescriptor, named: Sequence[str], schemas: Schemas) -> dict[str, Any]:
    answer: Schema = schemas.reference(method.output_type)
    said = "The answer."
    if method.server_streaming:
        answer, said = {"type": "array", "items": answer}, _STREAMED
    changes = "request_id" in method.input_type.fields_by_name
    possible = [400, 401, 403, *([404] if named else []), *([409] if changes else []), 429, 500, 503, 504]
    own = reasons_of(method.containing_service.file.package)
    refusals = {str(it): {"$ref": f"#/components/responses/{_name(own, method, it)}"} for it in possible}
    return {"200": {"description": said, "content": {"application/json": {"schema": answer}}}, **refusals}


def _name(own: Mapping[int, Sequence[str]], method: MethodDescriptor, status: int) -> str:
    """The component that describes the refusal: the service's if it has reasons of its own."""
    shared = ANSWERS[status][0]
    return f"{method.containing_service.file.package}.{shared}" if own.get(status) else shared


def _refusal(text: str, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.reference(status_pb2.Status.DESCRIPTOR)
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _of_service(package: str, comments: Comments, schemas: Schemas) -> Iterator[tuple[str, dict[str, Any]]]:
    """Refusals that the service has reasons of its own for."""
    for status, reasons in reasons_of(package).items():
        shared, text = ANSWERS[status]
        said = [(it, comments.of(f"{package}.ERROR_REASON_{it}").get("description", "")) for it in reasons]
        table = "\n".join(f"| `{reason}` | {' '.join(it.split())} |" for reason, it in said)
        heading = "Reasons beside those all services share:\n\n| reason | what is the case |\n|---|---|"
        yield f"{package}.{shared}", _refusal(f"{text}\n\n{heading}\n{table}", schemas)


def _field_at(message: Descriptor, path: str) -> FieldDescriptor:
    first, _, rest = path.partition(".")
    field = message.fields_by_name[first]
    return _field_at(field.message_type, rest) if rest and field.message_type else field


def _json_path(message: Descriptor, path: str) -> str:
    first, _, rest = path.partition(".")
    field = message.fields_by_name[first]
    inner = field.message_type
    return f"{field.json_name}.{_json_path(inner, rest)}" if rest and inner else str(field.json_name)


def _spaced(name: str) -> str:
    words = re.findall(r"[A-Z][a-z0-9]*", name)
    return " ".join([words[0], *(it.lower() for it in words[1:])])
