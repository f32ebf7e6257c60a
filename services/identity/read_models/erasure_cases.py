"""ErasureCases: every case with how far it is, for lists. The ids of cases are UUIDv7: their order is that of the requests."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.erasure import CaseState, ErasureCase

tables: Final = sa.MetaData()

cases: Final = sa.Table(
    "erasure_cases",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("case_id", sa.Uuid, primary_key=True),
    sa.Column("customer", sa.Uuid, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("legal_basis", sa.Text, nullable=False),
    sa.Column("verified_by", sa.Text, nullable=False),
    sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("due_at", sa.DateTime(timezone=True)),
    sa.Column("postponed_for", sa.Text, nullable=False),
    sa.Column("began_at", sa.DateTime(timezone=True)),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Column("closing_reason", sa.Text, nullable=False),
    sa.Index("erasure_cases_by_state", "tenant", "state", "case_id"),
)


class ErasureCasesProjection:
    """One row per case; there are few, so that each change is a statement of its own."""

    name = "erasure_cases"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        for it in items:
            if isinstance(it.event, ErasureCase.Requested):
                rows.execute(insert(cases), _requested(it.tenant, it.event))
            elif changed := dict(_changes(it.event)):
                this = (cases.c.tenant == it.tenant) & (cases.c.case_id == it.event.originator_id)
                rows.execute(sa.update(cases).where(this).values(changed))


def list_cases(rows: sa.Connection, state: CaseState | None, after: UUID | None, limit: int) -> list[Any]:
    """Up to `limit` cases behind `after`, oldest first: those in `state`, or all."""
    query = sa.select(cases).order_by(cases.c.case_id).limit(limit)
    if state is not None:
        query = query.where(cases.c.state == state)
    if after is not None:
        query = query.where(cases.c.case_id > after)
    return list(rows.execute(query))


def _requested(tenant: str, event: ErasureCase.Requested) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "case_id": event.originator_id,
        "customer": event.customer,
        "state": CaseState.REQUESTED,
        "legal_basis": event.legal_basis,
        "verified_by": "",
        "requested_at": event.requested_at,
        "postponed_for": "",
        "closing_reason": "",
    }


def _changes(event: object) -> Iterator[tuple[str, Any]]:
    match event:
        case ErasureCase.Verified(verified_by=verified_by, due_at=due_at):
            yield from (("state", CaseState.VERIFIED), ("verified_by", verified_by), ("due_at", due_at))
        case ErasureCase.Postponed(reason=reason, due_at=due_at):
            yield from (("postponed_for", reason), ("due_at", due_at))
        case ErasureCase.Begun(customer=customer, began_at=at):
            yield from (("state", CaseState.ERASING), ("customer", customer), ("began_at", at))
        case ErasureCase.Completed(completed_at=at):
            yield from (("state", CaseState.ERASED), ("ended_at", at))
        case ErasureCase.Closed(reason=reason, closed_at=at):
            yield from (("state", CaseState.REJECTED), ("closing_reason", reason.value), ("ended_at", at))
