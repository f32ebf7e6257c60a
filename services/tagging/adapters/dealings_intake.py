"""Whenever membership or campaigns report dealings with a customer: keep them, and bring the segments that ask for them in line."""

from collections.abc import Sequence

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.consumer import Incoming, Subscription
from services.tagging.application.dealing_messages import EVENTS, STREAMS
from services.tagging.application.fact_messages import facts_of
from services.tagging.application.layer_review import review_layers
from services.tagging.domain.layer_models import LayerCause
from services.tagging.domain.memberships import MembershipCause
from services.tagging.read_models import audiences as tables
from services.tagging.read_models.audiences import PostgresAudiences
from services.tagging.read_models.intake import take_in
from services.tagging.read_models.touching import by_arrivals, by_dealings


class DealingsIntake:
    """Takes in batches of messages. Where no segment asks for what they tell, it is kept and nothing else."""

    def __init__(self, audiences: PostgresAudiences) -> None:
        self._audiences = audiences

    def subscription(self) -> Subscription:
        return Subscription(consumer="tagging_dealings", streams=STREAMS, handle=self.absorb, keep=True, events=EVENTS)

    def absorb(self, batch: Sequence[Incoming], work: UnitOfWork) -> None:
        """One batch of one tenant, in the order of arrival."""
        rows, tenant = work.rows, work.context.tenant
        tables.lock(rows, tenant, work.now, len(batch))
        taken = take_in(rows, tenant, facts_of(batch))
        touched = by_arrivals(taken.arrivals)
        if touched.everything:  # customers of whom nothing was heard before, on another stream
            customer_of, ordinals = taken.arrivals.customer_of, taken.arrivals.ordinals
            new = {it: ordinals[it] for it in customer_of.values() if ordinals[it] in touched.everything}
            moved = review_layers(work, self._audiences, new, lambda customer: LayerCause.EVENT)
            for model, who in moved.items():
                touched.add(f"model:{model}", who)
        live = self._audiences.live(work)
        if any(it.reads.dealings for it in live):
            for subject, found in by_dealings(rows, tenant, taken.dealt).items():
                touched.add(subject, BitMap(found))
        self._audiences.follow(work, {}, touched, lambda ordinal: MembershipCause.EVENT)
