"""The tables behind `application/ports.py`: how one change of facts, tags or segments reaches all sets it concerns."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.layer_ports import LayerRows
from services.tagging.application.ports import Change, Customer, KeptRun, RuleState, RunRows, ValueRows
from services.tagging.domain.claims import said
from services.tagging.domain.conditions import Universe
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.memberships import MembershipCause
from services.tagging.domain.refresh import Refresh
from services.tagging.domain.segments import Definition, Segment
from services.tagging.domain.sessions import Visit
from services.tagging.read_models import (
    bitmaps,
    directory,
    dues,
    erasure,
    model_runs,
    permissions,
    refreshing,
    rule_states,
    segments,
    settings,
    sql,
    tag_holders,
    value_runs,
    visits,
    vocabularies,
)
from services.tagging.read_models.analyses import PostgresAnalyses
from services.tagging.read_models.directory import Arrivals
from services.tagging.read_models.layers import PostgresLayers
from services.tagging.read_models.live_segments import Cause, Live, LiveSegments, Touched, apply, follow

_LOCK = (
    "INSERT INTO intake (tenant, messages, as_of) VALUES (%s, %s, %s) ON CONFLICT (tenant) DO UPDATE SET"
    " messages = intake.messages + excluded.messages, as_of = greatest(intake.as_of, excluded.as_of)"
)
SENSITIVE_INFERENCE = "SENSITIVE_INFERENCE"
_KEEP_SNAPSHOT = "INSERT INTO snapshot_members (tenant, snapshot, members) VALUES (%s, %s, %s)"
_SNAPSHOT = "SELECT members FROM snapshot_members WHERE tenant = %s AND snapshot = %s"
_PAGE = 500
_POSITION = "SELECT messages FROM intake WHERE tenant = %s"


def lock(rows: sa.Connection, tenant: str, now: datetime, messages: int = 0) -> None:
    """Be the only one to change this tenant's sets until the transaction ends; `messages` are taken in by it."""
    sql.run(rows, _LOCK, tenant, messages, now)


def input_position(rows: sa.Connection, tenant: str) -> int:
    """How many messages of other services have had their effect."""
    found = sql.fetch(rows, _POSITION, tenant)
    return int(found[0][0]) if found else 0


def everybody(rows: sa.Connection, tenant: str) -> BitMap:
    """All canonical customers."""
    return BitMap.union(*bitmaps.load(rows, tenant, (bitmaps.KNOWN, bitmaps.ANONYMOUS)).values())


def snapshot(rows: sa.Connection, tenant: str, id: UUID) -> BitMap | None:
    """The members of a snapshot."""
    found = sql.fetch(rows, _SNAPSHOT, tenant, id)
    return bitmaps.unpack(found[0][0]) if found else None


class PostgresAudiences(PostgresLayers, PostgresAnalyses):
    """`Audiences` in the transaction of a unit of work."""

    def __init__(self) -> None:
        self._live = LiveSegments()

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
        self.follow(work, tags, Touched(everything=BitMap(others)), lambda ordinal: MembershipCause.EVENT)

    def follow(self, work: UnitOfWork, tags: Mapping[str, Change], touched: Touched, cause: Cause) -> None:
        """Change who has which tag, and with that and all that is `touched` the live segments."""
        rows, tenant = work.rows, work.context.tenant
        bitmaps.change(rows, tenant, {bitmaps.of_tag(tag): it for tag, it in tags.items()})
        for tag, it in tags.items():
            touched.add(f"tag:{tag.partition('=')[0]}", it.add | it.remove)
        if touched.all:
            follow(work, self.live(work), touched, cause)

    def live(self, work: UnitOfWork) -> list[Live]:
        """The segments that are kept up to date."""
        return self._live.of(work.rows, work.context.tenant)

    def follow_due(self, work: UnitOfWork) -> None:
        rows, tenant = work.rows, work.context.tenant
        live = self.live(work)
        pairs = dues.due(rows, tenant, work.now, _PAGE)
        for it in dues.rounds(pairs):
            touched = Touched({f"this:{segment}": ordinals for segment, ordinals in it.segments.items()})
            follow(work, live, touched, lambda ordinal: MembershipCause.TIME, it.at)
        if len(pairs) == _PAGE:
            dues.look_again_now(work)

    def recount(self, work: UnitOfWork) -> None:
        live, who = self.live(work), everybody(work.rows, work.context.tenant)
        touched = Touched({f"this:{it.listing.id}": BitMap(who) for it in live})
        follow(work, live, touched, lambda ordinal: MembershipCause.BACKFILL)

    def look_at(self, work: UnitOfWork, suspects: Mapping[UUID, BitMap], cause: MembershipCause) -> int:
        found = refreshing.not_due(work.rows, work.context.tenant, suspects, work.now)
        touched = Touched({f"this:{segment}": who for segment, who in found.items()})
        changes = follow(work, self.live(work), touched, lambda ordinal: cause)
        return sum(len(it.add) + len(it.remove) for segment, it in changes.items() if segment in suspects)

    def paced(self, work: UnitOfWork) -> dict[UUID, Refresh]:
        return {it.listing.id: it.listing.refresh for it in self.live(work) if not it.listing.refresh.realtime}

    def depth(self, work: UnitOfWork, segment: UUID) -> int:
        found: dict[UUID, int] = {}
        for it in self.live(work):
            found[it.listing.id] = max((found[part] + 1 for part in it.reads.segments & found.keys()), default=0)
        return found.get(segment, 0)

    def keep_settings(self, work: UnitOfWork, time_zone: str, currency: str) -> None:
        settings.keep(work.rows, work.context.tenant, time_zone, currency)

    def note_holders(self, work: UnitOfWork, given: Iterable[tuple[str, UUID]]) -> None:
        tag_holders.note(work.rows, work.context.tenant, given)

    def vocabulary(self, work: UnitOfWork) -> Vocabulary:
        return vocabularies.vocabulary(work.rows, work.context.tenant)

    def holders(self, work: UnitOfWork, tag: str, after: UUID | None, limit: int) -> list[UUID]:
        return tag_holders.after(work.rows, work.context.tenant, tag, after, limit)

    def tag_users(self, work: UnitOfWork, tag: str) -> set[str]:
        return segments.users_of(work.rows, work.context.tenant, tag)

    def kept(self, work: UnitOfWork, ids: Iterable[UUID]) -> dict[UUID, BitMap]:
        names = {id: bitmaps.of_segment(id) for id in ids}
        found = bitmaps.load(work.rows, work.context.tenant, names.values())
        return {id: found[name] for id, name in names.items()}

    def told(self, work: UnitOfWork, tag: str) -> dict[str, BitMap]:
        prefix = bitmaps.of_tag(said(tag, ""))
        found = bitmaps.starting_with(work.rows, work.context.tenant, prefix)
        return {name.removeprefix(prefix): members for name, members in found.items()}

    def members(self, work: UnitOfWork, snapshot_id: UUID) -> BitMap:
        return snapshot(work.rows, work.context.tenant, snapshot_id) or BitMap()

    def by_ordinal(self, work: UnitOfWork, ordinals: Iterable[int]) -> list[tuple[int, UUID, bool]]:
        return directory.nodes_by_ordinal(work.rows, work.context.tenant, ordinals)

    def keep_segment(self, work: UnitOfWork, id: UUID, segment: Segment) -> None:
        rows, tenant = work.rows, work.context.tenant
        segments.keep(rows, tenant, id, segment)
        dues.forget(rows, tenant, id)
        cause = MembershipCause.BACKFILL if segment.revision == 1 else MembershipCause.EDIT
        if segment.archived:
            name = bitmaps.of_segment(id)
            self._change_lists(work, {id: Change(BitMap(), bitmaps.load(rows, tenant, (name,))[name])}, cause)
        elif segment.definition.live:
            touched = Touched({f"this:{id}": everybody(rows, tenant)})
            if not touched.all:  # nobody is looked at then, who would tell what is not found
                self.count(work, segment.definition, segment.universe)
            follow(work, self.live(work), touched, lambda ordinal: cause)

    def used_by(self, work: UnitOfWork, segment: UUID) -> list[UUID]:
        return [it.listing.id for it in self.live(work) if segment in it.reads.segments]

    def move_listed(self, work: UnitOfWork, arrivals: Arrivals) -> None:
        """Each customer with other nodes than before is in the static segments that list one of them; who is gone, in none.

        No node comes from elsewhere, so that no segment but those that list one of them now can have changed.
        """
        rows, tenant, ordinal_of = work.rows, work.context.tenant, arrivals.ordinals
        found = segments.listed_anywhere(rows, tenant, arrivals.regrouped)
        concerned = BitMap(ordinal_of[it] for it in (*arrivals.regrouped, *arrivals.gone))
        changes = {}
        for segment, customers in found.items():
            members = BitMap(ordinal_of[it] for it in customers)
            changes[segment] = Change(members, concerned - members)
        self._change_lists(work, changes, MembershipCause.MERGE)

    def _change_lists(self, work: UnitOfWork, changes: Mapping[UUID, Change], cause: MembershipCause) -> None:
        """Change the members of segments that are kept as lists, and the live segments made of them."""
        if not changes:
            return
        rows, tenant = work.rows, work.context.tenant
        listings = segments.get(rows, tenant, changes)
        sets = segments.Sets(rows, tenant, BitMap.union(BitMap(), *(part for it in changes.values() for part in it)))
        real: dict[UUID, Change] = {}
        touched = Touched()
        for id, it in changes.items():
            before = sets.kept(id)
            real[id] = Change(it.add - before, it.remove & before)
            if real[id].add or real[id].remove:
                touched.add(f"segment:{id}", real[id].add | real[id].remove)
        apply(
            work,
            real,
            {id: it.revision for id, it in listings.items()},
            lambda ordinal: cause,
            lambda ordinal: work.now,
        )
        follow(work, self.live(work), touched, lambda ordinal: cause)

    def listed(self, work: UnitOfWork, segment: UUID, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
        return segments.listed(work.rows, work.context.tenant, segment, customers)

    def keep_listed(
        self, work: UnitOfWork, segment: UUID, added: Sequence[Customer], removed: Sequence[tuple[UUID, Customer]]
    ) -> None:
        rows, tenant = work.rows, work.context.tenant
        segments.list_nodes(rows, tenant, segment, (it.id for it in added))
        segments.unlist_nodes(rows, tenant, segment, (node for node, _ in removed))
        change = Change(BitMap(it.ordinal for it in added), BitMap(it.ordinal for _, it in removed))
        self._change_lists(work, {segment: change}, MembershipCause.EDIT)

    def size(self, work: UnitOfWork, segment: UUID) -> int:
        return len(segments.Sets(work.rows, work.context.tenant).segment(segment))

    def count(self, work: UnitOfWork, definition: Definition, universe: Universe) -> int:
        return len(segments.Sets(work.rows, work.context.tenant, at=work.now).of(definition, universe))

    def freeze(self, work: UnitOfWork, segment: UUID, snapshot: UUID) -> tuple[int, str]:
        rows, tenant = work.rows, work.context.tenant
        members = segments.Sets(rows, tenant).segment(segment)
        packed = bitmaps.pack(members)
        sql.run(rows, _KEEP_SNAPSHOT, tenant, snapshot, packed)
        return len(members), hashlib.sha256(packed).hexdigest()

    def last_run(self, work: UnitOfWork, model: str) -> KeptRun | None:
        return model_runs.last(work.rows, work.context.tenant, model)

    def keep_run(self, work: UnitOfWork, run: RunRows) -> None:
        rows, tenant = work.rows, work.context.tenant
        model_runs.keep(rows, tenant, run)
        self._follow_model(work, run.model)

    def keep_value_run(self, work: UnitOfWork, run: ValueRows) -> None:
        value_runs.keep(work.rows, work.context.tenant, run)

    def keep_layers(self, work: UnitOfWork, run: LayerRows) -> None:
        model_runs.keep_layers(work.rows, work.context.tenant, run)
        self._follow_model(work, run.model)

    def follow_layers(self, work: UnitOfWork, moved: Mapping[str, BitMap], cause: MembershipCause) -> None:
        if moved:
            touched = Touched({f"model:{model}": who for model, who in moved.items()})
            follow(work, self.live(work), touched, lambda ordinal: cause)

    def _follow_model(self, work: UnitOfWork, model: str) -> None:
        """Bring segments in line with another run."""
        if any(model in it.reads.models for it in self.live(work)):
            touched = Touched({f"model:{model}": everybody(work.rows, work.context.tenant)})
            follow(work, self.live(work), touched, lambda ordinal: MembershipCause.EVENT)
