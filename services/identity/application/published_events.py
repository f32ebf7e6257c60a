"""The only door out: what other services are told of the events of identity."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import consent_pb2, customer_pb2
from scrm.identity.v1 import events_pb2 as pb
from services.identity.application import published_engagement, published_matching, published_namespaces
from services.identity.application import published_erasure as erasure
from services.identity.application.published_attributes import PRIVATE_ATTRIBUTES, attribute_key, of_attributes
from services.identity.application.published_org import PRIVATE_OF_ORG, of_org, org_key
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.consent import Permissions, Reachability, Statement
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.erasure import ErasureCase
from services.identity.domain.identifiers import LinkedIdentifier
from services.identity.domain.merging import Merge
from services.identity.domain.name_index import NameIndex

PRIVATE: Final = frozenset[type](
    {
        IdentifierClaim.Claimed,
        IdentifierClaim.Reclaimed,
        IdentifierClaim.Released,
        IdentifierClaim.SeenWith,
        IdentifierClaim.Suppressed,
        Customer.Seen,
        Customer.MergedInto,
        Customer.PartLeft,
        Customer.KeptApart,
        Customer.ReunionAllowed,
        Merge.Made,
        Permissions.Opened,
        Merge.Undone,
        *erasure.PRIVATE,
        *PRIVATE_ATTRIBUTES,
        NameIndex.Opened,
        NameIndex.Indexed,
        *published_matching.PRIVATE,
        *PRIVATE_OF_ORG,
    }
    | published_namespaces.PRIVATE
    | published_engagement.PRIVATE
)
"""Domain events that nobody else is ever told of: the customer's side of the same change is, or it concerns identity alone."""


def publish(recorded: Recorded) -> Sequence[Message] | None:
    """The messages for an event; None for a private one."""
    return (
        _of_customer(recorded)
        or _of_claim(recorded)
        or _of_permissions(recorded)
        or of_attributes(recorded)
        or published_namespaces.of_namespaces(recorded)
        or erasure.of_erasure(recorded)
        or published_engagement.of_engagement(recorded)
        or published_matching.of_matching(recorded)
        or of_org(recorded)
    )


def _of_customer(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case Customer.Registered() as event:
            return [*_created(event), *_linked(event.originator_id, event.identifiers)]
        case Customer.IdentifiersLinked() as event:
            return [*_linked(event.originator_id, event.identifiers)]
        case Customer.IdentifiersUnlinked() as event:
            return [*_unlinked(event)]
        case Customer.BecameKnown() as event:
            return [
                _became_known(event.originator_id, event.via_namespace, event.assignment_key, event.became_known_at)
            ]
        case Customer.Expired(originator_id=id, last_seen_at=seen, expired_at=at):
            return [
                pb.AnonymousExpired(customer_id=str(id), last_seen_time=_timestamp(seen), expire_time=_timestamp(at))
            ]
        case Customer.Merged() as event:
            return [_merged(event)]
        case Customer.Restored() as event:
            return [_unmerged(event)]
        case Customer.ConflictDetected() as event:
            return [_conflict(event, recorded.context.call_id)]
    return None


def _of_claim(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case IdentifierClaim.Reassigned() as event:
            return [_reassigned(event)]
        case IdentifierClaim.MarkedShared() as event:
            return [_marked_shared(event)]
        case IdentifierClaim.Blocked() as event:
            return [_blocked(event)]
    return None


def _of_permissions(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case Permissions.ConsentChanged() as event:
            return [
                pb.ConsentChanged(
                    node_id=str(event.node),
                    consent=consent(event.statement),
                    beside_node_ids=sorted(map(str, event.statement.beside)),
                )
            ]
        case Permissions.ReachabilityChanged() as event:
            return [pb.ReachabilityChanged(node_id=str(event.node), reachability=channel(event.reachability))]
    return None


def consent(it: Statement) -> consent_pb2.Consent:
    return consent_pb2.Consent(
        purpose=consent_pb2.ConsentPurpose.Value(f"CONSENT_PURPOSE_{it.purpose}"),
        channel=it.channel,
        state=consent_pb2.ConsentState.Value(f"CONSENT_STATE_{it.state}"),
        policy_version=it.policy_version,
        source=it.source,
        make_time=_timestamp(it.made_at),
    )


def channel(it: Reachability) -> consent_pb2.ChannelReachability:
    return consent_pb2.ChannelReachability(
        channel=it.channel, reachable=it.reachable, reason=it.reason, since_time=_timestamp(it.since)
    )


def partition_key(recorded: Recorded) -> UUID:
    """The customer concerned; the survivor of a merge, also of one taken back; the new owner of an identifier, and else the
    identifier."""
    match recorded.event:
        case Customer.Restored(survivor_id=survivor):
            return survivor
        case Permissions.ConsentChanged(node=node) | Permissions.ReachabilityChanged(node=node):
            return node
        case IdentifierClaim.Reassigned(customer=customer):
            return customer
        case (
            ErasureCase.Requested(customer=customer)
            | ErasureCase.ServiceCompleted(customer=customer)
            | ErasureCase.Closed(customer=customer)
        ):
            return customer
    return (
        attribute_key(recorded)
        or published_engagement.node_concerned(recorded)
        or published_matching.customer_concerned(recorded)
        or org_key(recorded)
        or recorded.event.originator_id
    )


def _created(event: Customer.Registered) -> Iterator[Message]:
    id = str(event.originator_id)
    yield pb.CustomerCreated(
        customer_id=id,
        node_id=id,
        state=customer_pb2.CustomerState.Value(f"CUSTOMER_STATE_{event.state}"),
        assignment_key=event.assignment_key,
        create_time=_timestamp(event.registered_at),
    )
    if event.state is CustomerState.KNOWN:
        yield _became_known(event.originator_id, event.via_namespace or "", event.assignment_key, event.registered_at)


def _became_known(id: UUID, via: str, assignment_key: str, at: datetime) -> Message:
    return pb.CustomerBecameKnown(
        customer_id=str(id), via_namespace=via, assignment_key=assignment_key, become_known_time=_timestamp(at)
    )


def _linked(customer_id: UUID, identifiers: Sequence[LinkedIdentifier]) -> Iterator[Message]:
    for it in identifiers:
        yield pb.IdentifierLinked(
            customer_id=str(customer_id),
            node_id=str(it.node),
            namespace=it.namespace,
            scope=it.scope,
            value_hmac=it.value_hmac,
            verified=it.verified,
            link_time=_timestamp(it.linked_at),
        )


def _unlinked(event: Customer.IdentifiersUnlinked) -> Iterator[Message]:
    for it in event.identifiers:
        yield pb.IdentifierUnlinked(
            customer_id=str(event.originator_id),
            node_id=str(it.node),
            namespace=it.namespace,
            scope=it.scope,
            value_hmac=it.value_hmac,
            reason=event.reason,
            unlink_time=_timestamp(event.unlinked_at),
        )


def _merged(event: Customer.Merged) -> Message:
    return pb.CustomersMerged(
        merge_id=str(event.merge_id),
        survivor_id=str(event.originator_id),
        loser_id=str(event.loser_id),
        node_ids=[str(it) for it in event.node_ids],
        reason=event.reason,
        merge_time=_timestamp(event.merged_at),
    )


def _unmerged(event: Customer.Restored) -> Message:
    return pb.CustomerUnmerged(
        merge_id=str(event.merge_id),
        restored_id=str(event.originator_id),
        survivor_id=str(event.survivor_id),
        node_ids=[str(it) for it in event.node_ids],
        restored_state=customer_pb2.CustomerState.Value(f"CUSTOMER_STATE_{event.state}"),
        identifier_moves=[
            customer_pb2.IdentifierMove(
                namespace=it.identifier.namespace,
                scope=it.identifier.scope,
                value_hmac=it.identifier.value_hmac,
                from_node_id=str(it.identifier.node),
                to_node_id=str(it.node),
            )
            for it in event.moves
        ],
        never_merge=True,
        reason=event.reason,
        unmerge_time=_timestamp(event.restored_at),
    )


def _conflict(event: Customer.ConflictDetected, call_id: str | None) -> Message:
    return pb.IdentityConflictDetected(
        customer_id=str(event.originator_id),
        owner_ids=[str(it) for it in (event.originator_id, event.owner) if it is not None],
        namespace=event.namespace,
        scope=event.scope,
        value_hmac=event.value_hmac,
        rule=event.rule,
        resolution=event.resolution,
        call_id=call_id or "",
        detect_time=_timestamp(event.detected_at),
    )


def _reassigned(event: IdentifierClaim.Reassigned) -> Message:
    return pb.IdentifierReassigned(
        namespace=event.namespace,
        scope=event.scope,
        value_hmac=event.value_hmac,
        from_customer_id=str(event.from_customer),
        to_customer_id=str(event.customer),
        reason=event.reason,
        reassign_time=_timestamp(event.reassigned_at),
    )


def _marked_shared(event: IdentifierClaim.MarkedShared) -> Message:
    return pb.IdentifierMarkedShared(
        namespace=event.namespace,
        scope=event.scope,
        value_hmac=event.value_hmac,
        distinct_customers=event.distinct_customers,
        window_days=event.window_days,
        mark_time=_timestamp(event.marked_at),
    )


def _blocked(event: IdentifierClaim.Blocked) -> Message:
    return pb.IdentifierBlocked(
        namespace=event.namespace,
        scope=event.scope,
        value_hmac=event.value_hmac,
        distinct_nodes=event.distinct_nodes,
        window_hours=event.window_hours,
        block_time=_timestamp(event.blocked_at),
    )


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
