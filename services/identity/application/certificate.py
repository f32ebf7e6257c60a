"""The certificate of an erasure: what was removed where, read from what was recorded when it was."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.log import Recorded
from services.identity.domain.erasure import CaseState, ErasureCase
from services.identity.domain.errors import ErasureCaseNotFound, ErasureUnfinished


@dataclass(frozen=True, slots=True)
class Step:
    """An event of the case, at its position of the log."""

    event: str
    position: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Certificate:
    """A case that is done, and how it went."""

    case: ErasureCase
    steps: Sequence[Step]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the content as JSON with sorted keys and without spaces."""
        text = json.dumps(self.content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def content(self) -> Mapping[str, Any]:
        """What the certificate says, but for its digest; instants in ISO 8601."""
        case = self.case
        return {
            "case_id": str(case.id),
            "customer_id": str(case.customer),
            "node_ids": [str(it) for it in case.node_ids],
            "legal_basis": case.legal_basis,
            "verified_by": case.verified_by,
            "services": [
                {
                    "service": it.service,
                    "position": it.position,
                    "removed": it.removed,
                    "complete_time": it.completed_at.isoformat(),
                }
                for _, it in sorted(case.removals.items())
            ],
            "identifiers_released": case.identifiers,
            "keys_destroyed": case.keys,
            "key_destruction_time": case.ended_at.isoformat() if case.ended_at else "",
            "steps": [
                {"event": it.event, "position": it.position, "record_time": it.recorded_at.isoformat()}
                for it in self.steps
            ],
        }


async def get_case(bus: CommandBus, case_id: UUID) -> ErasureCase:
    """As of the last write. Raises ErasureCaseNotFound."""
    try:
        return await bus.load(ErasureCase, case_id)
    except AggregateNotFound:
        raise ErasureCaseNotFound(field="case_id") from None


async def get_certificate(bus: CommandBus, case_id: UUID) -> Certificate:
    """Raises ErasureCaseNotFound, and ErasureUnfinished while there is nothing to certify."""
    case = await get_case(bus, case_id)
    if case.state is not CaseState.ERASED:
        raise ErasureUnfinished(field="case_id")
    recorded = await asyncio.to_thread(bus.store.read_streams, {case_id})
    return Certificate(case, [_step(it) for it in recorded])


def _step(recorded: Recorded) -> Step:
    return Step(type(recorded.event).TOPIC.partition(".")[2], recorded.position, recorded.recorded_at)  # type: ignore[attr-defined]
