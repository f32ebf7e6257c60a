"""The tables behind `application/ports.py`: how one change of facts, tags or segments reaches all sets it concerns."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Change, Customer, RuleState, RunRows
from services.tagging.domain.conditions import Universe
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.segments import Definition, Segment, SegmentKind
from services.tagging.domain.sessions import Visit
from services.tagging.read_models import (
    bitmaps,
    directory,
    erasure,
    model_runs,
    permissions,
    rule_states,
    segments,
    sql,
    tag_holders,
    visits,
    vocabularies,
)
from services.tagging.read_models.directory import Arrivals

_LOCK = (
    "INSERT INTO intake (tenant, messages, as_of) VALUES (%s, %s, %s) ON CONFLICT (tenant) DO UPDATE SET"
    " messages = intake.messages + excluded.messages, as_of = greatest(intake.as_of, excluded.as_of)"
)
SENSITIVE_INFERENCE = "SENSITIVE_INFERENCE"
_KEEP_SNAPSHOT = "INSERT INTO snapshot_members (tenant, snapshot, members) VALUES (%s, %s, %s)"
_SNAPSHOT = "SELECT members FROM snapshot_members WHERE tenant = %s AND snapshot = %s"
_POSITION = "SELECT messages FROM intake WHERE tenant = %s"


def lock(rows: sa.Connection, tenant: str, now: datetime, messages: int = 0) -> None:
    """Be the only one to change this tenant's sets until the transaction ends; `messages` are taken in by it."""
    sql.run(rows, _LOCK, tenant, messages, now)


def input_position(rows: sa.Connection, tenant: str) -> int:
    """How many messages of other services have had their effect."""
    found = sql.fetch(rows, _POSITION, tenant)
    return int(found[0][0]) if found else 0


def retag(rows: sa.Connection, tenant: str, tags: Mapping[str, Change], others: BitMap) -> None:
    """Change who has which tag, and with that the live segments; `others` are customers who changed otherwise."""
    bitmaps.change(rows, tenant, {bitmaps.of_tag(tag): it for tag, it in tags.items()})
    who = BitMap.union(others, *(part for it in tags.values() for part in it))
    if not who:
        return
    sets = segments.Sets(rows, tenant, who)
    changes = {}
    for it in segments.live(rows, tenant):
        now = sets.of(it.definition, it.universe)
        changes[bitmaps.of_segment(it.id)] = Change(now, who - now)
    bitmaps.change(rows, tenant, changes)


def move_listed(rows: sa.Connection, tenant: str, arrivals: Arrivals) -> None:
    """Each customer with other nodes than before is in the static segments that list one of them; who is gone, in none.

    No node comes from elsewhere, so that no segment but those that list one of them now can have changed.
    """
    ordinal_of = arrivals.ordinals
    found = segments.listed_anywhere(rows, tenant, arrivals.regrouped)
    concerned = BitMap(ordinal_of[it] for it in (*arrivals.regrouped, *arrivals.gone))
    changes = {}
    for segment, customers in found.items():
        members = BitMap(ordinal_of[it] for it in customers)
        changes[bitmaps.of_segment(segment)] = Change(members, concerned - members)
    bitmaps.change(rows, tenant, changes)


def snapshot(rows: sa.Connection, tenant: str, id: UUID) -> BitMap | None:
    """The members of a snapshot."""
    found = sql.fetch(rows, _SNAPSHOT, tenant, id)
    return bitmaps.unpack(found[0][0]) if found else None


class PostgresAudiences:
    """`Audiences` in the transaction of a unit of work."""

    def lock(self, work: UnitOfWork) -> None:
        lock(work.rows, work.context.tenant, work.now)

    def customers(self, work: UnitOfWork, ids: Iterable[UUID]) -> dict[UUID, Customer]:
        return directory.canonical(work.rows, work.context.tenant, ids)

    def erased(self, work: UnitOfWork, ids: Iterable[UUID]) -> set[UUID]:
        return erasure.erased_among(work.rows, work.context.tenant, ids)

    def nodes(self, work: UnitOfWork, customer: UUID) -> list[UUID]:
        return directory.nodes_of(work.rows, work.context.tenant, customer)

    def nodes_of(self, work: UnitOfWork, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
        return directory.nodes_of_all(work.rows, work.context.tenant, customers)

    def stores(self, work: UnitOfWork, customers: Iterable[UUID]) -> dict[UUID, UUID]:
        return permissions.stores(work.rows, work.context.tenant, list(customers))

    def agreed(self, work: UnitOfWork, customers: Iterable[UUID]) -> set[UUID]:
        return permissions.agreed(work.rows, work.context.tenant, list(customers), SENSITIVE_INFERENCE)

    def visits(self, work: UnitOfWork, customers: Iterable[UUID]) -> dict[UUID, list[Visit]]:
        return visits.of_customers(work.rows, work.context.tenant, list(customers))

    def customers_with_visits(self, work: UnitOfWork, after: int, limit: int) -> list[Customer]:
        found = visits.customers_with_visits(work.rows, work.context.tenant, after, limit)
        return [Customer(*row) for row in found]

    def rule_states(self, work: UnitOfWork, rule: str, customers: Iterable[UUID]) -> dict[UUID, RuleState]:
        return rule_states.load(work.rows, work.context.tenant, rule, list(customers))

    def keep_rule_states(self, work: UnitOfWork, rule: str, states: Mapping[UUID, RuleState]) -> None:
        rule_states.keep(work.rows, work.context.tenant, rule, states)

    def retag(self, work: UnitOfWork, tags: Mapping[str, Change], others: BitMap) -> None:
        retag(work.rows, work.context.tenant, tags, others)

    def note_holders(self, work: UnitOfWork, given: Iterable[tuple[str, UUID]]) -> None:
        tag_holders.note(work.rows, work.context.tenant, given)

    def vocabulary(self, work: UnitOfWork) -> Vocabulary:
        return vocabularies.vocabulary(work.rows, work.context.tenant)

    def holders(self, work: UnitOfWork, tag: str, after: UUID | None, limit: int) -> list[UUID]:
        return tag_holders.after(work.rows, work.context.tenant, tag, after, limit)

    def tag_users(self, work: UnitOfWork, tag: str) -> set[str]:
        return segments.users_of(work.rows, work.context.tenant, tag)

    def members(self, work: UnitOfWork, snapshot_id: UUID) -> BitMap:
        return snapshot(work.rows, work.context.tenant, snapshot_id) or BitMap()

    def by_ordinal(self, work: UnitOfWork, ordinals: Iterable[int]) -> list[tuple[int, UUID, bool]]:
        return directory.nodes_by_ordinal(work.rows, work.context.tenant, ordinals)

    def keep_segment(self, work: UnitOfWork, id: UUID, segment: Segment) -> None:
        rows, tenant = work.rows, work.context.tenant
        segments.keep(rows, tenant, id, segment)
        if segment.definition.live:
            now = segments.Sets(rows, tenant).of(segment.definition, segment.universe)
            bitmaps.replace(rows, tenant, bitmaps.of_segment(id), now)
        elif segment.definition.kind is SegmentKind.DYNAMIC:
            bitmaps.replace(rows, tenant, bitmaps.of_segment(id), BitMap())

    def listed(self, work: UnitOfWork, segment: UUID, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
        return segments.listed(work.rows, work.context.tenant, segment, customers)

    def keep_listed(
        self, work: UnitOfWork, segment: UUID, added: Sequence[Customer], removed: Sequence[tuple[UUID, Customer]]
    ) -> None:
        rows, tenant = work.rows, work.context.tenant
        segments.list_nodes(rows, tenant, segment, (it.id for it in added))
        segments.unlist_nodes(rows, tenant, segment, (node for node, _ in removed))
        change = Change(BitMap(it.ordinal for it in added), BitMap(it.ordinal for _, it in removed))
        bitmaps.change(rows, tenant, {bitmaps.of_segment(segment): change})

    def size(self, work: UnitOfWork, segment: UUID) -> int:
        return len(segments.Sets(work.rows, work.context.tenant).segment(segment))

    def count(self, work: UnitOfWork, definition: Definition, universe: Universe) -> int:
        return len(segments.Sets(work.rows, work.context.tenant).of(definition, universe))

    def freeze(self, work: UnitOfWork, segment: UUID, snapshot: UUID) -> tuple[int, str]:
        rows, tenant = work.rows, work.context.tenant
        members = segments.Sets(rows, tenant).segment(segment)
        packed = bitmaps.pack(members)
        sql.run(rows, _KEEP_SNAPSHOT, tenant, snapshot, packed)
        return len(members), hashlib.sha256(packed).hexdigest()

    def keep_run(self, work: UnitOfWork, run: RunRows) -> None:
        model_runs.keep(work.rows, work.context.tenant, run)
