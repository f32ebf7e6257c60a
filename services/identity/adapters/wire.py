"""Requests as commands, and what identity answers as responses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from chassis.errors import DomainError, ValueOutOfRange
from chassis.names import resource_name
from chassis.status import to_status
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.adapters.explanation import linked_identifier
from services.identity.application.commands import BatchResolve
from services.identity.application.merge_commands import Merged, Side, Unmerged
from services.identity.application.queries import Found, Preview
from services.identity.application.resolving import Resolution, ResolveIdentity
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.identifiers import Dropped, GivenIdentifier, Reading
from services.identity.domain.merging import Evidence
from services.identity.read_models.customer_directory import CustomerRow
from services.identity.read_models.merge_history import MergeRow

COLLECTION: Final = "customers"
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)

Read: TypeAlias = Callable[[Sequence[GivenIdentifier]], Reading]
"""Reads the identifiers of a call for the tenant of the caller."""

_STATES: Final = {it: customer_pb2.CustomerState.Value(f"CUSTOMER_STATE_{it}") for it in CustomerState}
_FROM_STATE: Final[Mapping[int, CustomerState]] = {number: state for state, number in _STATES.items()}
_OUTCOMES: Final = {name.removeprefix("OUTCOME_"): number for name, number in pb.Outcome.items()}
_EVIDENCE: Final[Mapping[int, Evidence]] = {
    pb.MergeEvidence.Value(f"MERGE_EVIDENCE_{it}"): it for it in Evidence if it is not Evidence.IDENTIFIERS
}
_SIDES: Final[Mapping[int, Side]] = {pb.SIDE_SURVIVOR: Side.SURVIVOR, pb.SIDE_RESTORED: Side.RESTORED}
_REASONS: Final = {name.removeprefix("DROP_REASON_"): number for name, number in pb.DropReason.items()}


def resolve_command(request: pb.ResolveIdentityRequest | pb.ResolveItem, read: Read) -> ResolveIdentity:
    """Raises what reading the identifiers raises, and ValueOutOfRange for an impossible instant."""
    return ResolveIdentity(
        reading=read([given(it) for it in request.identifiers]),
        authenticated=request.authenticated,
        occurred_at=given_instant(request, "occur_time"),
        customer_id=UUID(request.customer_id) if request.customer_id else None,
        new_customer_id=UUID(request.new_customer_id) if request.new_customer_id else None,
        assignment_key=request.assignment_key or None,
        create_if_missing=request.create_if_missing if request.HasField("create_if_missing") else True,
    )


def batch_command(request: pb.BatchResolveRequest, read: Read) -> BatchResolve:
    """An item that cannot be read stands in the batch as the error it is."""

    def item(it: pb.ResolveItem) -> ResolveIdentity | DomainError:
        try:
            return resolve_command(it, read)
        except DomainError as refusal:
            return refusal

    return BatchResolve(tuple(item(it) for it in request.items))


def given(identifier: customer_pb2.Identifier) -> GivenIdentifier:
    return GivenIdentifier(identifier.namespace, identifier.value, identifier.scope, identifier.verified)


def resolved(resolution: Resolution) -> pb.ResolveIdentityResponse:
    return pb.ResolveIdentityResponse(
        customer_id=str(resolution.customer_id),
        node_id=str(resolution.node_id),
        state=_STATES[resolution.state],
        outcome=_OUTCOMES[resolution.outcome],
        dropped=_dropped(resolution.dropped),
    )


def batch_resolved(results: Sequence[Resolution | DomainError]) -> pb.BatchResolveResponse:
    return pb.BatchResolveResponse(results=[result(it) for it in results])


def found_customer(found: Found) -> pb.LookupCustomerResponse:
    return pb.LookupCustomerResponse(customer=customer(found.customer), node_id=str(found.node_id))


def linked(it: Customer) -> pb.LinkIdentifierResponse:
    return pb.LinkIdentifierResponse(customer=customer(it))


def unlinked(it: Customer) -> pb.UnlinkIdentifierResponse:
    return pb.UnlinkIdentifierResponse(customer=customer(it))


def merged(it: Merged) -> pb.MergeCustomersResponse:
    return pb.MergeCustomersResponse(merge_id=str(it.merge_id), customer=customer(it.customer))


def unmerged(it: Unmerged) -> pb.UnmergeCustomerResponse:
    return pb.UnmergeCustomerResponse(restored=customer(it.restored), survivor=customer(it.survivor))


def kept_apart(_: None) -> pb.SetNeverMergeResponse:
    return pb.SetNeverMergeResponse()


def reunion_allowed(_: None) -> pb.RevokeNeverMergeResponse:
    return pb.RevokeNeverMergeResponse()


def evidence(number: int) -> Evidence:
    return _EVIDENCE[number]


def side(number: int) -> Side:
    return _SIDES[number]


def preview(it: Preview) -> pb.PreviewMergeResponse:
    """The survivor with what the loser would bring; as it is where the merge would be refused."""
    shown = customer(it.survivor)
    shown.ClearField("etag")
    moving = [] if it.refusal else list(it.loser.nodes)
    if it.refusal is None:
        brought = customer(it.loser)
        shown.node_ids.extend(brought.node_ids)
        shown.identifiers.extend(brought.identifiers)
    return pb.PreviewMergeResponse(
        customer=shown,
        node_ids=[str(node) for node in moving],
        exceeded_limits=[
            pb.ExceededLimit(namespace=one.namespace, scope=one.scope, count=one.count, limit=one.limit)
            for one in it.exceeded
            if it.refusal is None
        ],
        refusal=it.refusal.reason if it.refusal else "",
    )


def merge(row: MergeRow) -> customer_pb2.Merge:
    return customer_pb2.Merge(
        merge_id=str(row.merge_id),
        survivor_id=str(row.survivor),
        loser_id=str(row.loser),
        node_ids=[str(it) for it in row.nodes],
        reason=row.reason,
        merge_time=_timestamp(row.merged_at),
        undo_time=_timestamp(row.undone_at) if row.undone_at else None,
        undo_reason=row.undo_reason or "",
    )


def customer(it: Customer) -> customer_pb2.Customer:
    return customer_pb2.Customer(
        name=resource_name(COLLECTION, it.id),
        customer_id=str(it.id),
        state=_STATES[it.state],
        assignment_key=it.assignment_key,
        create_time=_timestamp(it.registered_at),
        node_ids=[str(node) for node in it.nodes],
        identifiers=[linked_identifier(identifier) for identifier in it.identifiers.values()],
        etag=str(it.version),
    )


def summary(row: CustomerRow) -> customer_pb2.CustomerSummary:
    return customer_pb2.CustomerSummary(
        name=resource_name(COLLECTION, row.customer_id),
        customer_id=str(row.customer_id),
        state=_STATES[row.state],
        assignment_key=row.assignment_key,
        create_time=_timestamp(row.registered_at),
        become_known_time=_timestamp(row.became_known_at) if row.became_known_at else None,
        node_ids=[str(node) for node in row.node_ids],
        identifier_counts=row.identifier_counts,
    )


def state(number: int) -> CustomerState | None:
    """The state asked for; None for unspecified."""
    return _FROM_STATE.get(number)


def result(it: Resolution | DomainError) -> pb.ResolveResult:
    if isinstance(it, DomainError):
        return pb.ResolveResult(status=to_status(it, "identity"))
    return pb.ResolveResult(
        status=_OK,
        customer_id=str(it.customer_id),
        node_id=str(it.node_id),
        state=_STATES[it.state],
        outcome=_OUTCOMES[it.outcome],
        dropped=_dropped(it.dropped),
    )


_OK: Final = status_pb2.Status()


def _dropped(dropped: Iterable[Dropped]) -> list[pb.DroppedIdentifier]:
    return [
        pb.DroppedIdentifier(index=it.position, namespace=it.namespace, scope=it.scope, reason=_REASONS[it.reason])
        for it in dropped
    ]


def given_instant(request: Any, field: str) -> datetime | None:
    """What `field` says, if anything. Raises ValueOutOfRange for an impossible instant."""
    return instant(getattr(request, field), field) if request.HasField(field) else None


def instant(stamp: Timestamp, field: str) -> datetime:
    """What `stamp`, in `field` of a request, says. Raises ValueOutOfRange for an impossible instant."""
    try:
        at = stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise ValueOutOfRange("there is no such instant", field=field) from None
    if at < EARLIEST:
        raise ValueOutOfRange("the instant lies before 1970", field=field)
    return at


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
