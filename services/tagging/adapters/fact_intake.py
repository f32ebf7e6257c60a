"""Whenever identity or tracking report something: keep the facts, and bring tags and sets in line with them."""

from collections.abc import Sequence
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.consumer import Incoming, Subscription
from services.tagging.application.facts import EVENTS, STREAMS, Facts
from services.tagging.application.ports import Audiences
from services.tagging.application.rule_review import Changes, both, regroup, review
from services.tagging.domain.tags import Cause
from services.tagging.read_models import audiences as tables
from services.tagging.read_models.intake import take_in


class FactIntake:
    """Takes in batches of messages: facts, tags, events and sets in one transaction."""

    def __init__(self, audiences: Audiences) -> None:
        self._audiences = audiences

    def subscription(self) -> Subscription:
        return Subscription(consumer="tagging_facts", streams=STREAMS, handle=self.absorb, keep=True, events=EVENTS)

    def absorb(self, batch: Sequence[Incoming], work: UnitOfWork) -> None:
        """One batch of one tenant, in the order of arrival."""
        facts = Facts.of(batch)
        rows, tenant = work.rows, work.context.tenant
        tables.lock(rows, tenant, work.now, len(batch))
        taken = take_in(rows, tenant, facts)
        arrivals, ordinals = taken.arrivals, taken.arrivals.ordinals

        def cause(customer: UUID) -> Cause:
            return Cause.MERGE if customer in arrivals.regrouped else Cause.EVENT

        changes: Changes = {}
        if arrivals.regrouped:
            changes = regroup(work, self._audiences, arrivals.regrouped, arrivals.gone, ordinals)
        if taken.visits:
            changes = both(changes, review(work, self._audiences, taken.visits, ordinals, cause))
        if arrivals.regrouped:
            tables.move_listed(rows, tenant, arrivals)
        tables.retag(rows, tenant, changes, arrivals.identified)
