"""What tracking does about somebody who is to be forgotten: it takes in nothing more at once, and says when all is removed."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.erasure import ErasedNode, Erasure, erased_node_id
from services.tracking.domain.errors import CustomerErased


class OpenErasures(Protocol):
    """The erasures under way of the tenant of a unit of work."""

    def open(self, case_id: UUID, nodes: Collection[UUID]) -> None:
        """Let the rows of `nodes` be removed once every event that is accepted by now has its node."""

    def close(self, case_id: UUID) -> None:
        """It is done."""


Tables = Callable[[UnitOfWork], OpenErasures]


@dataclass(frozen=True, slots=True)
class BeginErasure:
    """Identity erases this customer with all these nodes."""

    case_id: UUID
    customer: UUID
    node_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class FinishErasure:
    """Everything is removed: rows by table."""

    case_id: UUID
    removed: Mapping[str, int]


def begin_erasure(command: BeginErasure, work: UnitOfWork, tables: Tables) -> None:
    """Refuse what is reported of these nodes from now on; nothing the second time."""
    if work.find(Erasure, command.case_id) is not None:
        return
    tenant = work.context.tenant
    work.add(
        Erasure(
            command.case_id, tenant, command.customer, command.node_ids, erased_ref=work.new_id(), began_at=work.now
        )
    )
    ids = {erased_node_id(tenant, it): it for it in command.node_ids}
    known = work.find_all(ErasedNode, list(ids))
    for id, node in ids.items():
        if id not in known:
            work.add(ErasedNode(id, tenant, node))
    tables(work).open(command.case_id, command.node_ids)


def finish_erasure(command: FinishErasure, work: UnitOfWork, tables: Tables) -> None:
    work.get(Erasure, command.case_id).finish(command.removed, work.now)
    tables(work).close(command.case_id)


def require_unerased(node: UUID, work: UnitOfWork) -> None:
    """Raises CustomerErased."""
    if work.find(ErasedNode, erased_node_id(work.context.tenant, node)) is not None:
        raise CustomerErased


def erasure_handlers(tables: Tables) -> Handlers:
    """The handlers of the commands in this module."""
    return (
        handler(BeginErasure, lambda it, work: begin_erasure(it, work, tables), loads=lambda it: [it.case_id]),
        handler(FinishErasure, lambda it, work: finish_erasure(it, work, tables), loads=lambda it: [it.case_id]),
    )
