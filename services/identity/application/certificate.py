"""The certificate of an erasure: what was removed where, read from what was recorded when it was."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
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
