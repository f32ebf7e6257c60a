"""What is told of one customer beside its history, as of an instant: who said what about it, and which tags, segments and layers it had."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.layer_ports import ListedModel
from services.tagging.application.ports import Customer
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.claims import Assignment, Cause
from services.tagging.domain.conditions import (
    AttributeTest,
    HasConsent,
    HasTag,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    LookedUp,
    Reachable,
    RelatedTo,
    RfmScores,
    Tie,
    Universe,
)
from services.tagging.domain.conditions.dimensions import CREATED_DAYS, KNOWN, KNOWN_DAYS, OF_MEMBERSHIP
from services.tagging.domain.conditions.explanation import Cited, Said
from services.tagging.domain.history import History
from services.tagging.domain.layers.kinds import KINDS
from services.tagging.domain.layers.view import NONE, View
from services.tagging.domain.tag_definitions import lineage
from services.tagging.read_models import directory, layers, memberships, sql, tag_history
from services.tagging.read_models.segments import Sets

_ATTRIBUTES: Final = (
    "SELECT observed_at, key, CASE WHEN cleared THEN '' ELSE value END FROM attribute_values"
    " WHERE tenant = %s AND node = ANY(%s) AND key = %s ORDER BY observed_at"
)
_GROUPS: Final = (
    "SELECT changed_at, CASE WHEN joined THEN 'group joined' ELSE 'group left' END, group_id FROM group_members"
    " WHERE tenant = %s AND node = ANY(%s) AND (%s::text IS NULL OR group_id = %s) ORDER BY changed_at"
)
_CONSENTS: Final = (
    "SELECT made_at, 'consent ' || lower(state), concat_ws('/', purpose, nullif(channel, '')) FROM consents"
    " WHERE tenant = %s AND node = ANY(%s) AND purpose = %s ORDER BY made_at"
)
_CHANNELS: Final = (
    "SELECT since, CASE WHEN reachable THEN 'reachable' ELSE 'not reachable' END, channel FROM reachability"
    " WHERE tenant = %s AND node = ANY(%s) AND (%s::text IS NULL OR channel = %s) ORDER BY since"
)
_MEMBER: Final = (
    "SELECT member_since, 'member joined', '' FROM member_words"
    " WHERE tenant = %s AND node = ANY(%s) AND member_since IS NOT NULL ORDER BY member_since"
)
_REGISTRATIONS: Final = (
    "SELECT occurred_at, type, '' FROM behaviours"
    " WHERE tenant = %s AND node = ANY(%s) AND type = 'referral_registered' ORDER BY occurred_at"
)
_RELATIONS: Final = (
    "SELECT said_at, kind, coalesce(staff::text, '') FROM guide_words WHERE tenant = %(tenant)s AND node = ANY(%(nodes)s)"
    " UNION ALL SELECT followed_at, 'follow-up', staff::text FROM follow_ups"
    " WHERE tenant = %(tenant)s AND node = ANY(%(nodes)s) ORDER BY 1"
)


@dataclass(frozen=True)
class Telling:
    """One customer as of `at`. `held` is what it is tagged with, if that is now; None, if it is in the past: then what is only kept as
    it is now is said to be so."""

    rows: sa.Connection
    tenant: str
    customer: Customer
    history: History
    calendar: Calendar
    at: datetime
    held: Sequence[Assignment] | None

    @property
    def past(self) -> bool:
        return self.held is None

    def holds(self, leaf: LookedUp) -> bool:
        """Whether the customer was in a set that is kept."""
        if self.past:
            match leaf:
                case HasTag(tag, value):
                    return any(value is None or value in lineage(it.value) for it in self.tags(tag))
                case InSegment(segment):
                    return self.in_segment(segment)
                case InLayer(model, layer) if leaf.run is None and leaf.as_of is None and model in self._models:
                    return self._layer(model) == layer
        return bool(self._sets.leaf(leaf))

    def said(self, leaf: Leaf) -> Said:
        """What was told by then about what a leaf asks for."""
        match leaf:
            case AttributeTest(key):
                return self._of_identity(key)
            case RelatedTo(Tie.REFERRER):
                return self._words(sql.fetch(self.rows, _REGISTRATIONS, self.tenant, self._nodes))
            case RelatedTo():
                named = {"tenant": self.tenant, "nodes": self._nodes}
                return self._words(sql.fetch_named(self.rows, _RELATIONS, named))
            case InGroup(group):
                return self._words(sql.fetch(self.rows, _GROUPS, self.tenant, self._nodes, group, group))
            case HasConsent(purpose):
                word = purpose.partition("/")[0]
                return self._words(sql.fetch(self.rows, _CONSENTS, self.tenant, self._nodes, word))
            case Reachable(channel):
                return self._words(sql.fetch(self.rows, _CHANNELS, self.tenant, self._nodes, channel, channel))
            case HasTag(tag):
                return Said(tuple(Cited(it.at, "tag", f"{it.value} {it.source}".strip()) for it in self.tags(tag)))
            case InSegment(segment):
                found = memberships.standing(self.rows, self.tenant, segment, self.customer.id, self.at)
                return Said((Cited(found.at, "segment", found.cause),) if found else ())
            case InLayer():
                return self._of_layer(leaf)
        return Said(later=self.past and isinstance(leaf, RfmScores))

    def in_segment(self, segment: UUID) -> bool:
        """Whether it was in a segment then, as it was told."""
        if not self.past:
            return bool(self._sets.segment(segment))
        found = memberships.standing(self.rows, self.tenant, segment, self.customer.id, self.at)
        return found is not None and found.entered

    def tags(self, tag: str) -> Sequence[Assignment]:
        """What the customer was tagged with as `tag` then, as it was told."""
        if self.held is not None:
            return [it for it in self.held if it.tag == tag]
        found = tag_history.standing(self.rows, self.tenant, self.customer.id, tag, self.at)
        return [
            Assignment(tag, value, self.customer.id, source, Cause(cause), at) for value, source, cause, at in found
        ]

    @cached_property
    def known(self) -> bool:
        """Whether the customer was known then; if nobody told since when, whether it is now."""
        since = self.history.known_since
        if self.past and since is not None:
            return since <= self.at
        return bool(self._sets.universe(Universe.KNOWN))

    @cached_property
    def _sets(self) -> Sets:
        return Sets(self.rows, self.tenant, BitMap((self.customer.ordinal,)))

    @cached_property
    def _nodes(self) -> list[UUID]:
        return directory.nodes_of(self.rows, self.tenant, self.customer.id)

    @cached_property
    def _models(self) -> dict[str, ListedModel]:
        return {it.key: it for it in layers.active(self.rows, self.tenant)}

    def _layer(self, model: str) -> str:
        it = self._models[model]
        if it.universe is Universe.KNOWN and not self.known:
            return NONE
        found: str = KINDS[it.kind].layer(View.of(self.history, self.calendar, self.at), it.params)
        return found

    def _of_identity(self, key: str) -> Said:
        if key in (KNOWN, KNOWN_DAYS, CREATED_DAYS):
            since = self.history.created_at if key == CREATED_DAYS else self.history.known_since
            return Said((Cited(since, key),) if since is not None and since <= self.at else ())
        if key in OF_MEMBERSHIP:  # of points, and of who ceased to be a member, only how it is now is kept
            return self._words(sql.fetch(self.rows, _MEMBER, self.tenant, self._nodes))._replace(later=self.past)
        return self._words(sql.fetch(self.rows, _ATTRIBUTES, self.tenant, self._nodes, key))

    def _of_layer(self, leaf: InLayer) -> Said:
        if leaf.run is not None or leaf.as_of is not None or leaf.model not in self._models:
            return Said(later=self.past and leaf.run is None and leaf.as_of is None)
        later = self.past and self._models[leaf.model].updated_at > self.at
        return Said(later=later, value=self._layer(leaf.model))

    def _words(self, found: Sequence[sql.Row]) -> Said:
        cited = tuple(Cited(*it) for it in found if it[0] <= self.at)
        return Said(cited, later=self.past and len(cited) < len(found))
