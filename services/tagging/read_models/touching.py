"""Which subjects a batch of facts touches, for whom (see `live_segments.py`)."""

from pyroaring import BitMap

from services.tagging.application.facts import Facts
from services.tagging.read_models.directory import Arrivals
from services.tagging.read_models.live_segments import Touched


def by_facts(facts: Facts, arrivals: Arrivals) -> Touched:
    """What a batch of facts touches. Whoever came, or has other nodes than before, is touched in every respect."""
    customer_of, ordinals = arrivals.customer_of, arrivals.ordinals
    touched = by_arrivals(arrivals)
    who = {node: ordinals[customer] for node, customer in customer_of.items() if customer in ordinals}
    touched.add("events", {who[it.node] for it in facts.done})
    for kind, category, ordinal in {(it.type, it.category, who[it.node]) for it in facts.done}:
        touched.add(f"event:{kind}", (ordinal,))
        if category:
            touched.add(f"category:{category}", (ordinal,))
    orders = {it.node for some in (facts.paid, facts.refunded, facts.placed) for it in some.values()}
    said = facts.said
    touched.add("orders", {who[it] for it in orders})
    for value in said.attributes.values():
        touched.add(f"attribute:{value.key}", (who[value.node],))
    touched.add("consents", {who[it.node] for it in said.consents.values()})
    touched.add("ties", {who[it.node] for some in (said.guides, said.follow_ups) for it in some.values()})
    touched.add("groups", {who[it.node] for it in said.groups.values()})
    touched.add("identity", {who[it.node] for it in facts.recognitions})
    return touched


def by_arrivals(arrivals: Arrivals) -> Touched:
    """What merges, un-merges and new customers touch."""
    moved = BitMap(arrivals.ordinals[it] for it in (*arrivals.regrouped, *arrivals.gone))
    return Touched(everything=arrivals.identified | moved)
