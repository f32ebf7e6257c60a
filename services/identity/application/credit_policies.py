"""Whenever tracking reports that an order was paid, or what became of it, identity credits it to a guide."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming, event_name
from scrm.tracking.v1 import events_pb2 as tracking
from services.identity.application.credit_commands import CreditOrder, ReduceCredit, bring_to_hand, take_account
from services.identity.application.uncredited_orders import Uncredited
from services.identity.domain.money import minor_units

Commands: TypeAlias = Sequence[CreditOrder | ReduceCredit]


def follow(batch: Sequence[Incoming], work: UnitOfWork, uncredited: Uncredited) -> None:
    """Take account of `batch`, of one tenant and in its order; what is recorded says which message it rests on."""
    told = [(it.context, command) for it in batch for command in react(it)]
    bring_to_hand([command for _, command in told], work)
    for context, command in told:
        part = work.beside(context)
        take_account(command, part, uncredited)
        part.conclude()


def react(incoming: Incoming) -> Commands:
    """The commands that follow from a message."""
    policy = POLICIES.get(incoming.type)
    return () if policy is None else policy(incoming)


def credit_paid_order(incoming: Incoming) -> Commands:
    """Whenever an order is paid, a guide is credited with it."""
    return _credited(incoming.parse(tracking.OrderPaid))


def credit_revised_order(incoming: Incoming) -> Commands:
    """Whenever an order turns out to have been paid otherwise, it is credited by what is known now."""
    return _credited(incoming.parse(tracking.OrderPaymentRevised))


def reduce_refunded_order(incoming: Incoming) -> Commands:
    """Whenever money of an order goes back, whoever was credited with it is credited with less."""
    refunded = incoming.parse(tracking.OrderRefunded)
    net = _minor(refunded.net)
    return () if net is None else (ReduceCredit(UUID(refunded.node_id), UUID(refunded.order_id), net),)


POLICIES: Mapping[str, Callable[[Incoming], Commands]] = {
    "scrm.tracking.v1.OrderPaid": credit_paid_order,
    "scrm.tracking.v1.OrderPaymentRevised": credit_revised_order,
    "scrm.tracking.v1.OrderRefunded": reduce_refunded_order,
}

CONCERNS: Final = tuple(event_name(it.rpartition(".")[2]) for it in POLICIES)
"""The events that are of concern here, as they stand in subjects; all others are not even delivered."""


def _credited(paid: tracking.OrderPaid | tracking.OrderPaymentRevised) -> Commands:
    net = _minor(paid.net)
    if net is None:
        return ()
    command = CreditOrder(
        node=UUID(paid.node_id),
        order=UUID(paid.order_id),
        guide_code=paid.guide_code,
        store_code=paid.store_code,
        net=net,
        currency=paid.net.currency_code,
        paid_at=_instant(paid.pay_time),
    )
    return (command,)


def _minor(money: Money) -> int | None:
    return minor_units(money.units, money.nanos, money.currency_code)


def _instant(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
