"""Whenever identity or tracking report something: keep the facts, and bring tags and sets in line with them."""

from collections.abc import Sequence
from uuid import UUID

from chassis import parked
from chassis.commands import UnitOfWork
from chassis.consumer import Incoming, Subscription
from services.tagging.application.fact_messages import EVENTS, STREAMS, essence, facts_of
from services.tagging.application.facts import Erasing
from services.tagging.application.ports import Audiences
from services.tagging.application.rule_review import erase, regroup, review
from services.tagging.application.standing import Changes, both, consents_changed
from services.tagging.domain.erasure import Erasure
from services.tagging.domain.tags import Cause
from services.tagging.read_models import audiences as tables
from services.tagging.read_models.intake import take_in


class FactIntake:
    """Takes in batches of messages: facts, tags, events and sets in one transaction."""

    def __init__(self, audiences: Audiences) -> None:
        self._audiences = audiences

    def subscription(self) -> Subscription:
        return Subscription(consumer="tagging_facts", streams=STREAMS, handle=self.absorb, keep=essence, events=EVENTS)

    def absorb(self, batch: Sequence[Incoming], work: UnitOfWork) -> None:
        """One batch of one tenant, in the order of arrival."""
        facts = facts_of(batch)
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
        consenting = facts.said.nodes_with_consent(tables.SENSITIVE_INFERENCE)
        if consenting:
            concerned = {it: ordinals[it] for it in (arrivals.customer_of[node] for node in consenting)}
            changes = both(changes, consents_changed(work, self._audiences, concerned))
        if arrivals.regrouped:
            tables.move_listed(rows, tenant, arrivals)
        tables.retag(rows, tenant, changes, arrivals.identified)
        for erasing, removed in taken.removed:
            self._erase(erasing, removed, work)

    def _erase(self, erasing: Erasing, removed: dict[str, int], work: UnitOfWork) -> None:
        """Take the tags along, and what waits to be tried again, and say that all is done; nothing the second time."""
        if work.find(Erasure, erasing.case_id) is not None:
            return
        tags = erase(work, erasing.nodes)
        waiting = parked.forget(work.rows, work.context.tenant, [str(it) for it in erasing.nodes])
        removed = {**removed, "tags": tags, "parked": waiting}
        work.add(Erasure(erasing.case_id, work.context.tenant, erasing.customer, removed, work.now))
