"""A draft over the recorded past: who would have come into it and gone out of it, and when (spec TG-6); nothing is written.

Each customer is followed from one instant at which the draft may change for it to the next, never day by day. Who did nothing that a
draft about facts alone asks for is not looked at: all of them stand as one without a history does.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import (
    AttributeTest,
    Comparison,
    Condition,
    HasConsent,
    HasTag,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    LookedUp,
    Operator,
    Reachable,
    RelatedTo,
    RfmScores,
    Universe,
    all_of,
    that,
)
from services.tagging.domain.conditions.course import Span, Stand, course
from services.tagging.domain.conditions.dimensions import CREATED_DAYS, KNOWN, KNOWN_DAYS, meaning
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.conditions.facts import Facts
from services.tagging.domain.conditions.limits import cost
from services.tagging.domain.conditions.reads import Reads, reads
from services.tagging.domain.errors import RehearsalTooLarge
from services.tagging.domain.history import History
from services.tagging.domain.tag_definitions import lineage
from services.tagging.read_models import directory, settings, sql
from services.tagging.read_models.histories import histories
from services.tagging.read_models.segments import Sets

MOST_DAYS: Final = 366
MOST_COST: Final = 3_000_000
"""Of a rehearsal: the cost of the condition (see `limits`) for each customer looked at."""

SAMPLE: Final = 20
_PAGE: Final = 1000
_MOMENT: Final = timedelta(microseconds=1)
_NOBODY: Final = UUID(int=0)
_IS_KNOWN: Final = that(AttributeTest(KNOWN, Comparison.with_plain(Operator.EQ, True)))
_ACTED: Final = (
    "SELECT DISTINCT c.ordinal FROM nodes n JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer"
    " WHERE n.tenant = %(tenant)s AND NOT n.erased AND (EXISTS (SELECT FROM behaviours b WHERE b.tenant = n.tenant"
    " AND b.node = n.node AND (%(any)s OR b.type = ANY(%(types)s) OR b.category = ANY(%(categories)s)))"
    " OR %(orders)s AND EXISTS (SELECT FROM purchases p WHERE p.tenant = n.tenant AND p.node = n.node))"
)
_TAGS: Final = (
    "SELECT customer, tag_key, value, since, until FROM tag_periods"
    " WHERE tenant = %s AND customer = ANY(%s) AND tag_key = ANY(%s) ORDER BY since"
)
_SEGMENTS: Final = (
    "SELECT node, segment, changed_at, entered FROM segment_changes"
    " WHERE tenant = %s AND node = ANY(%s) AND segment = ANY(%s) ORDER BY segment, number"
)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is rehearsed, from the local day `first` to `last`, both included, and no later than `now`."""

    condition: Condition
    universe: Universe
    first: date
    last: date
    now: datetime


class Move(NamedTuple):
    """A customer would have come in, or gone out."""

    customer: UUID
    at: datetime
    entered: bool


@dataclass(slots=True)
class Rehearsal:
    """How many would have been in before the first day, who came and went on which, and some of them; `looked_at` customers were
    followed one by one."""

    before: int = 0
    looked_at: int = 0
    entered: Counter[date] = field(default_factory=Counter)
    exited: Counter[date] = field(default_factory=Counter)
    sample: list[Move] = field(default_factory=list)


def rehearse(rows: sa.Connection, tenant: str, draft: Draft) -> Rehearsal:
    """Raises RehearsalTooLarge, and what is not found that the condition names."""
    return _Rehearsing(rows, tenant, draft).all()


class _Rehearsing:
    """One draft on its way through the customers."""

    def __init__(self, rows: sa.Connection, tenant: str, draft: Draft) -> None:
        self._rows, self._tenant, self._draft = rows, tenant, draft
        self._calendar = Calendar.of(settings.get(rows, tenant)[0])
        begin = self._calendar.midnight(draft.first.toordinal())
        end = min(self._calendar.midnight(draft.last.toordinal() + 1), draft.now + _MOMENT)
        self._span = Span(begin - _MOMENT, max(end, begin))
        self._sets = Sets(rows, tenant)
        self._reads = reads(draft.condition.leaves())
        self._found = Rehearsal()

    def all(self) -> Rehearsal:
        everybody, idle = self._sets.universe(self._draft.universe), self._idle()
        followed = everybody
        if _of_facts_alone(self._reads) and (self._draft.universe is Universe.ALL or not idle):
            followed = everybody & self._acted()
        total = len(followed) * sum(map(cost, self._draft.condition.leaves()))
        if total > MOST_COST:
            raise RehearsalTooLarge(field="definition", customers=len(followed), cost=total, limit=MOST_COST)
        self._found.before += len(everybody - followed) * idle
        self._found.looked_at = len(followed)
        for start in range(0, len(followed), _PAGE):
            self._page(followed[start : start + _PAGE])
        self._found.sample.sort(key=lambda it: (it.at, it.customer))
        return self._found

    def _acted(self) -> BitMap:
        """Who did anything that the draft asks for."""
        it = self._reads
        named = {
            "tenant": self._tenant,
            "any": it.any_event,
            "types": sorted(it.event_types),
            "categories": sorted(it.categories),
            "orders": it.orders,
        }
        return BitMap(ordinal for (ordinal,) in sql.fetch_named(self._rows, _ACTED, named))

    def _idle(self) -> bool:
        """Whether the draft holds for those who did nothing it asks for: always or never, if it asks for facts alone."""
        nobody = Customer.of(History(_NOBODY), self._calendar, lambda leaf: False)
        return nobody.holds(self._draft.condition, self._span.after)

    def _page(self, ordinals: Iterable[int]) -> None:
        ordinal_of = {it.id: it.ordinal for it in directory.by_ordinal(self._rows, self._tenant, ordinals)}
        kept = _Kept(self._rows, self._tenant, self._sets, self._draft.condition, ordinal_of)
        for who, history in histories(self._rows, self._tenant, ordinal_of).items():
            customer = kept.customer(history, self._calendar, ordinal_of[who])
            self._follow(who, course(self._condition(history), customer, self._span, kept.moves(who)))

    def _condition(self, history: History) -> Condition:
        """The draft, for somebody who is in the universe only since it is known; one of whom that is not told always was."""
        if self._draft.universe is Universe.ALL or history.known_since is None:
            return self._draft.condition
        return all_of(_IS_KNOWN, self._draft.condition)

    def _follow(self, who: UUID, stands: Iterator[Stand]) -> None:
        """Count the changes of one customer."""
        self._found.before += next(stands).holds
        for at, entered in stands:
            day = date.fromordinal(self._calendar.day(at))
            (self._found.entered if entered else self._found.exited)[day] += 1
            if len(self._found.sample) < SAMPLE:
                self._found.sample.append(Move(who, at, entered))


class _Kept:
    """The kept sets that a draft asks for, of some customers through time: tags and segments as they were told, layers and scores as
    they are now."""

    def __init__(
        self, rows: sa.Connection, tenant: str, sets: Sets, condition: Condition, customers: Collection[UUID]
    ) -> None:
        self._sets = sets
        leaves = set(condition.leaves())
        self._turns: defaultdict[UUID, defaultdict[LookedUp, list[Stand]]] = defaultdict(lambda: defaultdict(list))
        tags = [it for it in leaves if isinstance(it, HasTag)]
        found = [tenant, list(customers)]
        if tags:
            for customer, *period in sql.fetch(rows, _TAGS, *found, [it.tag for it in tags]):
                self._tagged(tags, customer, *period)
        segments = [it.segment for it in leaves if isinstance(it, InSegment)]
        if segments:
            for customer, segment, at, entered in sql.fetch(rows, _SEGMENTS, *found, segments):
                self._turns[customer][InSegment(segment)].append(Stand(at, entered))

    def moves(self, who: UUID) -> Sequence[datetime]:
        """When the customer came into one of the sets, or went out of it."""
        return sorted({it.at for turns in self._turns[who].values() for it in turns})

    def customer(self, history: History, calendar: Calendar, ordinal: int) -> Callable[[datetime], Customer]:
        """The customer at an instant; what is found of its facts is kept."""
        facts, turns = Facts(history, calendar), self._turns[history.customer]

        def at_instant(at: datetime) -> Customer:
            def is_in(leaf: LookedUp) -> bool:
                if isinstance(leaf, HasTag | InSegment):
                    return next((it.holds for it in reversed(turns[leaf]) if it.at <= at), False)
                return ordinal in self._sets.leaf(leaf)

            return Customer(facts, is_in)

        return at_instant

    def _tagged(
        self, tags: Iterable[HasTag], customer: UUID, tag: str, value: str, since: datetime, until: datetime | None
    ) -> None:
        for leaf in tags:
            if leaf.tag == tag and (leaf.value is None or leaf.value in lineage(value)):
                self._turns[customer][leaf].append(Stand(since, True))
                if until is not None:
                    self._turns[customer][leaf].append(Stand(until, False))


def as_now(condition: Condition) -> list[Leaf]:
    """The leaves of a draft that are taken as they are now at every instant, because only that is kept."""
    own = (RelatedTo, InGroup, HasConsent, Reachable, InLayer, RfmScores)
    return [
        it
        for it in dict.fromkeys(map(meaning, condition.leaves()))
        if isinstance(it, own) or (isinstance(it, AttributeTest) and it.key not in (KNOWN, KNOWN_DAYS, CREATED_DAYS))
    ]


def _of_facts_alone(it: Reads) -> bool:
    return it == Reads(it.event_types, it.categories, it.any_event, it.orders, clock=it.clock)
