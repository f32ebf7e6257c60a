"""Whom a rule would tag and whom it would let go now, without doing so (spec TG-5)."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.domain.claims import said
from services.tagging.domain.conditions import Universe
from services.tagging.domain.segments import Definition
from services.tagging.domain.tag_rules import TagRule
from services.tagging.read_models import bitmaps, directory, segments

SAMPLE: Final = 20


class Verdict(NamedTuple):
    """Whether a rule says now that a customer has its tag, and whether it would say so."""

    customer: UUID
    tagged: bool
    meant: bool


class RulePreview(NamedTuple):
    """Customers who would have the tag, of them those of whom the rule does not say so now, and those of whom it would not any
    more; some of the second, and what it would do with those who were asked about."""

    meant: int
    entering: int
    leaving: int
    sample: Sequence[UUID]
    verdicts: Sequence[Verdict] = ()


def preview(rows: sa.Connection, tenant: str, rule: TagRule, about: Collection[UUID] = ()) -> RulePreview:
    """As of the last change of facts. Raises what the conditions name and is not found."""
    sets = segments.Sets(rows, tenant)
    before = bitmaps.starting_with(rows, tenant, bitmaps.of_tag(said(rule.tag, "")))
    told = BitMap.union(BitMap(), *before.values())
    enter = [sets.of(Definition(condition=it.enter), Universe.ALL) for it in rule.cases]
    meant = BitMap.union(BitMap(), *enter)
    if rule.exit is not None:
        meant |= told - sets.of(Definition(condition=rule.exit), Universe.ALL)
    some = directory.by_ordinal(rows, tenant, (meant - told)[:SAMPLE])
    asked = {it.ordinal: it.id for it in directory.canonical(rows, tenant, about).values()} if about else {}
    verdicts = [Verdict(id, ordinal in told, ordinal in meant) for ordinal, id in sorted(asked.items())]
    return RulePreview(len(meant), len(meant - told), len(told - meant), [it.id for it in some], verdicts)
