"""Whenever something happens to somebody: it moves those who are in a flow on, or out of it, and lets others in.

A batch of messages of one tenant is decided in memory, in its order, on what a few queries told; where the tenant has no flow
that listens, one query finds so. A fact that a merge brought is never told again, so that it starts nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from chassis.envelope import Incoming
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.commands import Tables
from services.campaigns.application.flow_facts import PAID, Happened, kinds_of, read
from services.campaigns.application.flow_ports import FlowBook, Held, Listener
from services.campaigns.application.flow_steps import enter, entry_of, go_on, leave
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_definition import Definition, FactKind, Reentry
from services.campaigns.domain.flow_instance import Cause, EndReason, FlowInstance, StepResult


def follow_facts(batch: Sequence[Incoming], work: UnitOfWork, tables: Tables) -> None:
    """Let the facts of `batch`, all of the tenant of `work`, do what they do in its flows; and remember who has bought."""
    told = [it for it in batch if kinds_of(it)]
    if not told:
        return
    book, roster = tables.flows(work), tables.roster(work)
    listeners = book.listeners()
    kinds = {it.fact.kind for it in listeners}
    news = [it for it in map(read, (it for it in told if it.type == PAID or kinds & kinds_of(it))) if it is not None]
    gone = roster.erased({it.node for it in news})
    news = [it for it in news if it.node not in gone]
    if kinds and news:
        _Round.of(work, book, listeners, roster.persons({it.node for it in news}), news).decide(news)
    if buyers := {it.node for it in news if _is_purchase(it)}:
        book.note_buyers(buyers)


def _is_purchase(it: Happened) -> bool:
    return any(fact.kind is FactKind.ORDER_PAID for fact in it.facts) and bool(it.amount)


@dataclass(slots=True)
class _Round:
    """One batch: who its nodes are, what they are in, and the flows that listen."""

    work: UnitOfWork
    book: FlowBook
    listeners: Sequence[Listener]
    persons: Mapping[UUID, UUID]
    flows: Mapping[UUID, Flow]
    instances: dict[UUID, FlowInstance]
    bought: set[UUID]
    held: dict[UUID, list[Held]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(
        cls,
        work: UnitOfWork,
        book: FlowBook,
        listeners: Sequence[Listener],
        persons: Mapping[UUID, UUID],
        news: Sequence[Happened],
    ) -> "_Round":
        facts = {fact for it in news for fact in it.facts}
        concerned = [it for it in listeners if it.fact in facts]
        is_first_asked = any(it.fact.kind is FactKind.FIRST_ORDER_PAID for it in concerned)
        flows = {it.flow for it in concerned}
        held = book.entries(set(persons.values())) if concerned else []
        running = [it.entry.instance for it in held if it.entry.ended_at is None and it.entry.flow in flows]
        found = cls(
            work,
            book,
            concerned,
            persons,
            work.find_all(Flow, list(flows)),
            work.find_all(FlowInstance, running),
            book.bought(set(persons.values())) if is_first_asked else set(),
        )
        for it in held:
            found._note(it)
        return found

    def decide(self, news: Sequence[Happened]) -> None:
        for told in news if self.listeners else ():
            person = self.persons[told.node]
            is_first = _is_purchase(told) and person not in self.bought
            it = told if is_first else replace(told, facts=told.excepting(FactKind.FIRST_ORDER_PAID))
            for held in list(self.held[person]):
                if held.holder == person and held.entry.instance in self.instances:
                    self._heed(it, self.instances[held.entry.instance])
            for listener in self.listeners:
                if listener.starts and listener.fact in it.facts:
                    self._start(it, person, listener)
            if _is_purchase(it):
                self.bought.add(person)

    def _heed(self, news: Happened, instance: FlowInstance) -> None:
        """What `news` means to somebody who is in a flow: of their order whenever it happened, else since what let them in."""
        flow = self.flows.get(instance.flow)
        if flow is None or not instance.is_running:
            return
        definition = flow.versions[instance.number]
        if definition.reentry is Reentry.PER_ORDER and news.order is not None:
            is_theirs = news.order == instance.order
        else:
            is_theirs = news.at >= instance.since
        if not is_theirs:
            return
        if definition.goal in news.facts:
            leave(self.work, self.book, instance, EndReason.GOAL_MET)
        elif definition.exit_on in news.facts:
            leave(self.work, self.book, instance, EndReason.EXIT_CONDITION)
        elif _is_waited_for(news, instance, definition):
            go_on(self.work, self.book, instance, definition, StepResult.HAPPENED)

    def _start(self, news: Happened, person: UUID, listener: Listener) -> None:
        """Let `person` into the flow, if it is for them and they may enter."""
        flow = self.flows.get(listener.flow)
        definition = flow.current if flow else None
        if flow is None or definition is None or definition.trigger not in news.facts:
            return
        entry_key = str(news.order) if definition.reentry is Reentry.PER_ORDER else ""
        if not self._is_for(news, definition) or not self._may_enter(flow.id, definition, person, entry_key):
            return
        cause = Cause(news.message, news.node, news.order, news.at)
        instance = enter(self.work, self.book, flow, person, cause, entry_key)
        self.instances[instance.id] = instance
        self._note(Held(entry_of(instance), person, person))

    def _is_for(self, news: Happened, definition: Definition) -> bool:
        if self.work.now - news.at > timedelta(seconds=definition.max_age_seconds):
            return False
        if definition.reentry is Reentry.PER_ORDER and news.order is None:
            return False
        worth = news.amount
        return definition.minimum is None or (
            worth is not None and news.currency == definition.currency and worth >= definition.minimum
        )

    def _may_enter(self, flow: UUID, definition: Definition, person: UUID, entry_key: str) -> bool:
        """Whoever is in a flow, as whatever node, is not let in again; who was in it counts by the node they came as."""
        theirs = [
            self._now(it) for it in self.held[person] if it.entry.flow == flow and it.entry.entry_key == entry_key
        ]
        if any(it.entry.ended_at is None and it.holder == person for it in theirs):
            return False
        before = [it.entry.ended_at for it in theirs if it.origin == person]
        if definition.reentry is Reentry.AFTER_EXIT:
            gap = timedelta(seconds=definition.gap_seconds)
            return all(ended is not None and ended + gap <= self.work.now for ended in before)
        return not before

    def _now(self, held: Held) -> Held:
        """As it is after what this batch has done so far."""
        instance = self.instances.get(held.entry.instance)
        return replace(held, entry=entry_of(instance)) if instance else held

    def _note(self, held: Held) -> None:
        for person in {held.holder, held.origin}:
            self.held[person].append(held)


def _is_waited_for(news: Happened, instance: FlowInstance, definition: Definition) -> bool:
    """Whether the instance stands at a step that waits for it, and came there before it happened."""
    step, wake_at, _ = instance.stand
    found = definition.step(step) if step else None
    if found is None or found.fact is None or wake_at is None or found.fact not in news.facts:
        return False
    return news.at >= wake_at - timedelta(seconds=found.seconds)
