"""Attributes over gRPC: requests as commands, and what is known as responses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from chassis.errors import DomainError, FieldRequired
from chassis.status import to_status
from scrm.identity.v1 import attribute_pb2 as wire
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.adapters.attribute_reading import Shown
from services.identity.adapters.wire import given_instant, instant
from services.identity.application.attribute_commands import BatchUpsertAttributes, DefineAttribute
from services.identity.application.attribute_upsert import Observation, UpsertAttributes
from services.identity.application.published_attributes import definition, source
from services.identity.domain.attribute_forms import Address, Value
from services.identity.domain.attributes import (
    AttributeDefinition,
    AttributeSource,
    AttributeType,
    MergePolicy,
)
from services.identity.domain.customer import Customer
from services.identity.domain.survivorship import Said

_TYPES: Final = {wire.AttributeType.Value(f"ATTRIBUTE_TYPE_{it}"): it for it in AttributeType}
_SOURCES: Final[Mapping[int, AttributeSource]] = {source(it): it for it in AttributeSource}
_POLICIES: Final = {wire.MergePolicy.Value(f"MERGE_POLICY_{it}"): it for it in MergePolicy}
_OK: Final = status_pb2.Status()


def define_command(request: pb.DefineAttributeRequest) -> DefineAttribute:
    it = request.definition
    policy = _POLICIES.get(it.merge_policy, MergePolicy.BEST_SOURCE)
    return DefineAttribute(
        AttributeDefinition(it.key, _TYPES[it.type], it.pii, tuple(it.enum_values), policy, it.sensitive)
    )


def upsert_command(request: pb.UpsertAttributesRequest | pb.UpsertAttributesItem) -> UpsertAttributes:
    """Raises ValueOutOfRange for an impossible instant and FieldRequired for a value that is none."""
    return UpsertAttributes(UUID(request.customer_id), observations(request.values))


def observations(values: Iterable[wire.AttributeObservation]) -> tuple[Observation, ...]:
    """Raises ValueOutOfRange for an impossible instant and FieldRequired for a value that is none."""
    return tuple(_observation(it, f"values[{number}]") for number, it in enumerate(values))


def batch_command(request: pb.BatchUpsertAttributesRequest) -> BatchUpsertAttributes:
    """An item that cannot be read stands in the batch as the error it is."""

    def item(it: pb.UpsertAttributesItem) -> UpsertAttributes | DomainError:
        try:
            return upsert_command(it)
        except DomainError as refusal:
            return refusal

    return BatchUpsertAttributes(tuple(item(it) for it in request.items))


def defined(it: AttributeDefinition) -> pb.DefineAttributeResponse:
    return pb.DefineAttributeResponse(definition=definition(it))


def upserted(it: Customer) -> pb.UpsertAttributesResponse:
    return pb.UpsertAttributesResponse(customer_id=str(it.id))


def batch_upserted(results: Sequence[Customer | DomainError]) -> pb.BatchUpsertAttributesResponse:
    return pb.BatchUpsertAttributesResponse(results=[_result(it) for it in results])


def attribute(it: Shown) -> wire.ResolvedAttribute:
    return wire.ResolvedAttribute(
        key=it.resolved.definition.key,
        value=None if it.value is None else value(it.value),
        masked=it.is_masked,
        provenance=_provenance(it.resolved.of),
    )


def value(it: Value) -> wire.AttributeValue:
    match it:
        case bool():
            return wire.AttributeValue(flag=it)
        case float():
            return wire.AttributeValue(number=it)
        case str():
            return wire.AttributeValue(text=it)
        case datetime():
            return wire.AttributeValue(instant=_timestamp(it))
        case Address():
            return wire.AttributeValue(address=_postal(it))
    addresses = [_postal(one) for one in it if isinstance(one, Address)]
    if addresses:
        return wire.AttributeValue(addresses=wire.PostalAddressList(items=addresses))
    return wire.AttributeValue(list=wire.TextList(items=[one for one in it if isinstance(one, str)]))


def _observation(it: wire.AttributeObservation, field: str) -> Observation:
    found = _given(it.value, f"{field}.value") if it.HasField("value") else None
    return Observation(it.key, _SOURCES[it.source], found, given_instant(it, "observe_time"))


def _given(it: wire.AttributeValue, field: str) -> Value:
    """The value that is set. Raises FieldRequired where none is, and ValueOutOfRange for an impossible instant."""
    match it.WhichOneof("kind"):
        case "text":
            return it.text
        case "number":
            return it.number
        case "flag":
            return it.flag
        case "instant":
            return instant(it.instant, field)
        case "list":
            return tuple(it.list.items)
        case "address":
            return _address(it.address)
        case "addresses":
            return tuple(_address(one) for one in it.addresses.items)
    raise FieldRequired("a value is of some kind", field=field)


def _result(result: Customer | DomainError) -> pb.UpsertAttributesResult:
    if isinstance(result, DomainError):
        return pb.UpsertAttributesResult(status=to_status(result, "identity"))
    return pb.UpsertAttributesResult(status=_OK, customer_id=str(result.id))


def _provenance(said: Iterable[Said]) -> list[wire.AttributeProvenance]:
    return [
        wire.AttributeProvenance(
            source=source(it.source), node_id=str(it.node), observe_time=_timestamp(it.observed_at)
        )
        for it in said
    ]


def _address(it: wire.PostalAddress) -> Address:
    return Address(it.country, it.region, it.city, it.district, it.street, it.postal_code)


def _postal(it: Address) -> wire.PostalAddress:
    parts: dict[str, Any] = asdict(it)
    return wire.PostalAddress(**parts)


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
