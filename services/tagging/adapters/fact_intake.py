"""Whenever identity or tracking report something: keep the facts, and bring tags and sets in line with them."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pyroaring import BitMap

from chassis import inbox, parked
from chassis.commands import UnitOfWork
from chassis.consumer import Incoming, Subscription
from services.tagging.application.fact_messages import EVENTS, STREAMS, TOLD_OF_PEOPLE, blank, essence, facts_of
from services.tagging.application.facts import Erasing, Facts
from services.tagging.application.layer_review import forget, review_layers
from services.tagging.application.rule_review import erase, regroup, review
from services.tagging.application.standing import Changes, both, consents_changed
from services.tagging.domain.conditions import Tie
from services.tagging.domain.erasure import Erasure
from services.tagging.domain.layer_models import LayerCause
from services.tagging.domain.memberships import MembershipCause
from services.tagging.domain.tags import Cause
from services.tagging.read_models import audiences as tables
from services.tagging.read_models import erasure, referrals
from services.tagging.read_models.audiences import PostgresAudiences
from services.tagging.read_models.intake import TakenIn, take_in
from services.tagging.read_models.leaving import tell_left
from services.tagging.read_models.live_segments import Touched
from services.tagging.read_models.touching import by_dealings, by_facts, by_referrals, with_codes


class FactIntake:
    """Takes in batches of messages: facts, tags, events and sets in one transaction."""

    def __init__(self, audiences: PostgresAudiences) -> None:
        self._audiences = audiences
        self._erased: set[str] = set()

    def subscription(self) -> Subscription:
        return Subscription(
            consumer="tagging_facts", streams=STREAMS, handle=self.absorb, keep=self.kept, events=EVENTS
        )

    def kept(self, message: Incoming) -> Incoming:
        """What goes to the inbox of a message that was absorbed."""
        return blank(message) if message.key in self._erased else essence(message)

    def absorb(self, batch: Sequence[Incoming], work: UnitOfWork) -> None:
        """One batch of one tenant, in the order of arrival."""
        facts = facts_of(batch)
        rows, tenant = work.rows, work.context.tenant
        tables.lock(rows, tenant, work.now, len(batch))
        losing = referrals.referrers(rows, tenant, facts.erasing) if facts.erasures else {}
        referred = referrals.referees(rows, tenant, with_codes(facts))
        leaving = erasure.segments_of(rows, tenant, facts.erasing) if facts.erasures else {}
        taken = take_in(rows, tenant, facts)
        self._erased.update(map(str, taken.erased))
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
            self._audiences.move_listed(work, arrivals)
        touched = self._touched(facts, taken, referred, work)
        for model, who in self._review_layers(taken, losing, work).items():
            touched.add(f"model:{model}", who)
        moved = BitMap(ordinals[it] for it in (*arrivals.regrouped, *arrivals.gone))
        self._audiences.follow(
            work, changes, touched, lambda it: MembershipCause.MERGE if it in moved else MembershipCause.EVENT
        )
        if taken.removed:
            tell_left(work, leaving)
            self._finish(taken.removed, work)

    def _touched(self, facts: Facts, taken: TakenIn, referred: Sequence[int], work: UnitOfWork) -> Touched:
        """What the batch touches of what segments read; `referred` are those who had named codes that are other ones now."""
        rows, tenant, live = work.rows, work.context.tenant, self._audiences.live(work)
        if not live:
            return Touched()
        touched = by_facts(facts, taken.arrivals)
        if any(Tie.REFERRER in it.subjects for it in live):
            touched.add(Tie.REFERRER, by_referrals(rows, tenant, facts, taken.arrivals, referred))
        for subject, found in by_dealings(rows, tenant, taken.dealt).items():
            touched.add(subject, found)
        return touched

    def _review_layers(self, taken: TakenIn, losing: Mapping[UUID, int], work: UnitOfWork) -> dict[str, BitMap]:
        """Everybody named in the batch or regrouped by it, by the active models; the ordinals of those who moved by model.

        With them those who referred any of these, and those who are `losing` whom they referred.
        """
        arrivals = taken.arrivals
        if not self._audiences.active_models(work):
            return {}

        def cause(customer: UUID) -> LayerCause:
            merged = customer in arrivals.regrouped or customer in arrivals.gone
            return LayerCause.MERGE if merged else LayerCause.EVENT

        touched = {*arrivals.customer_of.values(), *arrivals.regrouped, *arrivals.gone}
        erased = {node for erasing, _ in taken.removed for node in erasing.nodes}
        touched -= erased
        referring = referrals.referrers(work.rows, work.context.tenant, touched)
        ordinals = {it: arrivals.ordinals[it] for it in touched}
        ordinals |= {it: n for it, n in {**losing, **referring}.items() if it not in erased}
        return review_layers(work, self._audiences, dict(sorted(ordinals.items())), cause)

    def _finish(self, removed: Sequence[tuple[Erasing, dict[str, int]]], work: UnitOfWork) -> None:
        """Take the tags along, and what waits to be tried again, and say of each erasure that it is done; nothing the second
        time."""
        rows, tenant = work.rows, work.context.tenant
        done = work.find_all(Erasure, [erasing.case_id for erasing, _ in removed])
        news = [it for it in removed if it[0].case_id not in done]
        nodes = [node for erasing, _ in news for node in erasing.nodes]
        keys = [str(it) for it in nodes]
        by_node = {"tags": erase(work, nodes), "current_layers": forget(work, self._audiences, nodes)}
        by_key = {
            "parked": parked.forget(rows, tenant, keys),
            "messages": inbox.rewrite(rows, tenant, keys, TOLD_OF_PEOPLE, blank),
        }
        for erasing, counts in news:
            more = {name: sum(found[it] for it in erasing.nodes) for name, found in by_node.items()}
            more |= {name: sum(found[str(it)] for it in erasing.nodes) for name, found in by_key.items()}
            work.add(Erasure(erasing.case_id, tenant, erasing.customer, {**counts, **more}, work.now))
