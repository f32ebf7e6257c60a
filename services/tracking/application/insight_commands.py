"""Telling of insights: what detectors find about a customer, each of them once in 90 days, and when to look again."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.due_times import Timer, Together
from services.tracking.application.histories import History, histories
from services.tracking.application.ports import FactBook, Facts, People
from services.tracking.domain.insights import (
    GROUP_TYPES,
    OPENS,
    Finding,
    Insight,
    Kind,
    Review,
    cart_forgotten,
    churn_risk,
    insight_key,
    repeat_reader,
    repurchase_stopped,
    silent_member,
)
from services.tracking.domain.trail import Behaviour

LOOK_TIMER: Final = "insight_look"
MERGES_TIMER: Final = "merges_look"
SETTLED: Final = timedelta(minutes=1)
ABOUT_ORDERS: Final = (Kind.REPURCHASE_STOPPED, Kind.CHURN_RISK)
"""What is noticed in orders alone."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Look at the customers of some nodes again, for insights of the kind named with each."""

    these: tuple[tuple[Kind, UUID], ...]


@dataclass(frozen=True, slots=True)
class LookAfterMerges:
    """Look at the customers who these survivors of merges are now."""

    nodes: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What one detector finds about the customer of `nodes`; `node` is the one of them that was looked at."""

    kind: Kind
    node: UUID
    nodes: Sequence[UUID]
    review: Review


def look_again(command: LookAgain, work: UnitOfWork, facts: Facts) -> None:
    """What is about orders is looked up for all at once; of the rest there is next to nothing."""
    book = facts(work)
    about_orders = [it for it in command.these if it[0] in ABOUT_ORDERS]
    people = book.people({node for _, node in about_orders})
    found = histories(work, book, people, with_steps=False)
    looks = [look_at(work, found[people.of(node)], kind, node) for kind, node in about_orders]
    rest = [it for it in command.these if it[0] not in ABOUT_ORDERS]
    tell(work, [*looks, *(_look_again(work, book, kind, node) for kind, node in rest)])


def _look_again(work: UnitOfWork, book: FactBook, kind: Kind, node: UUID) -> Look:
    people = book.people([node])
    nodes = people.all_nodes
    if kind is Kind.SILENT_GROUP_MEMBER:
        return Look(kind, node, nodes, silent_member(book.behaviours(nodes, GROUP_TYPES), work.now))
    if kind is Kind.REPEAT_READER_UNREGISTERED:
        return Look(kind, node, nodes, repeat_reader(book.repeat_readers(people, OPENS)))
    [history] = histories(work, book, people).values()
    return look_at(work, history, kind, node)


def await_merges(work: UnitOfWork, survivors: Collection[UUID]) -> None:
    """Two customers who are one may be more than each: look again when the merges have reached the read model of nodes."""
    payload = {"nodes": [str(it) for it in sorted(survivors)]}
    work.schedule(Timer(MERGES_TIMER, str(work.new_id()), work.now + SETTLED, payload))


def look_after_merges(command: LookAfterMerges, work: UnitOfWork, facts: Facts) -> None:
    book = facts(work)
    people = book.people(command.nodes)
    found = histories(work, book, people, with_steps=False)
    orders = (look for history in found.values() for look in look_at_orders(work, history))
    tell(work, [*look_at_readers(book, people), *orders])


def look_at_readers(book: FactBook, people: People) -> list[Look]:
    """Who of `people` reads without having registered."""
    found: dict[UUID, list[Behaviour]] = {}
    for it in book.repeat_readers(people, OPENS):
        found.setdefault(people.of(it.node), []).append(it)
    kind, nodes = Kind.REPEAT_READER_UNREGISTERED, people.nodes
    return [Look(kind, nodes[who][0], nodes[who], repeat_reader(behaviours)) for who, behaviours in found.items()]


def look_at_orders(work: UnitOfWork, history: History) -> list[Look]:
    """What the orders of a customer show."""
    return [look_at(work, history, kind, history.nodes[0]) for kind in ABOUT_ORDERS]


def look_at(work: UnitOfWork, history: History, kind: Kind, node: UUID) -> Look:
    """What one detector finds in the steps and orders of a customer; `node` is one of the customer's."""
    return Look(kind, node, history.nodes, _DETECTORS[kind](history, work))


def tell(work: UnitOfWork, looks: Sequence[Look]) -> None:
    """Tell of findings that were not told of any of the nodes in the last 90 days; look again at the next instant that matters."""
    found = [(it, _keys(work, it, look.nodes)) for look in looks for it in look.review.findings]
    known = work.find_all(Insight, sorted({key for _, keys in found for key in keys}))
    for finding, keys in found:
        _tell(work, known, finding, keys)
    for look in looks:
        if again := look.review.again:
            payload = {"node": str(look.node), "kind": look.kind}
            work.schedule(Timer(LOOK_TIMER, f"{look.kind}/{look.node}", min(again), payload))


def _keys(work: UnitOfWork, finding: Finding, nodes: Iterable[UUID]) -> set[UUID]:
    """Where it would be known from, had it been told of any of the customer's nodes."""
    return {insight_key(work.context.tenant, node, finding) for node in (*nodes, finding.node)}


def _tell(work: UnitOfWork, known: dict[UUID, Insight], finding: Finding, keys: Collection[UUID]) -> None:
    if any(key in known and known[key].is_fresh(work.now) for key in keys):
        return
    tenant = work.context.tenant
    id = insight_key(tenant, finding.node, finding)
    if id in known:
        known[id].repeat(finding.evidence, work.now)
    else:
        evidence = dict(finding.evidence)
        known[id] = Insight(id, tenant, finding.node, finding.kind, finding.subject, evidence, work.now)
        work.add(known[id])


_DETECTORS: Final[Mapping[Kind, Callable[[History, UnitOfWork], Review]]] = {
    Kind.REPURCHASE_STOPPED: lambda it, work: repurchase_stopped(it.orders, work.now),
    Kind.CART_FORGOTTEN: lambda it, work: cart_forgotten(it.steps, it.removed, it.orders, work.now),
    Kind.CHURN_RISK: lambda it, work: churn_risk(it.orders, work.now),
}


def insight_handlers(facts: Facts) -> Handlers:
    return (
        handler(LookAgain, lambda it, work: look_again(it, work, facts)),
        handler(LookAfterMerges, lambda it, work: look_after_merges(it, work, facts)),
    )


INSIGHT_TIMERS: Final[Mapping[str, Any]] = {
    LOOK_TIMER: Together(
        lambda timers: LookAgain(tuple((Kind(it.payload["kind"]), UUID(it.payload["node"])) for it in timers))
    ),
    MERGES_TIMER: lambda timer: LookAfterMerges(tuple(map(UUID, timer.payload["nodes"]))),
}
