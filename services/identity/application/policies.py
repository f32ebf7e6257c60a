"""Whenever another service says that it removed what it had of a customer, the case of that customer goes on."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, Final
from uuid import UUID

from chassis.envelope import Incoming
from scrm.campaigns.v1 import events_pb2 as campaigns
from scrm.membership.v1 import events_pb2 as membership
from scrm.tagging.v1 import events_pb2 as tagging
from scrm.tracking.v1 import events_pb2 as tracking
from services.identity.application.erasure_commands import RecordServiceErasure

ERASED: Final[Mapping[str, type[Any]]] = {
    it.DESCRIPTOR.full_name: it
    for it in (
        campaigns.CustomerDataErased,
        membership.CustomerDataErased,
        tagging.CustomerDataErased,
        tracking.CustomerDataErased,
    )
}
STREAMS: Final = ("campaigns", "membership", "tagging", "tracking")
EVENTS: Final = ("customer_data_erased",)


def record_that_a_service_is_done(incoming: Incoming) -> Sequence[RecordServiceErasure]:
    """The case learns it; once, however often it is told."""
    kind = ERASED.get(incoming.type)
    if kind is None:
        return ()
    it = incoming.parse(kind)
    at = it.erase_time.ToDatetime(UTC)
    return (RecordServiceErasure(UUID(it.case_id), incoming.stream, incoming.position, dict(it.removed), at),)
