"""The intake of facts: a batch of what other services told, into all tables that follow from it.

`take_in` is what happens live and what a rebuild repeats.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from services.tagging.application.facts import Erasing, Facts
from services.tagging.read_models import behaviours, dealings, directory, erasure, profiles, purchases, visits
from services.tagging.read_models.dealings import Concerned
from services.tagging.read_models.directory import Arrivals
from services.tagging.read_models.visits import ByCustomer


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What a batch did: to the directory, and the visits of every customer whose sessions may be others now.

    `dealt` are the nodes with whom there were other dealings. `removed` says of whom nothing is known any more, and how many rows of
    which table that were; `erased` are the nodes the batch told of that are, or become, erased.
    """

    arrivals: Arrivals
    visits: ByCustomer
    dealt: Concerned
    removed: Sequence[tuple[Erasing, dict[str, int]]] = ()
    erased: Collection[UUID] = ()


def take_in(rows: sa.Connection, tenant: str, facts: Facts) -> TakenIn:
    """Write a batch of facts in the transaction of `rows`; what is told of people who are erased is dropped."""
    gone = facts.erasing
    nodes = directory.heard_of(rows, tenant, facts.nodes) if facts.nodes else {}
    heard_of = gone & nodes.keys()
    erased = {node for node, it in nodes.items() if it.erased}
    if gone or erased:
        facts.drop(gone | erased)
        for node in erased:
            del facts.nodes[node], nodes[node]
        for tie in erasure.ties(rows, tenant, gone) if gone else ():
            facts.merge(tie)
            nodes |= directory.heard_of(rows, tenant, (tie.survivor, tie.loser))
    arrivals = directory.absorb(rows, tenant, facts, nodes)
    purchases.absorb(rows, tenant, facts.paid.values(), facts.refunded.values())
    purchases.note_placed(rows, tenant, facts.placed.values())
    behaviours.absorb(rows, tenant, facts.done)
    profiles.absorb(rows, tenant, facts.said)
    dealt = dealings.absorb(rows, tenant, facts.dealt)
    found = visits.absorb(rows, tenant, facts.visits, arrivals.customer_of, arrivals.regrouped)
    for customer in arrivals.regrouped:
        found.setdefault(customer, [])
    if not gone:
        return TakenIn(arrivals, found, dealt, erased=erased)
    arrivals.leave(gone)
    removed = _erase(rows, tenant, facts.erasures, heard_of)
    left = {it: theirs for it, theirs in found.items() if it not in gone}
    return TakenIn(arrivals, left, dealt, removed, gone | erased)


def _erase(
    rows: sa.Connection, tenant: str, erasures: Sequence[Erasing], heard_of: Collection[UUID]
) -> list[tuple[Erasing, dict[str, int]]]:
    """The rows removed, by erasure, each of which is there once; none of somebody never heard of, who is only marked."""
    cases = {it.case_id: it for it in reversed(erasures)}
    removed = erasure.erase(rows, tenant, {node: it.case_id for it in cases.values() for node in it.nodes})
    return [
        (it, dict(removed[case]) if any(node in heard_of for node in it.nodes) else dict.fromkeys(removed[case], 0))
        for case, it in reversed(cases.items())
    ]
