"""Whenever identity says what somebody allows, or where they can be reached, campaigns takes note, by the node it was said for."""

from collections.abc import Sequence
from datetime import UTC
from typing import Final
from uuid import UUID

from chassis.envelope import Incoming
from chassis.unit_of_work import UnitOfWork
from scrm.identity.v1 import consent_pb2
from scrm.identity.v1.events_pb2 import ConsentChanged, ReachabilityChanged
from services.campaigns.application.commands import Tables
from services.campaigns.domain.permissions import STRICTNESS, Consent, Reachability

CONSENT: Final = ConsentChanged.DESCRIPTOR.full_name
REACHABILITY: Final = ReachabilityChanged.DESCRIPTOR.full_name

EVENTS: Final = ("consent_changed", "reachability_changed")
"""What concerns permissions, as it stands in subjects."""


def follow_permissions(batch: Sequence[Incoming], work: UnitOfWork, tables: Tables) -> None:
    """Take note of what is said in `batch`; of one thing the last word counts."""
    consents: dict[tuple[UUID, str, str], Consent] = {}
    channels: dict[tuple[UUID, str], Reachability] = {}
    for message in batch:
        if message.type == CONSENT:
            said = _consent(message)
            if said is not None:
                place = said.node, said.purpose, said.channel
                consents[place] = max(said, consents.get(place, said), key=lambda it: it.weight)
        elif message.type == REACHABILITY:
            told = _reachability(message)
            channels[told[:2]] = max(told, channels.get(told[:2], told), key=lambda it: it.weight)
    if consents or channels:
        tables.permissions(work).note(list(consents.values()), list(channels.values()))


def _consent(message: Incoming) -> Consent | None:
    """None for a word that this version does not know."""
    it = message.parse(ConsentChanged)
    purpose = consent_pb2.ConsentPurpose.Name(it.consent.purpose).removeprefix("CONSENT_PURPOSE_")
    state = consent_pb2.ConsentState.Name(it.consent.state).removeprefix("CONSENT_STATE_")
    if state not in STRICTNESS:
        return None
    beside = tuple(UUID(node) for node in it.beside_node_ids)
    return Consent(UUID(it.node_id), purpose, it.consent.channel, state, it.consent.make_time.ToDatetime(UTC), beside)


def _reachability(message: Incoming) -> Reachability:
    it = message.parse(ReachabilityChanged)
    told = it.reachability
    return Reachability(UUID(it.node_id), told.channel, told.reachable, told.since_time.ToDatetime(UTC))
