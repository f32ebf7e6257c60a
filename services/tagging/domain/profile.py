"""What counts for a customer of what was said of its nodes: attributes, consents, the guide, and groups.

Everything is kept by node as it was said, so that a merge or its undoing changes nothing; what counts is worked out here, by
the rules that identity tells with its messages (spec ID-6, ID-10, ID-12).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID


class AttributeDefinition(NamedTuple):
    """How the texts of an attribute are to be read (`type`), and how one value is made of many (`policy`)."""

    key: str
    type: str
    policy: str


class AttributeValue(NamedTuple):
    """What a source says of a node. `value` is None if nobody else may know it; if `cleared` it takes back what it said."""

    node: UUID
    key: str
    source: int
    rank: int
    value: str | None
    cleared: bool
    at: datetime


class Consent(NamedTuple):
    """What was said for a purpose, and a channel or all (""); in place of anything older said for the nodes `beside`."""

    node: UUID
    purpose: str
    channel: str
    state: str
    at: datetime
    beside: Sequence[UUID]


class GuideWord(NamedTuple):
    """ASSIGNED, TRANSFERRED or UNASSIGNED: who looks after a node from `at` on, in place of older words for `beside`."""

    node: UUID
    at: datetime
    kind: str
    staff: UUID | None
    store: UUID | None
    beside: Sequence[UUID]


class FollowUp(NamedTuple):
    """When a member of staff last did something with a node."""

    node: UUID
    staff: UUID
    at: datetime


class GroupChange(NamedTuple):
    """Whether a node is in a group since `at`."""

    node: UUID
    group: str
    joined: bool
    at: datetime


class Reach(NamedTuple):
    """Whether messages of a channel reach a node since `at`; of one moment "yes" counts."""

    node: UUID
    channel: str
    reachable: bool
    at: datetime

    @property
    def weight(self) -> tuple[datetime, bool]:
        return self.at, self.reachable


TEXT: Final = "TEXT"
UNION: Final = "UNION"
NEWEST: Final = "NEWEST"
PRESET: Final[Mapping[str, AttributeDefinition]] = {
    key: AttributeDefinition(key, kind, policy)
    for key, kind, policy in (
        ("acquisition.first_touch_at", "INSTANT", ""),
        ("family.has_child", "BOOL", ""),
        ("family.household_size", "NUMBER", ""),
        ("hobbies", "LIST", UNION),
        ("interests", "LIST", UNION),
        ("preferences", "LIST", UNION),
    )
}
"""Those attributes of every brand that are no texts. Identity tells only of those a brand defined itself."""

STRICTNESS: Final = ("GRANTED", "DENIED", "WITHDRAWN")
_MOST_ITEMS: Final = 50


def attributes_of(values: Iterable[AttributeValue], defined: Mapping[str, AttributeDefinition]) -> dict[str, Any]:
    """The value of each attribute: text, number, truth value, or tuple of texts. One whose value is not told is not there."""
    by_key: dict[str, list[AttributeValue]] = {}
    for it in values:
        if not it.cleared:
            by_key.setdefault(it.key, []).append(it)
    found = {key: _resolved(said, defined.get(key) or PRESET.get(key)) for key, said in by_key.items()}
    return {key: value for key, value in found.items() if value is not None}


def _resolved(said: list[AttributeValue], definition: AttributeDefinition | None) -> Any:
    said.sort(key=lambda it: it.node)
    if definition is not None and definition.policy == NEWEST:
        said.sort(key=lambda it: (it.at, it.rank), reverse=True)
    else:
        said.sort(key=lambda it: (it.rank, it.at), reverse=True)
    if definition is not None and definition.policy == UNION:
        items = dict.fromkeys(item for it in said if it.value is not None for item in json.loads(it.value))
        return tuple(items)[:_MOST_ITEMS] or None
    text = said[0].value
    return text if text is None or definition is None else read(definition.type, text)


def read(kind: str, text: str) -> Any:
    """The value that identity writes as `text`."""
    match kind:
        case "NUMBER":
            return float(text)
        case "BOOL":
            return text == "true"
        case "LIST":
            return tuple(json.loads(text))
    return text


def consents_of(said: Sequence[Consent]) -> dict[tuple[str, str], str]:
    """The state of each purpose and channel of which anything was said: the strictest word in whose place no later one counts.

    What was said for all channels ("") counts for each.
    """
    return {(it.purpose, it.channel): _strictest(said, it.purpose, it.channel) for it in said}


def agreed(said: Sequence[Consent]) -> frozenset[str]:
    """What was agreed to: a purpose for all channels by its name, for one as PURPOSE/CHANNEL."""
    return frozenset(
        f"{purpose}/{channel}" if channel else purpose
        for (purpose, channel), state in consents_of(said).items()
        if state == STRICTNESS[0]
    )


def _strictest(said: Sequence[Consent], purpose: str, channel: str) -> str:
    fitting = [it for it in said if it.purpose == purpose and it.channel in (channel, "")]
    standing = [
        it.state
        for it in fitting
        if not any(other.at > it.at and (other.node == it.node or it.node in other.beside) for other in fitting)
    ]
    return max(standing, key=STRICTNESS.index)


class _Guidance(NamedTuple):
    """The last word on a node: `claimed_at` is when its guide was assigned, which a transfer does not change."""

    node: UUID
    staff: UUID | None
    store: UUID | None
    claimed_at: datetime
    beside: Sequence[UUID]
    followed_at: datetime | None

    @property
    def rank(self) -> tuple[bool, datetime, datetime, UUID]:
        return self.followed_at is not None, self.followed_at or self.claimed_at, self.claimed_at, self.node


def guide_of(words: Iterable[GuideWord], follow_ups: Iterable[FollowUp]) -> tuple[UUID, UUID | None] | None:
    """Guide and store: of several guides who followed up last, or while nobody did, was assigned last."""
    followed = {(it.node, it.staff): it.at for it in follow_ups}
    last: dict[UUID, _Guidance] = {}
    for it in sorted(words, key=lambda it: it.at):
        before = last.get(it.node)
        at, beside, since = it.at, it.beside, followed.get((it.node, it.staff)) if it.staff else None
        if it.kind == "TRANSFERRED" and before is not None:
            at, beside, since = before.claimed_at, before.beside, since or before.followed_at
        last[it.node] = _Guidance(it.node, it.staff, it.store, at, beside, since)
    standing = [
        it
        for it in last.values()
        if it.staff is not None
        and not any(it.node in other.beside and other.claimed_at >= it.claimed_at for other in last.values())
    ]
    if not standing:
        return None
    guide = max(standing, key=lambda it: it.rank)
    assert guide.staff is not None  # noqa: S101 - only such are standing
    return guide.staff, guide.store


def groups_of(changes: Iterable[GroupChange]) -> frozenset[str]:
    """The groups that one of the nodes is in."""
    return frozenset(it.group for it in changes if it.joined)
