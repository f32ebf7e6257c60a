"""The messages that say something of people beside what they did: attributes, consents, their guide, their groups, and channels."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.consumer import Incoming
from scrm.identity.v1 import attribute_pb2, consent_pb2
from scrm.identity.v1 import events_pb2 as identity
from scrm.tracking.v1 import events_pb2 as tracking
from scrm.tracking.v1 import group_pb2
from services.tagging.application.facts import Facts
from services.tagging.domain.profile import (
    STRICTNESS,
    AttributeDefinition,
    AttributeValue,
    Consent,
    FollowUp,
    GroupChange,
    GuideWord,
    Reach,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _attribute_defined(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.AttributeDefined).definition
    kind = attribute_pb2.AttributeType.Name(it.type).removeprefix("ATTRIBUTE_TYPE_")
    policy = attribute_pb2.MergePolicy.Name(it.merge_policy).removeprefix("MERGE_POLICY_")
    facts.said.definitions[it.key] = AttributeDefinition(it.key, kind, policy)


def _attributes_changed(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.AttributesChanged)
    node, values = UUID(it.node_id), facts.said.attributes
    facts.nodes[node] = None
    for one in it.changed:
        text = one.value if one.HasField("value") else None
        new = AttributeValue(node, one.key, one.source, one.source_rank, text, one.cleared, _instant(one.observe_time))
        old = values.get((node, one.key, one.source))
        if old is None or old.at <= new.at:
            values[node, one.key, one.source] = new


def _consent_changed(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.ConsentChanged)
    node, said = UUID(it.node_id), it.consent
    facts.nodes[node] = None
    purpose = consent_pb2.ConsentPurpose.Name(said.purpose).removeprefix("CONSENT_PURPOSE_")
    state = consent_pb2.ConsentState.Name(said.state).removeprefix("CONSENT_STATE_")
    if state not in STRICTNESS:
        return
    new = Consent(node, purpose, said.channel, state, _instant(said.make_time), _ids(it.beside_node_ids))
    old = facts.said.consents.get((node, purpose, said.channel))
    if old is None or _weight(old) <= _weight(new):
        facts.said.consents[node, purpose, said.channel] = new


def _weight(it: Consent) -> tuple[datetime, int]:
    return it.at, STRICTNESS.index(it.state)


def _assigned(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.CustomerAssigned)
    word = GuideWord(
        UUID(it.node_id),
        _instant(it.assign_time),
        "ASSIGNED",
        UUID(it.staff_id),
        _optional(it.store_id),
        _ids(it.beside_node_ids),
    )
    _note(facts, word)


def _transferred(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.CustomerTransferred)
    at, staff, store = _instant(it.transfer_time), UUID(it.staff_id), _optional(it.store_id)
    _note(facts, GuideWord(UUID(it.node_id), at, "TRANSFERRED", staff, store, []))


def _unassigned(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.CustomerUnassigned)
    at, beside = _instant(it.unassign_time), _ids(it.beside_node_ids)
    _note(facts, GuideWord(UUID(it.node_id), at, "UNASSIGNED", None, None, beside))


def _note(facts: Facts, word: GuideWord) -> None:
    facts.nodes[word.node] = None
    facts.said.guides[word.node, word.at, word.kind] = word


def _followed_up(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.FollowUpRecorded)
    if not it.staff_id:
        return
    new = FollowUp(UUID(it.node_id), UUID(it.staff_id), _instant(it.occur_time))
    facts.nodes[new.node] = None
    old = facts.said.follow_ups.get((new.node, new.staff))
    if old is None or old.at < new.at:
        facts.said.follow_ups[new.node, new.staff] = new


def _group_changed(facts: Facts, message: Incoming) -> None:
    it = message.parse(tracking.GroupMembershipChanged)
    joined = it.change == group_pb2.GROUP_CHANGE_JOINED
    new = GroupChange(UUID(it.node_id), it.group_id, joined, _instant(it.change_time))
    facts.nodes[new.node] = None
    old = facts.said.groups.get((new.node, new.group))
    if old is None or old.at <= new.at:
        facts.said.groups[new.node, new.group] = new


def _reachability_changed(facts: Facts, message: Incoming) -> None:
    it = message.parse(identity.ReachabilityChanged)
    told = it.reachability
    new = Reach(UUID(it.node_id), told.channel, told.reachable, _instant(told.since_time))
    facts.nodes[new.node] = None
    old = facts.said.channels.get((new.node, new.channel))
    if old is None or old.weight < new.weight:
        facts.said.channels[new.node, new.channel] = new


READERS: Final[Mapping[str, Callable[[Facts, Incoming], None]]] = {
    "scrm.identity.v1.AttributeDefined": _attribute_defined,
    "scrm.identity.v1.AttributesChanged": _attributes_changed,
    "scrm.identity.v1.ConsentChanged": _consent_changed,
    "scrm.identity.v1.CustomerAssigned": _assigned,
    "scrm.identity.v1.CustomerTransferred": _transferred,
    "scrm.identity.v1.CustomerUnassigned": _unassigned,
    "scrm.identity.v1.FollowUpRecorded": _followed_up,
    "scrm.identity.v1.ReachabilityChanged": _reachability_changed,
    "scrm.tracking.v1.GroupMembershipChanged": _group_changed,
}

EVENTS: Final = (
    "attribute_defined",
    "attributes_changed",
    "consent_changed",
    "customer_assigned",
    "customer_transferred",
    "customer_unassigned",
    "follow_up_recorded",
    "reachability_changed",
    "group_membership_changed",
)
"""The names of the events above, in snake_case."""


def _instant(time: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)


def _optional(id: str) -> UUID | None:
    return UUID(id) if id else None


def _ids(ids: Iterable[str]) -> list[UUID]:
    return [UUID(it) for it in ids]
