"""Seeing personal data: whoever may, says what for, and it is recorded before anything is shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from chassis.commands import CommandBus, Handlers, UnitOfWork, handler
from chassis.context import current
from services.identity.domain.pii_view import PiiView

PII_SCOPE: Final = "identity.pii"


@dataclass(frozen=True, slots=True)
class RecordPiiView:
    """The caller is about to be shown `fields` of a customer, for `purpose`."""

    customer_id: UUID
    fields: tuple[str, ...]
    purpose: str


def may_see(purpose: str) -> bool:
    """Whether the caller sees personal data unmasked: one with the scope for it who says what for."""
    return bool(purpose) and PII_SCOPE in current().scopes


async def record_view(bus: CommandBus, customer_id: UUID, fields: Iterable[str], purpose: str) -> None:
    """Record that the caller sees these fields of a customer. To be awaited before the answer is given; nothing for no field."""
    shown = tuple(sorted(set(fields)))
    if shown:
        await bus.execute(RecordPiiView(customer_id, shown, purpose))


def record_pii_view(command: RecordPiiView, work: UnitOfWork) -> None:
    work.add(
        PiiView(
            id=work.new_id(),
            tenant=work.context.tenant,
            customer_id=command.customer_id,
            fields=command.fields,
            actor=work.context.actor,
            purpose=command.purpose,
            viewed_at=work.now,
        )
    )


PII_HANDLERS: Final[Handlers] = [handler(RecordPiiView, record_pii_view)]
