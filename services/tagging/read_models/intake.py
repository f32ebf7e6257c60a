"""The intake of facts: a batch of what other services told, into all tables that follow from it.

`take_in` is what happens live and what a rebuild repeats.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from services.tagging.application.facts import Facts
from services.tagging.read_models import directory, purchases, visits
from services.tagging.read_models.directory import Arrivals
from services.tagging.read_models.visits import ByCustomer


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What a batch did: to the directory, and the visits of every customer whose sessions may be others now."""

    arrivals: Arrivals
    visits: ByCustomer


def take_in(rows: sa.Connection, tenant: str, facts: Facts) -> TakenIn:
    """Write a batch of facts in the transaction of `rows`."""
    arrivals = directory.absorb(rows, tenant, facts)
    purchases.absorb(rows, tenant, facts.paid.values(), facts.refunded.values())
    found = visits.absorb(rows, tenant, facts.visits, arrivals.customer_of, arrivals.regrouped)
    for customer in arrivals.regrouped:
        found.setdefault(customer, [])
    return TakenIn(arrivals, found)
