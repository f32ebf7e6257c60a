"""The matcher: follows what becomes known of customers and asks stewards about those who may be one person.

`Matcher(parts, bus, read_models, engine)` is a `Loop`. Of each stretch of the log it takes the customers of whom something
comparable changed, brings their keys up to date, compares them with the rest of their blocks, and hands over what it found together
with its new position. A run over everybody, which somebody asks for, is carried out some blocks at a time in between. What is found
twice is one candidate, so that whatever was interrupted is simply done again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
import structlog

from chassis.aggregate import event_classes
from chassis.commands import CommandBus, Outcome, Unit
from chassis.context import Context
from chassis.leadership import leading, persevere
from chassis.log import Recorded
from chassis.loops import Progress
from chassis.postgres import reading
from chassis.pulse import Pulse
from chassis.quick_look import QuickLook
from chassis.read_models import ReadModels
from chassis.threads import in_thread
from chassis.unit_of_work import replay
from services.identity.application.match_policy import FOLLOWED, MatchWork, match_work
from services.identity.application.matching import Compared, Matching, Pair
from services.identity.application.matching_commands import (
    FinishMatchRun,
    ProposeCandidates,
    Proposed,
    SettleCandidates,
    WithdrawCandidates,
)
from services.identity.domain.match_model import DEFAULT, MatchModel
from services.identity.domain.match_rules import MatchRules, match_rules_id
from services.identity.domain.match_run import Tally
from services.identity.read_models.steward_queue import open_candidates_of

AT_ONCE: Final = 200
"""How many candidates one command proposes or settles."""

_CURSOR: Final = sa.text("SELECT position FROM matcher_cursor WHERE name = 'match'")
_MOVE: Final = sa.text("UPDATE matcher_cursor SET position = :now WHERE name = 'match' AND position = :was")

_log = structlog.get_logger(__name__)


class CursorMoved(Exception):
    """Another matcher has read on."""


class Matcher:
    """`compared` counts pairs, `batches` the stretches of the log that asked for something."""

    name = "match"

    def __init__(
        self,
        matching: Matching,
        bus: CommandBus,
        read_models: ReadModels,
        engine: sa.Engine,
        *,
        poll: float = 0.05,
        pulse: Pulse | None = None,
        batch_limit: int = 1000,
    ) -> None:
        self.compared = 0
        self.batches = 0
        self._matching = matching
        self._bus = bus
        self._read_models = read_models
        self._engine = engine
        self._poll = poll
        self._news = (pulse or Pulse()).listener()
        self._batch_limit = batch_limit
        self._position: int | None = None  # of the cursor, while nobody else moves it
        self._without = [topic for topic, it in event_classes().items() if it not in FOLLOWED]

    async def run(self) -> None:
        """Follow the log whenever this matcher leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """`position` is the last event taken account of, `head` the last one recorded."""
        look = QuickLook.of(self._engine)  # the cursor first: rather too much backlog is told than too little
        asked = look.ask_scalar(_CURSOR.text), self._bus.store.head_now()
        position, head = await asked[0] or 0, await asked[1]
        return [Progress("loop", self.name, position, max(0, head - position), head)]

    async def step(self) -> bool:
        """Take account of the next stretch of the log; whether there was any."""
        if self._position is not None and await self._bus.store.head_now() <= self._position:
            return False
        was, now, recorded = await in_thread(self._read)
        if now == was:
            self._position = was
            return False
        orders: list[tuple[Context, Any]] = []
        if recorded:
            await self._read_models.wait_for(recorded[-1].position)
            for tenant, work in match_work(recorded).items():
                orders += await self._carry_out(tenant, work)
            self.batches += 1
        self._position = None
        if orders:
            await self._bus.run(Unit(orders, partial(_settle, was, now)))
        else:
            await in_thread(self._move, was, now)
        self._position = now
        return True

    async def _lead(self) -> None:
        async with leading(self._engine, "identity/match") as leadership:
            self._position = None
            await leadership.work(self.step, lambda: self._news.wait(self._poll))

    def _read(self) -> tuple[int, int, list[Recorded]]:
        """Where the cursor is, where it will be, and what is followed in between."""
        head = self._bus.store.head()  # asked first: all up to there can be read
        was = self._position if self._position is not None else self._cursor()
        if was >= head:
            return was, was, []
        recorded = self._bus.store.read_log(was, self._batch_limit, self._without)
        now = recorded[-1].position if len(recorded) == self._batch_limit else max(head, *_positions(recorded))
        return was, now, recorded

    def _cursor(self) -> int:
        with reading(self._engine) as rows:
            return int(rows.scalar(_CURSOR) or 0)

    def _move(self, was: int, now: int) -> None:
        """Note that nothing was to be done; should a crash undo that, nothing will be to be done again."""
        with self._engine.begin() as rows:
            rows.execute(sa.text("SET LOCAL synchronous_commit = off"))
            _settle(was, now, rows, ())

    async def _carry_out(self, tenant: str, work: MatchWork) -> list[tuple[Context, Any]]:
        """What is to be commanded for one tenant; runs over everybody have commanded most of theirs by then."""
        customers = await self._matching.refresh(tenant, list(work.changed)) if work.changed else ()
        doubted = await self._open(tenant, work.changed | work.unsettled)
        if not (customers or doubted or work.runs):
            return []
        model = await in_thread(self._model, tenant)
        context = Context.system(tenant, self.name)
        found = await self._compare(tenant, customers, model)
        orders: list[tuple[Context, Any]] = [(context, it) for it in _proposals(found)]
        for run in work.runs:
            tally = await self._run(tenant, run.customers, model)
            orders.append((context, FinishMatchRun(run.originator_id, tally)))
        unsettled = _those_with(work.unsettled, doubted)
        orders += [(context, SettleCandidates(tuple(it))) for it in _portions(list(unsettled))]
        unlike = await self._unlike(tenant, _those_with(work.changed, doubted), found, model)
        orders += [(context, WithdrawCandidates(tuple(it))) for it in _portions(unlike)]
        return orders

    async def _open(self, tenant: str, customers: Collection[UUID]) -> dict[UUID, Pair]:
        """The open candidates of these customers."""
        if not customers:
            return {}
        return await in_thread(self._read_models.query_now, lambda rows: open_candidates_of(rows, customers), tenant)

    async def _unlike(
        self, tenant: str, candidates: Mapping[UUID, Pair], found: Compared, model: MatchModel
    ) -> Sequence[UUID]:
        """Open candidates of those who changed, which what is known by now no longer speaks for."""
        alike = {frozenset((it.one, it.other)) for it in found.proposals}
        doubtful = {id: pair for id, pair in candidates.items() if frozenset(pair) not in alike}
        if not doubtful:
            return []
        unlike = await self._matching.unlike(tenant, list(doubtful.values()), model)
        return [id for id, pair in doubtful.items() if pair in unlike]

    async def _compare(self, tenant: str, customers: Collection[UUID], model: MatchModel) -> Compared:
        found = await self._matching.compare(tenant, customers, model)
        self.compared += found.pairs
        for it in found.skipped:
            _log.warning("match.skipped", kind=it.kind, blocks=it.blocks, largest=it.largest)
        return found

    async def _run(self, tenant: str, customers: Sequence[UUID], model: MatchModel) -> Tally:
        """Compare those customers, or everybody; what is found is proposed as it is found."""
        if customers:
            comparable = await self._matching.refresh(tenant, customers)
            return await self._propose(tenant, await self._compare(tenant, comparable, model), Tally())
        await self._matching.refresh_all(tenant)
        tally = Tally()
        async for found in self._matching.compare_all(tenant, model):
            self.compared += found.pairs
            tally = await self._propose(tenant, found, tally)
        return tally

    async def _propose(self, tenant: str, found: Compared, tally: Tally) -> Tally:
        context = Context.system(tenant, self.name)
        outcomes = await self._bus.run(Unit([(context, it) for it in _proposals(found)]))
        done = [_result(it) for it in outcomes]
        return replace(
            tally,
            compared=tally.compared + found.pairs,
            opened=tally.opened + sum(it.opened for it in done),
            merged=tally.merged + sum(it.merged for it in done),
            skipped=(*tally.skipped, *found.skipped),
        )

    def _model(self, tenant: str) -> MatchModel:
        id = match_rules_id(tenant)
        stream = self._bus.store.load([id]).get(id)
        rules = replay(stream) if stream else None
        return rules.model if isinstance(rules, MatchRules) else DEFAULT


def _settle(was: int, now: int, rows: sa.Connection, outcomes: Sequence[Outcome]) -> None:
    """Move the cursor in the transaction of what was commanded; nothing of it may be refused."""
    for it in outcomes:
        if it.error is not None:
            raise it.error
    if rows.execute(_MOVE, {"was": was, "now": now}).rowcount != 1:
        raise CursorMoved


def _result(outcome: Outcome) -> Proposed:
    if outcome.error is not None:
        raise outcome.error
    if not isinstance(outcome.result, Proposed):
        raise TypeError("a proposal tells how many were opened")
    return outcome.result


def _proposals(found: Compared) -> list[ProposeCandidates]:
    return [ProposeCandidates(tuple(part)) for part in _portions(found.proposals)]


def _those_with(customers: Collection[UUID], candidates: Mapping[UUID, Pair]) -> dict[UUID, Pair]:
    """The candidates in whose pair one of `customers` is."""
    return {id: pair for id, pair in candidates.items() if pair[0] in customers or pair[1] in customers}


def _portions(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def _positions(recorded: Sequence[Recorded]) -> Sequence[int]:
    return [it.position for it in recorded] or [0]
