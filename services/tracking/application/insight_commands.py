"""Telling of insights: what detectors find about a customer, each of them once in 90 days, and when to look again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.due_times import Timer
from services.tracking.application.histories import History, histories
from services.tracking.application.ports import Facts
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

LOOK_TIMER: Final = "insight_look"
SETTLED: Final = timedelta(minutes=1)
AFTER_MERGES: Final = (Kind.REPEAT_READER_UNREGISTERED, Kind.REPURCHASE_STOPPED, Kind.CHURN_RISK)


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Look at the customer of `node` again, for insights of one kind."""

    node: UUID
    kind: Kind


def look_again(command: LookAgain, work: UnitOfWork, facts: Facts) -> None:
    book = facts(work)
    people = book.people([command.node])
    nodes = people.all_nodes
    if command.kind is Kind.SILENT_GROUP_MEMBER:
        tell(work, command.kind, command.node, nodes, silent_member(book.behaviours(nodes, GROUP_TYPES), work.now))
        return
    if command.kind is Kind.REPEAT_READER_UNREGISTERED:
        tell(work, command.kind, command.node, nodes, repeat_reader(book.repeat_readers(people, OPENS)))
        return
    for history in histories(work, book, people).values():
        look_at(work, history, command.kind, command.node)


def look_after_merge(work: UnitOfWork, survivor: UUID) -> None:
    """Two customers who are one may be more than each: look again when the merge has reached the read model of nodes."""
    for kind in AFTER_MERGES:
        payload = {"node": str(survivor), "kind": kind}
        work.schedule(Timer(LOOK_TIMER, f"{kind}/{survivor}/merged", work.now + SETTLED, payload))


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
    return (handler(LookAgain, lambda it, work: look_again(it, work, facts)),)


INSIGHT_TIMERS: Final[Mapping[str, Any]] = {
    LOOK_TIMER: lambda timer: LookAgain(UUID(timer.payload["node"]), Kind(timer.payload["kind"])),
}
