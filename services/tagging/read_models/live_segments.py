"""Segments that are kept up to date (spec TG-6): a change of facts, tags or sets reaches those that read it, for the customers it is about.

A change is told by *subjects*, such as "event:checkin", "attribute:city", "tag:vip" or "segment:<id>", each with the ordinals it
concerns. A definition is looked at for the ordinals of the subjects it reads. Segments that others are made of come first, and what
changes in them is a subject of its own. Few customers are looked at one by one with their histories, many by statements on whole sets.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial, reduce
from graphlib import TopologicalSorter
from operator import or_
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Change
from services.tagging.domain.conditions import Leaf, LookedUp, Tie, Universe
from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.needs import needs
from services.tagging.domain.conditions.reads import Reads, reads
from services.tagging.domain.history import NOTHING
from services.tagging.domain.history import Reads as OfHistories
from services.tagging.domain.memberships import MembershipCause, MembershipChange
from services.tagging.read_models import bitmaps, directory, dues, memberships, segments, sql
from services.tagging.read_models.histories import histories
from services.tagging.read_models.leaf_sets import as_of
from services.tagging.read_models.segments import LOOKED_UP, Listing, Sets
from services.tagging.read_models.telling_rules import tell_rules

_MANY: Final = 1000
_MOST_IN_AN_EVENT: Final = 500
"""An event is published as one message for each, all in one batch; JetStream takes 1,000 messages in one."""
_LIVE: Final = "SELECT segment, revision, xmin::text FROM segments WHERE tenant = %s AND live"
"""With the transaction it was stated in: a revision that was undone is followed by another of the same number."""


@dataclass(slots=True)
class Touched:
    """What changed: by subject, the ordinals it concerns. Those of `everything` changed in every respect, and of these the `moved`
    are other customers than before, or none any more: they alone concern segments that are not kept up in real time."""

    subjects: dict[str, BitMap] = field(default_factory=dict)
    everything: BitMap = field(default_factory=BitMap)
    moved: BitMap = field(default_factory=BitMap)

    def add(self, subject: str, ordinals: Iterable[int]) -> None:
        found = self.subjects.get(subject)
        if found is None:
            self.subjects[subject] = BitMap(ordinals)
        else:
            found.update(ordinals)

    def of(self, it: "Live") -> BitMap:
        """The ordinals a segment is to be looked at for."""
        always = self.everything if it.realtime else self.moved
        return BitMap.union(always, *(self.subjects[one] for one in it.subjects if one in self.subjects))

    def concerns(self, it: "Live") -> bool:
        """Whether a segment is to be looked at for anybody."""
        return bool(self.everything if it.realtime else self.moved) or not it.subjects.isdisjoint(self.subjects)

    @property
    def all(self) -> BitMap:
        return BitMap.union(self.everything, *self.subjects.values())


class Live(NamedTuple):
    """A segment that is kept up to date, the subjects it reads (with a pace of its own none but itself), and what it `needs` of
    histories, where it looks at them at all."""

    listing: Listing
    reads: Reads
    subjects: frozenset[str]
    needs: OfHistories
    of_facts: bool

    @property
    def realtime(self) -> bool:
        return self.listing.refresh.realtime


class LiveSegments:
    """The live segments of all tenants, each in the order in which they are to be looked at; read again when one has changed."""

    def __init__(self) -> None:
        self._stated: dict[str, dict[UUID, tuple[int, str]]] = {}
        self._live: dict[str, list[Live]] = {}

    def of(self, rows: sa.Connection, tenant: str) -> list[Live]:
        stated = {id: (revision, by) for id, revision, by in sql.fetch(rows, _LIVE, tenant)}
        before = self._stated.get(tenant, {})
        if stated != before:
            kept = [
                it.listing for it in self._live.get(tenant, ()) if before[it.listing.id] == stated.get(it.listing.id)
            ]
            news = segments.get(rows, tenant, stated.keys() - {it.id for it in kept})
            self._live[tenant] = _in_order([*kept, *news.values()])
            self._stated[tenant] = stated
        return self._live.get(tenant, []) if stated else []


def _in_order(listings: Iterable[Listing]) -> list[Live]:
    found = {it.id: _live(it) for it in listings}
    order = TopologicalSorter({id: it.reads.segments & found.keys() for id, it in sorted(found.items())})
    return [found[id] for id in order.static_order()]


def _live(listing: Listing) -> Live:
    leaves = list(listing.definition.leaves())
    read = reads(leaves)
    return Live(listing, read, _subjects(listing, read), needs(leaves), read.history)


def _subjects(it: Listing, read: Reads) -> frozenset[str]:
    """`this:` is the definition itself."""
    if not it.refresh.realtime:
        return frozenset({f"this:{it.id}"})
    several = {
        "event:": read.event_types,
        "category:": read.categories,
        "attribute:": read.attributes,
        "tag:": read.tags,
        "model:": read.models,
        "segment:": read.segments,
        "this:": (it.id,),
    }
    single = {
        "events": read.any_event,
        "orders": read.orders,
        "ties": bool(read.ties - {Tie.REFERRER}),
        Tie.REFERRER: Tie.REFERRER in read.ties,
        "groups": bool(read.groups),
        "consents": bool(read.consents),
        "identity": read.identity,
        "membership": read.membership,
        "reach": read.reach,
        "flows": read.flows,
        "deliveries": read.deliveries,
    }
    named = {f"{prefix}{it}" for prefix, names in several.items() for it in names}
    return frozenset(named | {it for it, is_read in single.items() if is_read})


Cause = Callable[[int], MembershipCause]
"""Why the segments of a customer change, by its ordinal."""

When = Callable[[int], datetime]
"""When they do, by its ordinal."""


def follow(
    work: UnitOfWork, live: Iterable[Live], touched: Touched, cause: Cause, at: When | None = None
) -> Mapping[UUID, Change]:
    """Bring live segments in line with what is `touched`; tells who came and went, at `at` or now, and returns it by segment."""
    several = list(live)
    if not any(map(touched.concerns, several)):
        return {}
    return _Following(work, several, touched, cause).follow(at or (lambda ordinal: work.now))


class _Following:
    """One change on its way through the segments."""

    def __init__(self, work: UnitOfWork, live: Sequence[Live], touched: Touched, cause: Cause) -> None:
        self._work = work
        self._rows, self._tenant = work.rows, work.context.tenant
        self._live = live
        self._needs = reduce(or_, (it.needs for it in live), NOTHING)
        self._touched = touched
        self._cause = cause
        self._when = as_of(self._rows, self._tenant, work.now)
        self._sets = Sets(self._rows, self._tenant, touched.all, work.now)
        self._looked_up: dict[UUID, BitMap] = {}
        self._customers: dict[int, Customer] = {}
        self._one_by_one: dict[Leaf, tuple[BitMap, BitMap]] = {}
        self._changes: dict[UUID, Change] = {}
        self._dues: dict[UUID, tuple[BitMap, dict[int, datetime]]] = {}

    def follow(self, at: When) -> Mapping[UUID, Change]:
        self._look_up()
        for it in self._live:
            who = self._touched.of(it)
            if who:
                self._follow_one(it, who)
        dues.keep(self._work, self._dues)
        apply(self._work, self._changes, {it.listing.id: it.listing.revision for it in self._live}, self._cause, at)
        return self._changes

    def _look_up(self) -> None:
        """Read what will be needed of the definitions that are touched to begin with, at once: their sets, the histories of their few."""
        concerned = [(it, who) for it in self._live if (who := self._touched.of(it))]
        self._looked_up = {it.listing.id: who for it, who in concerned}
        self._sets.look_up((it.listing.definition, it.listing.id, who) for it, who in concerned)
        few = BitMap.union(BitMap(), *(who for it, who in concerned if it.of_facts and len(who) <= _MANY))
        self._load(few & self._sets.universe(Universe.ALL))

    def _follow_one(self, it: Live, who: BitMap) -> None:
        id, listing, many = it.listing.id, it.listing, len(who) > _MANY
        if who != self._looked_up.get(id):
            self._sets.look_up([(listing.definition, id, who)])
        theirs = who & self._sets.universe(listing.universe)
        if it.of_facts and not many:
            self._load(theirs)
        found = theirs & self._sets.of(listing.definition, listing.universe, None if many else self._leaf_of(theirs))
        before = self._sets.replace(id, found, who)
        change = Change(found - before, before - found)
        if change.add or change.remove:
            self._changes[id] = change
            self._touched.add(f"segment:{id}", change.add | change.remove)
        timed = it.of_facts and it.realtime
        if timed and many:
            self._look_later(listing, theirs)
        elif timed and (it.reads.clock or self._is_due(id) or self._ahead(theirs)):
            self._set_dues(it, who, theirs)

    def _leaf_of(self, theirs: BitMap) -> Callable[[Leaf], BitMap]:
        """The customers among `theirs` for whom a leaf holds, by their histories; nobody is asked twice."""

        def leaf(leaf: Leaf) -> BitMap:
            if isinstance(leaf, LOOKED_UP):
                return self._sets.leaf(leaf)
            asked, holds = self._one_by_one.get(leaf) or (BitMap(), BitMap())
            new = theirs - asked
            holds |= BitMap(it for it in new if self._customers[it].leaf_holds(leaf, self._when.at))
            self._one_by_one[leaf] = (asked | new, holds)
            return holds

        return leaf

    def _load(self, who: BitMap) -> None:
        missing = who - BitMap(self._customers)
        if not missing:
            return
        ordinal_of = {it.id: it.ordinal for it in directory.by_ordinal(self._rows, self._tenant, missing)}
        found = histories(self._rows, self._tenant, ordinal_of, self._needs)
        for id, history in found.items():
            ordinal = ordinal_of[id]
            is_in = partial(
                _is_in, self._sets, ordinal
            )  # without `self`: histories in a cycle would wait for the garbage collector
            self._customers[ordinal] = Customer.of(history, self._when.calendar, is_in)

    def _ahead(self, theirs: BitMap) -> bool:
        """Whether anything is known of one of these customers that, by the clock of who told it, has not happened yet."""
        now = self._when.at
        for it in theirs:
            history = self._customers[it].facts.history
            done = any(facts and facts[-1].at > now for facts in (history.behaviours, history.purchases))
            if done or history.dealings.after(now):
                return True
        return any((since := self._customers[it].facts.history.known_since) and since > now for it in theirs)

    def _is_due(self, id: UUID) -> bool:
        """Whether customers are looked at for the definition's own sake, such as when they are due for it."""
        return f"this:{id}" in self._touched.subjects

    def _look_later(self, listing: Listing, theirs: BitMap) -> None:
        moving = self._sets.moving(listing.definition.leaves())
        dues.keep_many(self._work, listing.id, {one: at for one, at in moving.items() if one in theirs})

    def _set_dues(self, it: Live, who: BitMap, theirs: BitMap) -> None:
        condition = it.listing.definition.condition
        assert condition is not None  # noqa: S101 - operations are on sets, which no time changes
        self._load(theirs)
        found = {one: next_change(condition, self._customers[one], self._when.at) for one in theirs}
        self._dues[it.listing.id] = (who, {one: due for one, due in found.items() if due is not None})


def _is_in(sets: Sets, ordinal: int, leaf: LookedUp) -> bool:
    return ordinal in sets.leaf(leaf)


def apply(
    work: UnitOfWork, changes: Mapping[UUID, Change], revisions: Mapping[UUID, int], cause: Cause, when: When
) -> None:
    """Let customers come into segments and go out of them, and tell it."""
    rows, tenant = work.rows, work.context.tenant
    wanted = {id: it for id, it in changes.items() if it.add or it.remove}
    if not wanted:
        return
    bitmaps.change(rows, tenant, {bitmaps.of_segment(id): it for id, it in wanted.items()})
    numbers = memberships.last_numbers(rows, tenant, wanted)
    who = BitMap.union(*(part for it in wanted.values() for part in it))
    ids = {it.ordinal: it.id for it in directory.by_ordinal(rows, tenant, who)}
    tell_rules(work, wanted, cause)
    moves: list[memberships.Moves] = []
    for segment, change in wanted.items():
        portions = list(_together(change, ids, cause, when))
        for place, (at, why, entered, exited) in enumerate(portions, 1):
            size = None
            if place == len(portions) and why in (MembershipCause.EDIT, MembershipCause.BACKFILL):
                name = bitmaps.of_segment(segment)
                size = len(bitmaps.load(rows, tenant, (name,))[name])
            numbers[segment] += 1
            number, revision = numbers[segment], revisions[segment]
            moves.append(memberships.Moves(segment, number, at, why, entered, exited))
            work.add(MembershipChange(work.new_id(), tenant, segment, revision, number, why, entered, exited, size, at))
    memberships.keep(rows, tenant, moves)


def _together(
    change: Change, ids: Mapping[int, UUID], cause: Cause, when: When
) -> Iterable[tuple[datetime, MembershipCause, tuple[UUID, ...], tuple[UUID, ...]]]:
    """Who came and who went at each instant and for each reason, the earliest first, in portions of the size of an event."""
    moves: dict[tuple[datetime, MembershipCause], list[tuple[UUID, bool]]] = {}
    for ordinals, entered in ((change.add, True), (change.remove, False)):
        for it in ordinals:
            if it in ids:
                moves.setdefault((when(it), cause(it)), []).append((ids[it], entered))
    for (at, why), all_moves in sorted(moves.items()):
        for start in range(0, len(all_moves), _MOST_IN_AN_EVENT):
            some = all_moves[start : start + _MOST_IN_AN_EVENT]
            came, went = ([id for id, entered in some if entered is way] for way in (True, False))
            yield at, why, tuple(came), tuple(went)
