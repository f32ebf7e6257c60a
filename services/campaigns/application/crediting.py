"""Crediting as a command: bring the conversions of orders that wait in line with what is known now."""

from dataclasses import dataclass, replace

from chassis.commands import Handlers, handler
from chassis.unit_of_work import UnitOfWork
from services.campaigns.application.commands import Tables
from services.campaigns.domain.conversion import Conversion
from services.campaigns.domain.crediting import NOTHING, credits_of


@dataclass(frozen=True, slots=True)
class CreditOrders:
    """Credit up to `limit` of the orders that wait."""

    limit: int = 1000


def credit_orders(command: CreditOrders, work: UnitOfWork, tables: Tables) -> int:
    """Returns how many orders were looked at.

    Records a conversion where there is none, changes one whose unit or amount is another now, and
    takes its worth from one that does not count any more. What is recorded after a window is final
    moves nothing there.
    """
    book, roster = tables.orders(work), tables.roster(work)
    due = book.due(command.limit)
    if not due:
        return 0
    facts = book.facts(due)
    windows = book.windows(min(due.values()))
    persons = roster.persons({it.node for it in facts})
    credited = credits_of(facts, windows, persons, book.candidates(set(persons.values())))
    tenant = work.context.tenant
    ids = {
        (window.broadcast, order): Conversion.id_of(tenant, window.broadcast, order)
        for window in windows
        for order, cause_at in due.items()
        if cause_at < window.final
    }
    known = work.find_all(Conversion, list(ids.values()))
    for key, id in ids.items():
        credit, conversion = credited.get(key), known.get(id)
        if conversion is not None:
            conversion.adjust(credit or replace(conversion.credit, net=NOTHING))
        elif credit is not None and credit.net > NOTHING:
            work.add(Conversion(id, tenant, *key, credit))
    book.settled(due)
    return len(due)


def credit_handlers(tables: Tables) -> Handlers:
    """The handler of the command in this module."""
    return [handler(CreditOrders, lambda c, w: credit_orders(c, w, tables))]
