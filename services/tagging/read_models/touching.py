"""Which subjects a batch of facts touches, for whom (see `live_segments.py`)."""

from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.facts import Facts
from services.tagging.read_models import directory, referrals
from services.tagging.read_models.dealings import Concerned
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
    touched.add("reach", {who[it.node] for it in facts.said.channels.values()})
    touched.add("identity", {who[it.node] for it in facts.recognitions})
    return touched


def with_codes(facts: Facts) -> set[UUID]:
    """The nodes that have other codes after a batch than before, or are to be forgotten."""
    return facts.erasing | {it.node for it in facts.said.attributes.values() if it.key == "referral_code"}


def by_referrals(rows: sa.Connection, tenant: str, facts: Facts, arrivals: Arrivals, before: Iterable[int]) -> BitMap:
    """Those who may have been referred by somebody else than before, or by nobody: with facts by which they are new customers or
    not, or who named a code of somebody of whom a batch tells; `before` it, it was theirs."""
    done = {it.node for it in facts.done if it.type == "referral_registered"}
    orders = {it.node for some in (facts.paid, facts.refunded) for it in some.values()}
    own = {arrivals.customer_of[it] for it in (*done, *orders, *(it.node for it in facts.recognitions))}
    coded = referrals.referees(rows, tenant, {*with_codes(facts), *arrivals.regrouped})
    named = referrals.registered(rows, tenant, own)
    return BitMap(before) | BitMap(coded) | BitMap(arrivals.ordinals[it] for it in named)


def by_dealings(rows: sa.Connection, tenant: str, concerned: Concerned) -> dict[str, set[int]]:
    """The ordinals of the customers with whom there were dealings, by subject; only what is news is looked up."""
    named = {node for nodes in concerned.values() for node in nodes}
    found = directory.canonical(rows, tenant, named) if named else {}
    return {subject: {found[it].ordinal for it in nodes if it in found} for subject, nodes in concerned.items()}


def by_arrivals(arrivals: Arrivals) -> Touched:
    """What merges, un-merges and new customers touch."""
    moved = BitMap(arrivals.ordinals[it] for it in (*arrivals.regrouped, *arrivals.gone))
    return Touched(everything=arrivals.identified | moved, moved=moved)
