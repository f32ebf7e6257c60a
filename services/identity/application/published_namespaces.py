"""What other services are told of a brand's namespaces and of what it blocks; patterns are never told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.log import Recorded
from scrm.identity.v1 import events_pb2 as pb
from scrm.identity.v1 import namespace_pb2
from services.identity.domain.namespace_settings import NamespaceConfig, NamespaceSettings
from services.identity.domain.namespaces import NAMESPACES

PRIVATE: Final = frozenset[type]({NamespaceSettings.Opened, NamespaceSettings.AnonymousLifetimeChanged})


def of_namespaces(recorded: Recorded) -> Sequence[Message] | None:
    match recorded.event:
        case NamespaceSettings.ConfigChanged(config=config, version=version, changed_at=at):
            return [pb.NamespaceConfigChanged(config=namespace(config, version), change_time=_timestamp(at))]
        case NamespaceSettings.ValueBlocked(blocked=it):
            return [
                pb.IdentifierBlocked(
                    namespace=it.namespace,
                    scope=it.scope,
                    value_hmac=it.value_hmac or b"",
                    block_time=_timestamp(it.blocked_at),
                )
            ]
        case NamespaceSettings.ValueUnblocked(blocked=it, unblocked_at=at):
            return [
                pb.IdentifierUnblocked(
                    namespace=it.namespace,
                    scope=it.scope,
                    value_hmac=it.value_hmac or b"",
                    unblock_time=_timestamp(at),
                )
            ]
    return None


def namespace(it: NamespaceConfig, version: int) -> namespace_pb2.Namespace:
    return namespace_pb2.Namespace(
        namespace=it.name,
        priority=it.priority,
        form=namespace_pb2.IdentifierForm.Value(f"IDENTIFIER_FORM_{it.form}"),
        scoped=it.scoped,
        limit=namespace_pb2.NamespaceLimit(
            count=it.limit, per_scope=it.per_scope, window_days=it.window_days or 0, ever=it.ever
        ),
        strong=it.strong,
        transferable=it.transferable,
        version=version,
        preset=it.name in NAMESPACES,
    )


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
