"""Telling of purchase paths: what new facts made of missions, where they are stuck, and how they end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.due_times import Timer, Together
from services.tracking.application.histories import History, histories
from services.tracking.application.ports import Facts
from services.tracking.domain.missions import Mission, Result, Visit
from services.tracking.domain.path_facts import OrderFact, Step
from services.tracking.domain.purchases import cycle, midnight, occasions
from services.tracking.domain.shopping_mission import Ending, Reached, ShoppingMission, first_of_each
from services.tracking.domain.stalls import Watch, is_stuck, watches

STALL_TIMER: Final = "path_stall"
IDLE_TIMER: Final = "mission_idle"
REPURCHASE_TIMER: Final = "repurchase_due"


@dataclass(frozen=True, slots=True)
class Suspect:
    """The step behind `key`, which was stuck when it was told to be looked at again after `patience`."""

    node: UUID
    key: str
    step: Step
    patience: timedelta


@dataclass(frozen=True, slots=True)
class TellStalls:
    """See which of these steps are still stuck."""

    these: tuple[Suspect, ...]


@dataclass(frozen=True, slots=True)
class TellEnds:
    """See which missions of the customers of these nodes have ended without anybody's doing."""

    nodes: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class TellRepurchaseMissing:
    """See whether the customers of these nodes have bought again by the day it was expected."""

    nodes: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class PathNews:
    """What a batch says of one customer: the facts behind `keys` and `orders` are new in `history`."""

    history: History
    keys: Collection[str]
    orders: Collection[UUID]

    def missions(self, now: datetime) -> list[Mission]:
        """All that the news are part of."""
        return self.history.missions(now) if self.keys else self.history.missions_of(self.orders, now)


def tell_news(work: UnitOfWork, news: Sequence[PathNews]) -> None:
    """Tell what new facts made of the missions of each customer, and when to look again."""
    touched: dict[UUID, tuple[Mission, list[Visit]]] = {}
    for it in news:
        for mission in it.missions(work.now):
            if fresh := [visit for visit in mission.visits if visit.key in it.keys or visit.order_id in it.orders]:
                touched[mission.id(work.context.tenant)] = mission, fresh
        if it.orders:
            _expect_repurchase(work, it.history)
    known = work.find_all(ShoppingMission, list(touched))
    for id, (mission, fresh) in touched.items():
        _tell(work, known.get(id), mission, fresh, _ending(mission))
        _watch(work, mission, fresh)


def tell_stalls(command: TellStalls, work: UnitOfWork, facts: Facts) -> None:
    book, tenant = facts(work), work.context.tenant
    people = book.people({it.node for it in command.these})
    missions = {who: it.missions(work.now) for who, it in histories(work, book, people).items()}
    found = [(it, hit) for it in command.these if (hit := _find(missions[people.of(it.node)], it))]
    told = work.find_all(ShoppingMission, [mission.id(tenant) for _, (mission, _) in found])
    for it, (mission, visit) in found:
        id, seconds = mission.id(tenant), int(it.patience.total_seconds())
        hesitated = [step for step in mission.visits if step.step is Step.HESITATE and step.order_id == visit.order_id]
        told[id] = _tell(work, told.get(id), mission, hesitated)
        told[id].stall(visit.step, visit.at, seconds, node=visit.node, order_id=visit.order_id)


def tell_ends(command: TellEnds, work: UnitOfWork, facts: Facts) -> None:
    """Only of missions that were told of: the others are told when their next fact comes."""
    book = facts(work)
    ended = {
        it.id(work.context.tenant): it
        for history in histories(work, book, book.people(command.nodes)).values()
        for it in history.missions(work.now)
        if it.result is Result.ABANDONED
    }
    for id, told in work.find_all(ShoppingMission, list(ended)).items():
        told.move((), _ending(ended[id]))


def tell_repurchase_missing(command: TellRepurchaseMissing, work: UnitOfWork, facts: Facts) -> None:
    """The last mission that was realised is stuck if nothing was bought by the day it was expected."""
    book = facts(work)
    stuck: dict[UUID, tuple[Mission, datetime]] = {}
    for history in histories(work, book, book.people(command.nodes)).values():
        due = _expected(history.orders)
        if due is None or work.now < due:
            continue
        bought = max((it for it in history.orders if it.paid_at), key=lambda it: it.paid_at or it.placed_at)
        realised = [it for it in history.missions_of([bought.id], work.now) if it.result is Result.REALISED]
        if realised:
            mission = max(realised, key=lambda it: (it.closed_at, it.category))
            stuck[mission.id(work.context.tenant)] = mission, due
    known = work.find_all(ShoppingMission, list(stuck))
    for id, (mission, due) in stuck.items():
        last = next(it for it in reversed(mission.visits) if it.step is Step.PAY)
        after = int((due - last.at).total_seconds())
        told = _tell(work, known.get(id), mission, ())
        told.stall(Step.REPURCHASE, last.at, after, node=last.node, order_id=last.order_id)


def stall_timer(watch: Watch) -> Timer:
    visit, seconds = watch.visit, int(watch.patience.total_seconds())
    payload = {"node": str(visit.node), "key": visit.key, "step": visit.step, "seconds": seconds}
    return Timer(STALL_TIMER, f"{visit.step}/{seconds}/{visit.key}", visit.at + watch.patience, payload)


def _tell(
    work: UnitOfWork,
    told: ShoppingMission | None,
    mission: Mission,
    visits: Sequence[Visit],
    ending: Ending | None = None,
) -> ShoppingMission:
    """Tell which steps the visits are, and how the mission ended, as far as that is new."""
    steps = first_of_each(map(_reached, visits))
    if told is None:
        tenant, node = work.context.tenant, mission.opening.node
        told = ShoppingMission(mission.id(tenant), tenant, node, mission.category, steps, ending)
        work.add(told)
    else:
        told.move(steps, ending)
    return told


def _watch(work: UnitOfWork, mission: Mission, fresh: Sequence[Visit]) -> None:
    """Look again where it may be stuck, and when it is idle."""
    for watch in (watch for visit in fresh for watch in watches(mission, visit)):
        work.schedule(stall_timer(watch))
    if mission.closed_at is None:
        node = mission.visits[-1].node
        work.schedule(Timer(IDLE_TIMER, f"{node}/{mission.category}", mission.idle_at, {"node": str(node)}))


def _reached(visit: Visit) -> Reached:
    return Reached(visit.step, visit.node, visit.sku, visit.order_id, visit.at)


def _ending(mission: Mission) -> Ending | None:
    if mission.closed_at is None:
        return None
    return Ending(mission.result, mission.need_state, mission.closed_at)


def _expect_repurchase(work: UnitOfWork, history: History) -> None:
    """Look again when the customer should have bought; the day moves with every order."""
    due = _expected(history.orders)
    if due is not None and due > work.now:
        node = history.nodes[0]
        work.schedule(Timer(REPURCHASE_TIMER, str(node), due, {"node": str(node)}))


def _expected(orders: Collection[OrderFact]) -> datetime | None:
    """The end of the day on which the next occasion is expected."""
    days = occasions(orders)
    rhythm = cycle(days)
    return None if rhythm is None else midnight(days[-1]) + rhythm + timedelta(days=1)


def _find(missions: Sequence[Mission], it: Suspect) -> tuple[Mission, Visit] | None:
    """The visit that a timer was set for, if it is still stuck."""
    for mission in missions:
        for visit in mission.visits:
            if (visit.key, visit.step) == (it.key, it.step) and is_stuck(mission, visit):
                return mission, visit
    return None


def path_handlers(facts: Facts) -> Handlers:
    return (
        handler(TellStalls, lambda it, work: tell_stalls(it, work, facts)),
        handler(TellEnds, lambda it, work: tell_ends(it, work, facts)),
        handler(TellRepurchaseMissing, lambda it, work: tell_repurchase_missing(it, work, facts)),
    )


def _suspect(timer: Timer) -> Suspect:
    it = timer.payload
    return Suspect(UUID(it["node"]), it["key"], Step(it["step"]), timedelta(seconds=it["seconds"]))


def _nodes(timers: Sequence[Timer]) -> tuple[UUID, ...]:
    return tuple(UUID(it.payload["node"]) for it in timers)


PATH_TIMERS: Final[Mapping[str, Any]] = {
    STALL_TIMER: Together(lambda timers: TellStalls(tuple(map(_suspect, timers)))),
    IDLE_TIMER: Together(lambda timers: TellEnds(_nodes(timers))),
    REPURCHASE_TIMER: Together(lambda timers: TellRepurchaseMissing(_nodes(timers))),
}
