"""Whenever tagging finds that somebody is about to buy, a lead is opened for the guide of the customer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming
from scrm.tagging.v1.events_pb2 import LeadQualified
from services.identity.application.guides import guide_of
from services.identity.application.lead_commands import open_lead_of, start_lead
from services.identity.application.lead_policies import AwaitedOrders, absorb
from services.identity.application.owners import canonical
from services.identity.domain.lead import Prospect

QUALIFIED: Final = LeadQualified.DESCRIPTOR.full_name
EVENT: Final = "lead_qualified"
_MOST: Final = 100


def follow(batch: Sequence[Incoming], work: UnitOfWork, awaited: AwaitedOrders) -> None:
    """Take note of `batch`, of one tenant: leads first, which orders of the same batch may win."""
    for it in batch:
        if it.type == QUALIFIED:
            told = it.parse(LeadQualified)
            score = min(_MOST, round(told.score))
            qualify(Prospect(UUID(told.customer_id), told.category, score, None), told.time.ToDatetime(UTC), work)
    absorb(batch, work, awaited)


def qualify(prospect: Prospect, at: datetime, work: UnitOfWork) -> None:
    """Open a lead, owned by the guide if there is one; one that is open gets the score. Nobody who is not there has any."""
    customer = canonical(work, prospect.node)
    if customer is None or customer.is_erased:
        return
    known = open_lead_of(work, customer, prospect.category)
    if known is not None:
        known.update(prospect.score, None, work.now)
        return
    guide = guide_of(work, customer)
    owner = guide.staff if guide is not None else None
    start_lead(Prospect(prospect.node, prospect.category, prospect.score, owner), at, work)
