"""Where a mission is stuck (TR-10): for how long nothing may follow on a step before somebody should know."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.tracking.domain.missions import Mission, Result, Visit
from services.tracking.domain.path_facts import Step

PATIENCE: Final[Mapping[Step, tuple[timedelta, ...]]] = {
    Step.ADD_TO_CART: (timedelta(hours=2),),
    Step.COMPARE_PRODUCT: (timedelta(days=1),),
    Step.COMPARE_CHANNEL: (timedelta(days=1),),
    Step.PLACE_ORDER: (timedelta(minutes=30), timedelta(hours=23)),
    Step.RECEIVE: (timedelta(days=7),),
}


@dataclass(frozen=True, slots=True)
class Watch:
    """A visit that is stuck if nothing follows on it within `patience`."""

    visit: Visit
    patience: timedelta


def watches(mission: Mission, visit: Visit) -> list[Watch]:
    """What to look at again for a visit, as things stand."""
    patience = PATIENCE.get(visit.step)
    if patience is None or not is_stuck(mission, visit):
        return []
    return [Watch(visit, it) for it in patience]


def is_stuck(mission: Mission, visit: Visit) -> bool:
    """Whether nothing followed on a visit of the mission, and something still could."""
    if visit.step is Step.PLACE_ORDER:
        paid = any(it.step is Step.PAY and it.order_id == visit.order_id for it in mission.visits)
        return mission.result in (Result.OPEN, Result.REALISED) and not paid
    if visit.step is not Step.RECEIVE and mission.result is not Result.OPEN:
        return False
    later = [it.step for it in mission.visits if it.at >= visit.at and it.key != visit.key]
    if visit.step is Step.RECEIVE:
        return Step.REVIEW not in later
    return not any(it is visit.step or it.rank > visit.step.rank for it in later)
