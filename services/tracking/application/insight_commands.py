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


def look_again(command: LookAgain, work: UnitOfWork, facts: Facts) -> None:
    """What is about orders is looked up for all at once; of the rest there is next to nothing."""
    book = facts(work)
    about_orders = [it for it in command.these if it[0] in ABOUT_ORDERS]
    people = book.people({node for _, node in about_orders})
    found = histories(work, book, people, with_steps=False)
    for kind, node in about_orders:
        look_at(work, found[people.of(node)], kind, node)
    for kind, node in command.these:
        if kind not in ABOUT_ORDERS:
            _look_again(work, book, kind, node)


def _look_again(work: UnitOfWork, book: FactBook, kind: Kind, node: UUID) -> None:
    people = book.people([node])
    nodes = people.all_nodes
    if kind is Kind.SILENT_GROUP_MEMBER:
        tell(work, kind, node, nodes, silent_member(book.behaviours(nodes, GROUP_TYPES), work.now))
    elif kind is Kind.REPEAT_READER_UNREGISTERED:
        tell(work, kind, node, nodes, repeat_reader(book.repeat_readers(people, OPENS)))
    else:
        [history] = histories(work, book, people).values()
        look_at(work, history, kind, node)


def await_merges(work: UnitOfWork, survivors: Collection[UUID]) -> None:
    """Two customers who are one may be more than each: look again when the merges have reached the read model of nodes."""
    payload = {"nodes": [str(it) for it in sorted(survivors)]}
    work.schedule(Timer(MERGES_TIMER, str(work.new_id()), work.now + SETTLED, payload))


def look_after_merges(command: LookAfterMerges, work: UnitOfWork, facts: Facts) -> None:
    book = facts(work)
    people = book.people(command.nodes)
    look_at_readers(work, book, people)
    for history in histories(work, book, people, with_steps=False).values():
        look_at_orders(work, history)


def look_at_readers(work: UnitOfWork, book: FactBook, people: People) -> None:
    """Tell who of `people` reads without having registered."""
    found: dict[UUID, list[Behaviour]] = {}
    for it in book.repeat_readers(people, OPENS):
        found.setdefault(people.of(it.node), []).append(it)
    for customer, behaviours in found.items():
        nodes = people.nodes[customer]
        tell(work, Kind.REPEAT_READER_UNREGISTERED, nodes[0], nodes, repeat_reader(behaviours))


def look_at_orders(work: UnitOfWork, history: History) -> None:
    """Tell what the orders of a customer show."""
    for kind in ABOUT_ORDERS:
        look_at(work, history, kind, history.nodes[0])


def look_at(work: UnitOfWork, history: History, kind: Kind, node: UUID) -> None:
    """Tell what one detector finds in the steps and orders of a customer; `node` is one of the customer's."""
    tell(work, kind, node, history.nodes, _DETECTORS[kind](history, work))


def tell(work: UnitOfWork, kind: Kind, node: UUID, nodes: Sequence[UUID], review: Review) -> None:
    """Tell of findings that were not told of any of `nodes` in the last 90 days; look again at the next instant that matters."""
    for finding in review.findings:
        _tell(work, finding, nodes)
    if review.again:
        work.schedule(Timer(LOOK_TIMER, f"{kind}/{node}", min(review.again), {"node": str(node), "kind": kind}))


def _tell(work: UnitOfWork, finding: Finding, nodes: Iterable[UUID]) -> None:
    tenant = work.context.tenant
    keys = {insight_key(tenant, node, finding) for node in (*nodes, finding.node)}
    known = work.find_all(Insight, sorted(keys))
    if any(it.is_fresh(work.now) for it in known.values()):
        return
    id = insight_key(tenant, finding.node, finding)
    if id in known:
        known[id].repeat(finding.evidence, work.now)
    else:
        evidence = dict(finding.evidence)
        work.add(Insight(id, tenant, finding.node, finding.kind, finding.subject, evidence, work.now))


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
