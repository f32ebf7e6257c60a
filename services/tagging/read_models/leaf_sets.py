"""For whom of all customers a leaf holds that follows from facts (spec TG-4): one statement for each leaf, answers as bitmaps.

Figures, attributes and groups are worked out by the database. Of sequences, streaks and absences, relations and consents it finds
the facts, and the domain decides.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import (
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    HasConsent,
    InFlow,
    InGroup,
    Leaf,
    LookedUp,
    OrderTest,
    Reachable,
    RelatedTo,
    Streak,
    Succession,
    Tie,
)
from services.tagging.domain.conditions.comparing import tester
from services.tagging.domain.conditions.dimensions import CREATED_DAYS, KNOWN, KNOWN_DAYS, OF_MEMBERSHIP, meaning
from services.tagging.domain.conditions.evaluation import Customer
from services.tagging.domain.history import Behaviour, History
from services.tagging.domain.profile import (
    PRESET,
    TEXT,
    AttributeDefinition,
    Consent,
    FollowUp,
    GuideWord,
    agreed,
    guide_of,
)
from services.tagging.read_models import dealing_sql, directory, leaf_sql, order_sql, referrals, settings, sql
from services.tagging.read_models.histories import definitions_of
from services.tagging.read_models.leaf_sql import AsOf
from services.tagging.read_models.moving import moving

_NOBODY: Final = UUID(int=0)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OF_NODES: Final = (
    "SELECT c.ordinal, {columns} FROM {table} t JOIN nodes n ON n.tenant = t.tenant AND n.node = t.node AND NOT n.erased"
    " JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer WHERE t.tenant = %s AND {test}"
)
_GUIDES: Final = _OF_NODES.format(
    columns="t.node, t.said_at, t.kind, t.staff, t.store, t.beside", table="guide_words", test="true"
)
_FOLLOW_UPS: Final = _OF_NODES.format(columns="t.node, t.staff, t.followed_at", table="follow_ups", test="true")
_CONSENTS: Final = _OF_NODES.format(
    columns="t.node, t.purpose, t.channel, t.state, t.made_at, t.beside", table="consents", test="t.purpose = %s"
)


class LeafSets:
    """The sets of leaves as of an instant; each is worked out once."""

    def __init__(self, rows: sa.Connection, when: AsOf) -> None:
        self._rows = rows
        self._when = when
        self._found: dict[Leaf, BitMap] = {}

    def leaf(self, leaf: Leaf, everybody: BitMap) -> BitMap:
        """Those of `everybody` for whom a leaf holds that is about facts."""
        leaf = meaning(leaf)
        found = self._found.get(leaf)
        if found is None:
            found = self._found[leaf] = self._find(leaf, everybody)
        return found & everybody

    def moving(self, leaves: Iterable[Leaf]) -> dict[int, datetime]:
        """Whom the passing of time can move by one of `leaves`, and when at the earliest."""
        found: dict[int, datetime] = {}
        for leaf in set(leaves):
            for it in moving(leaf, self._when):
                for ordinal, first, coming in sql.fetch(self._rows, it.statement.text, *it.statement.values):
                    at = it.at(first, coming)
                    if at is not None and (ordinal not in found or at < found[ordinal]):
                        found[ordinal] = at
        return found

    def _find(self, leaf: Leaf, everybody: BitMap) -> BitMap:
        match leaf:
            case EventTest():
                return self._ask(leaf_sql.of_events(leaf, self._when), everybody)
            case OrderTest():
                return self._ask(order_sql.of_orders(leaf, self._when), everybody)
            case InGroup():
                return self._ask(leaf_sql.of_groups(leaf, self._when), everybody)
            case Reachable() | InFlow() | Delivered():
                return self._ask(dealing_sql.of_dealings(leaf, self._when), everybody)
            case AttributeTest():
                return self._ask(self._of_attribute(leaf), everybody)
            case Absence() | Succession() | Streak():
                return self._by_behaviours(leaf)
            case RelatedTo(Tie.REFERRER):
                return self._referred(leaf, everybody)
            case RelatedTo():
                return self._related(leaf, everybody)
            case HasConsent(purpose):
                return self._consenting(purpose)
        raise TypeError(f"{type(leaf).__name__} is not about facts")

    def _ask(self, found: leaf_sql.LeafSql, everybody: BitMap) -> BitMap:
        text, values = found.statement
        ordinals = BitMap([ordinal for (ordinal,) in sql.fetch(self._rows, text, *values)])
        return everybody - ordinals if found.of_nothing else ordinals

    def _of_attribute(self, leaf: AttributeTest) -> leaf_sql.LeafSql:
        match leaf.key:
            case key if key == KNOWN:
                return leaf_sql.known(leaf.comparison, self._when)
            case key if key in (KNOWN_DAYS, CREATED_DAYS):
                column = "known_at" if key == KNOWN_DAYS else "created_at"
                return leaf_sql.since(column, leaf.comparison, self._when)
        if leaf.key in OF_MEMBERSHIP:
            return dealing_sql.of_membership(leaf.key, leaf.comparison, self._when)
        own = definitions_of(self._rows, self._when.tenant)
        definition = own.get(leaf.key) or PRESET.get(leaf.key) or AttributeDefinition(leaf.key, TEXT, "")
        return leaf_sql.of_attribute(leaf.comparison, leaf.key, definition, self._when)

    def _by_behaviours(self, leaf: Absence | Succession | Streak) -> BitMap:
        text, values = leaf_sql.behaviours_of(leaf, self._when)
        behaviours: defaultdict[int, list[Behaviour]] = defaultdict(list)
        for ordinal, *behaviour, properties in sql.fetch(self._rows, text, *values):
            behaviours[ordinal].append(Behaviour._make((*behaviour, properties or {})))
        return BitMap(
            ordinal
            for ordinal, theirs in behaviours.items()
            if _alone(History(_NOBODY, behaviours=theirs), self._when).leaf_holds(leaf, self._when.at)
        )

    def _related(self, leaf: RelatedTo, everybody: BitMap) -> BitMap:
        words = self._by_ordinal(sql.fetch(self._rows, _GUIDES, self._when.tenant))
        follow_ups = self._by_ordinal(sql.fetch(self._rows, _FOLLOW_UPS, self._when.tenant))
        test = tester(leaf.comparison)
        found, others = BitMap(), BitMap()
        for ordinal, theirs in words.items():
            guide = guide_of((GuideWord(*it) for it in theirs), (FollowUp(*it) for it in follow_ups.get(ordinal, ())))
            staff, store = guide or (None, None)
            related = {"guide": staff, "store": store}.get(leaf.tie)
            (found if test(str(related) if related else None) else others).add(ordinal)
        return everybody - others if test(None) else found

    def _referred(self, leaf: RelatedTo, everybody: BitMap) -> BitMap:
        test, tenant = tester(leaf.comparison), self._when.tenant
        if self._when.who is None:
            who = referrals.registered(self._rows, tenant)
        else:
            who = [it.id for it in directory.by_ordinal(self._rows, tenant, self._when.who)]
        referrers = referrals.referrer_of(self._rows, tenant, who)
        found, others = BitMap(), BitMap()
        for it in directory.canonical(self._rows, tenant, referrers).values():
            (found if test(str(referrers[it.id])) else others).add(it.ordinal)
        return everybody - others if test(None) else found

    def _consenting(self, purpose: str) -> BitMap:
        word = purpose.partition("/")[0]
        said = self._by_ordinal(sql.fetch(self._rows, _CONSENTS, self._when.tenant, word))
        return BitMap(ordinal for ordinal, theirs in said.items() if purpose in agreed([Consent(*it) for it in theirs]))

    @staticmethod
    def _by_ordinal(rows: Iterable[sql.Row]) -> dict[int, list[sql.Row]]:
        found: defaultdict[int, list[sql.Row]] = defaultdict(list)
        for ordinal, *row in rows:
            found[ordinal].append(tuple(row))
        return found


def as_of(rows: sa.Connection, tenant: str, at: datetime | None) -> AsOf:
    """The instant `at` by the tenant's calendar; None: the latest that anything was heard at."""
    zone, currency = settings.get(rows, tenant)
    if at is None:
        found = sql.fetch(rows, "SELECT as_of FROM intake WHERE tenant = %s", tenant)
        at = found[0][0] if found else _BEGINNING
    return AsOf(tenant, at, Calendar.of(zone), currency)


def _alone(history: History, when: AsOf) -> Customer:
    def in_no_set(leaf: LookedUp) -> bool:
        return False

    return Customer.of(history, when.calendar, in_no_set)
