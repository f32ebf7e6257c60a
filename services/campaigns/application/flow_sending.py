"""Sending what flows plan: reserve, call, settle. What was reserved is sent or in doubt, and never planned again.

Whether somebody may be written to is decided when the message is reserved, by the gates that broadcasts have. A message that is not
sent is a step with the result SUPPRESSED, and the instance goes on. Neither the global control group nor caps apply to flows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from chassis.commands import Handlers, handler
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.commands import Tables
from services.campaigns.application.flow_ports import OpenSend
from services.campaigns.application.flow_steps import go_on
from services.campaigns.application.gates import Planned, refusals
from services.campaigns.application.ports import Outbound
from services.campaigns.domain.flow import Flow
from services.campaigns.domain.flow_definition import Definition, Step
from services.campaigns.domain.flow_instance import FlowInstance, StepResult
from services.campaigns.domain.templates import VariableMissing, render


@dataclass(frozen=True, slots=True)
class ReserveSends:
    """Claim up to `limit` of the messages that flows plan, for a call that ends before `lease_until`."""

    lease_until: datetime
    limit: int = 500


@dataclass(frozen=True, slots=True)
class ReservedSends:
    """What to send now, each message a unit of its own, and whether there was anything to look at."""

    sends: tuple[OpenSend, ...] = ()
    messages: tuple[Outbound, ...] = ()
    looked_at: int = 0


class _Due(NamedTuple):
    """A message whose instance still stands at it, and the person that its customer is now."""

    send: OpenSend
    instance: FlowInstance
    definition: Definition
    person: UUID

    @property
    def step(self) -> Step:
        return self.definition.step(self.send.step)

    @property
    def planned(self) -> Planned:
        return Planned(self.instance.customer, self.person, self.step.message_class, self.step.channel)

    def outbound(self) -> Outbound:
        """Raises VariableMissing."""
        send, text = self.send, render(self.step.text, {})
        return Outbound(send.delivery, send.flow, send.delivery, self.person, send.step, text, self.step.channel)


def reserve_sends(command: ReserveSends, work: UnitOfWork, tables: Tables) -> ReservedSends:
    """What is planned for an instance that is elsewhere by now is dropped."""
    book = tables.flows(work)
    found = book.reserve(command.limit, command.lease_until)
    if not found:
        return ReservedSends()
    due = _due(work, tables, found)
    refused = refusals({it.send.delivery: it.planned for it in due}, work, tables)
    sends: list[OpenSend] = []
    messages: list[Outbound] = []
    for it in due:
        if it.send.delivery in refused:
            reason = refused[it.send.delivery]
            go_on(work, book, it.instance, it.definition, StepResult.SUPPRESSED, reason)
            continue
        try:
            messages.append(it.outbound())
            sends.append(it.send)
        except VariableMissing as missing:
            go_on(work, book, it.instance, it.definition, StepResult.FAILED, f"RENDER:{missing.variable}")
    reserved = {it.delivery for it in sends}
    book.close([it.delivery for it in found if it.delivery not in reserved])
    return ReservedSends(tuple(sends), tuple(messages), len(found))


def _due(work: UnitOfWork, tables: Tables, sends: Sequence[OpenSend]) -> list[_Due]:
    instances, flows = _loaded(work, sends)
    standing = [it for it in sends if it.instance in instances and instances[it.instance].stand.delivery == it.delivery]
    persons = tables.roster(work).persons({instances[it.instance].customer for it in standing})
    return [
        _Due(it, instance, flows[it.flow].versions[instance.number], persons[instance.customer])
        for it in standing
        for instance in (instances[it.instance],)
    ]


@dataclass(frozen=True, slots=True)
class LapsedSends:
    """What is still reserved though its lease ran out: whoever was to send it is gone."""

    now: datetime


def lapsed_sends(command: LapsedSends, work: UnitOfWork, tables: Tables) -> Sequence[OpenSend]:
    return tables.flows(work).lapsed(command.now)


@dataclass(frozen=True, slots=True)
class SettleSends:
    """What the provider answered about `sends`, by delivery; of those it does not mention nobody knows."""

    sends: tuple[OpenSend, ...]
    sent: frozenset[UUID] = frozenset()
    failed: Mapping[UUID, str] = field(default_factory=dict)


def settle_sends(command: SettleSends, work: UnitOfWork, tables: Tables) -> None:
    book = tables.flows(work)
    instances, flows = _loaded(work, command.sends)
    for it in command.sends:
        instance = instances.get(it.instance)
        if instance is None:
            continue
        result, reason = StepResult.UNKNOWN, ""
        if it.delivery in command.sent:
            result = StepResult.SENT
        elif it.delivery in command.failed:
            result, reason = StepResult.FAILED, command.failed[it.delivery]
        if instance.stand.delivery == it.delivery:
            go_on(work, book, instance, flows[it.flow].versions[instance.number], result, reason)
        else:
            instance.conclude(it.delivery, result, work.now, reason)
    book.close([it.delivery for it in command.sends])


def flow_send_handlers(tables: Tables) -> Handlers:
    """The handlers of the commands in this module."""
    return [
        handler(ReserveSends, lambda c, w: reserve_sends(c, w, tables)),
        handler(LapsedSends, lambda c, w: lapsed_sends(c, w, tables)),
        handler(SettleSends, lambda c, w: settle_sends(c, w, tables)),
    ]


def _loaded(work: UnitOfWork, sends: Sequence[OpenSend]) -> tuple[dict[UUID, FlowInstance], dict[UUID, Flow]]:
    instances = work.find_all(FlowInstance, [it.instance for it in sends])
    return instances, work.find_all(Flow, list({it.flow for it in sends}))
