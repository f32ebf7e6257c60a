"""What decides about the tags of customers: what was said of each of their nodes, exclusions, and consents."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.ports import Audiences, Change
from services.tagging.domain.claims import Cause, Standing
from services.tagging.domain.tags import CustomerTags, tags_id
from services.tagging.domain.taxonomy import Taxonomy, taxonomy_id

FOLLOW_RULE = "follow_rule"
"""Kind of the timers that bring the tags of a rule in line with whom it means."""
SETTLE_TAGS = "settle_tags"
"""Kind of the timers that come due when an assignment expires, or does not outrank another one any more."""

Changes = dict[str, Change]
"""Who comes into and goes out of which set; named by the tag, or by tag=value."""


def change(changes: Changes, name: str) -> Change:
    """The change of one set out of `changes`, made where there is none."""
    return changes.setdefault(name, Change(BitMap(), BitMap()))


def both(first: Changes, second: Changes) -> Changes:
    """One after the other, as one."""
    result = {name: Change(BitMap(it.add), BitMap(it.remove)) for name, it in first.items()}
    for name, it in second.items():
        old = change(result, name)
        result[name] = Change((old.add - it.remove) | it.add, (old.remove - it.add) | it.remove)
    return result


@dataclass(slots=True)
class Case:
    """A customer whose tags are at hand, to be changed; `parts` are the tags of its other nodes."""

    ordinal: int
    tags: CustomerTags
    parts: list[CustomerTags]
    barred: Callable[[str], bool]
    now: datetime
    sets: set[str]
    due: datetime | None = None

    @property
    def standing(self) -> Standing:
        """As it is now, with what was changed meanwhile."""
        excluded: dict[str, datetime] = {}
        for it in (self.tags, *self.parts):
            for tag, until in it.excluded.items():
                excluded[tag] = max(until, excluded.get(tag, until))
        others = tuple(claim for it in self.parts for claim in it.given())
        return Standing(self.now, others, excluded, self.barred)


def taxonomy_of(work: UnitOfWork) -> Taxonomy | None:
    """What the tenant defined, if anything."""
    return work.find(Taxonomy, taxonomy_id(work.context.tenant))


def cases(work: UnitOfWork, audiences: Audiences, ordinal_of: Mapping[UUID, int]) -> dict[UUID, Case]:
    """The customers of `ordinal_of` with all that is said of their nodes; two queries at the most."""
    tenant = work.context.tenant
    nodes = audiences.nodes_of(work, ordinal_of)
    everybody = dict.fromkeys(node for customer in ordinal_of for node in (customer, *nodes.get(customer, ())))
    found = {it.customer: it for it in work.find_all(CustomerTags, [tags_id(tenant, it) for it in everybody]).values()}
    barred = _barred(work, audiences, ordinal_of)
    result: dict[UUID, Case] = {}
    for customer, ordinal in ordinal_of.items():
        tags = found.get(customer) or CustomerTags.open(tenant, customer)
        parts = [found[it] for it in nodes.get(customer, ()) if it != customer and it in found]
        it = Case(ordinal, tags, parts, barred(customer), work.now, tags.sets())
        it.due = tags.due(it.standing)
        result[customer] = it
    return result


def conclude(work: UnitOfWork, done: Iterable[Case], *, fired: bool = False) -> Changes:
    """Keep what was changed of these cases, with the timers it needs; who comes into and goes out of which set.

    `fired`: it was by their timers that they came to hand.
    """
    changes: Changes = {}
    for it in done:
        if not it.tags.pending_events and not fired:
            continue
        if it.tags.assignments or it.tags.claims or it.sets:
            work.add(it.tags)
        _noted(changes, it)
        due = it.tags.due(it.standing)
        if due != it.due or fired:
            _set_timer(work, it.tags.customer, due)
    return changes


def consents_changed(work: UnitOfWork, audiences: Audiences, ordinal_of: Mapping[UUID, int]) -> Changes:
    """Take sensitive tags from those who do not agree any more, with all that was given; who goes out of which set."""
    taxonomy = taxonomy_of(work)
    if taxonomy is None or not any(map(taxonomy.bars, taxonomy.tags)):
        return {}
    found = cases(work, audiences, ordinal_of)
    for it in found.values():
        it.tags.settle(Cause.CONSENT, it.standing)
        for part in (it.tags, *it.parts):
            for claim in [one for one in part.given() if it.barred(one.tag)]:
                part.withdraw(claim.key, work.now, claim.origin)
    return conclude(work, found.values())


class Tally(NamedTuple):
    """What it has come to so far to look at everybody for a rule, since when; `drift` as in RuleEvaluation."""

    since: datetime
    entered: int = 0
    exited: int = 0
    drift: int = 0

    @classmethod
    def read(cls, payload: Mapping[str, Any]) -> "Tally | None":
        """Out of the payload of a timer."""
        found = payload.get("tally")
        return cls(datetime.fromisoformat(found[0]), *found[1:]) if found else None

    @property
    def payload(self) -> dict[str, Any]:
        return {"tally": (self.since.isoformat(), *self[1:])}

    def took_ms(self, now: datetime) -> int:
        return (now - self.since) // timedelta(milliseconds=1)


def follow_later(work: UnitOfWork, tag: str, cause: Cause, *, at: datetime | None = None, after: int = -1) -> None:
    """Have the rule of a tag followed at an instant, or as soon as this is committed; from the ordinal behind `after` on."""
    key = f"{tag}:{after}" if at is None else f"{tag}:later"
    work.schedule(Timer(FOLLOW_RULE, key, at or work.now, {"tag": tag, "cause": str(cause), "after": after}))


def evaluate_later(work: UnitOfWork, tag: str, cause: Cause, tally: Tally, after: int = -1) -> None:
    """Have the rule of a tag followed through everybody as soon as this is committed, and told what it came to."""
    payload = {"tag": tag, "cause": str(cause), "after": after, **tally.payload}
    work.schedule(Timer(FOLLOW_RULE, f"{tag}:everybody:{after}", work.now, payload))


def _noted(changes: Changes, it: Case) -> None:
    sets = it.tags.sets()
    for name in sets - it.sets:
        change(changes, name).add.add(it.ordinal)
    for name in it.sets - sets:
        change(changes, name).remove.add(it.ordinal)


def _set_timer(work: UnitOfWork, customer: UUID, due: datetime | None) -> None:
    if due is None:
        work.unschedule(SETTLE_TAGS, str(customer))
    else:
        work.schedule(Timer(SETTLE_TAGS, str(customer), due, {"customer": str(customer)}))


def _barred(
    work: UnitOfWork, audiences: Audiences, customers: Iterable[UUID]
) -> Callable[[UUID], Callable[[str], bool]]:
    """Which tags a customer may not have: sensitive ones without consent."""
    taxonomy = taxonomy_of(work)
    sensitive = frozenset(key for key in taxonomy.tags if taxonomy.bars(key)) if taxonomy else frozenset[str]()
    agreed = audiences.agreed(work, customers) if sensitive else set[UUID]()
    return lambda customer: (lambda tag: False) if customer in agreed else sensitive.__contains__
