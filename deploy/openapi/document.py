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
from deploy.openapi.schemas import WELL_KNOWN, Schema, Schemas, is_required
from scrm.auth.v1 import scope_pb2

VERSION: Final = "1"
_VARIABLE: Final = re.compile(r"\{([a-z0-9_.]+)(?:=[^}]*)?\}")
_VERBS: Final = ("get", "put", "post", "delete", "patch")

ANSWERS: Final[Mapping[int, tuple[str, str]]] = {
    400: (
        "Malformed",
        "The request breaks a rule of its contract (`BadRequest` names the field), or does not fit the state.",
    ),
    401: ("Unauthenticated", "The token is missing, expired or not for this system."),
    403: ("Denied", "The token lacks the scope of the call, or the caller may not act here."),
    404: ("Unknown", "There is nothing of that id for this tenant."),
    409: ("Conflict", "Something else has the key, or another writer was faster: the latter may be tried again."),
    429: ("TooMuch", "Too many calls at once; `RetryInfo` says when to come back."),
    500: ("Internal", "A defect of ours; the id in the message finds it in the log."),
    503: ("Unavailable", "The service or its database cannot be reached; a retry with the same request_id is safe."),
    504: (
        "TooLate",
        "The deadline passed; what became of the call is unknown, a retry with the same request_id is safe.",
    ),
}
"""By HTTP status; https://cloud.google.com/apis/design/errors maps the codes of gRPC to them."""


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
        "info": {"title": "Social CRM", "version": VERSION, "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [_tag(it, comments, files) for it in services],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.made,
            "responses": {name: _refusal(text, schemas) for name, text in ANSWERS.values()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


_INTRODUCTION: Final = (
    "Every call needs a bearer token; its tenant is the brand it works for, and it must hold the scope that the operation names. "
    "A call that changes something carries a `requestId` (a UUID): sent again, it has no second effect and gets the first answer. "
    "Lists come in pages: hand the `nextPageToken` back as `pageToken`. Refusals are `google.rpc.Status`; the `reason` of its "
    "`ErrorInfo` is stable and meant for programs."
)


def _services(files: Sequence[FileDescriptorProto]) -> Iterator[ServiceDescriptor]:
    """The services with an HTTP mapping, from the generated code, in which the options are readable."""
    for file in files:
        if file.package.startswith("scrm."):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            for it in file.service:
                service = descriptor_pool.Default().FindServiceByName(f"{file.package}.{it.name}")
                if any(_rule(method) for method in service.methods):
                    yield service


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
            "tags": [method.containing_service.name],
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
    if method.server_streaming:
        answer = {"type": "array", "items": answer}
    changes = "request_id" in method.input_type.fields_by_name
    possible = [400, 401, 403, *([404] if named else []), *([409] if changes else []), 429, 500, 503, 504]
    refusals = {str(it): {"$ref": f"#/components/responses/{ANSWERS[it][0]}"} for it in possible}
    return {"200": {"description": "The answer.", "content": {"application/json": {"schema": answer}}}, **refusals}


def _refusal(text: str, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.reference(status_pb2.Status.DESCRIPTOR)
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _tag(service: ServiceDescriptor, comments: Comments, files: Sequence[FileDescriptorProto]) -> dict[str, str]:
    """The service, with the reasons by which it refuses calls."""
    said = comments.of(service.full_name).get("description", "")
    package = service.file.package
    reasons = [
        (value.name.removeprefix("ERROR_REASON_"), comments.of(f"{package}.{value.name}").get("description", ""))
        for file in files
        if file.package == package
        for enum in file.enum_type
        if enum.name == "ErrorReason"
        for value in enum.value
        if value.number
    ]
    table = "\n".join(f"| `{name}` | {' '.join(text.split())} |" for name, text in reasons)
    listed = (
        f"\n\nReasons of refusals beside those all services share:\n\n| reason | what is the case |\n|---|---|\n{table}"
    )
    return {"name": service.name, "description": said + (listed if reasons else "")}


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
