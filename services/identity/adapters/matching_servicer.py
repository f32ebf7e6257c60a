"""Pairs of customers who may be one person, over gRPC."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import numpy as np
import sqlalchemy as sa

from chassis.commands import CommandBus
from chassis.context import current, entered
from chassis.errors import AggregateNotFound
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceServicer
from services.identity.adapters import matching_wire as wire
from services.identity.adapters.match_blocks import SqlBlocks
from services.identity.adapters.trait_book import SqlTraitBook
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.matching import Matching
from services.identity.application.matching_commands import SetMatchModel
from services.identity.application.vault import KeyWrap
from services.identity.domain.blocking import BlockKeys
from services.identity.domain.errors import MatchRunNotFound
from services.identity.domain.match_candidate import NOTE
from services.identity.domain.match_model import DEFAULT, Feature, Levels, MatchModel, levels_of
from services.identity.domain.match_rules import MatchRules, match_rules_id
from services.identity.domain.match_run import MatchRun
from services.identity.domain.sealing import SealedValue
from services.identity.read_models.steward_queue import CandidateRow, accepted_steps, list_candidates

MERGE: Final = "identity.merge"
"""The scope of those who decide, and read what others noted as they did."""

NEWEST_FIRST: Final = Keyset(datetime, UUID)
MOST_ACCEPTED: Final = 10_000
SEED: Final = 1
"""Of the pairs taken at random: the same question has the same answer."""


@dataclass(frozen=True, slots=True)
class MatchingParts:
    """What these RPCs need besides the bus: the reading side, what opens notes, and what learns models."""

    read_models: ReadModels
    unsealer: Unsealer
    matching: Matching

    @classmethod
    def on(cls, store: PostgresEventStore, read_models: ReadModels, wrap: KeyWrap, secret: bytes) -> "MatchingParts":
        """Those for the tables beside `store`; `secret` is the one behind keyed hashes."""
        unsealer = Unsealer(wrap)
        book = SqlTraitBook(store, read_models, unsealer)
        return cls(read_models, unsealer, Matching(book, SqlBlocks(store.engine), BlockKeys(secret)))


class MatchingServicer(IdentityServiceServicer):
    """The RPCs of IdentityService that are about pairs of customers."""

    def __init__(self, bus: CommandBus, parts: MatchingParts) -> None:
        self._bus = bus
        self._parts = parts
        self._learning = asyncio.Lock()

    async def RunMatching(self, request: pb.RunMatchingRequest, context: ServicerContext) -> pb.RunMatchingResponse:
        command = wire.run_command(request)
        answer: pb.RunMatchingResponse = await self._bus.execute(command, reply=wire.run_requested)
        return answer

    async def GetMatchRun(self, request: pb.GetMatchRunRequest, context: ServicerContext) -> pb.GetMatchRunResponse:
        try:
            run = await self._bus.load(MatchRun, UUID(request.run_id))
        except AggregateNotFound:
            raise MatchRunNotFound(field="run_id") from None
        return pb.GetMatchRunResponse(run=wire.match_run(run))

    async def ListMatchCandidates(
        self, request: pb.ListMatchCandidatesRequest, context: ServicerContext
    ) -> pb.ListMatchCandidatesResponse:
        page = NEWEST_FIRST.page(request)
        before = (page.after[0], page.after[1]) if page.after else None
        asked, caller = wire.wanted(request, before), current()

        def ask(rows: sa.Connection) -> tuple[Sequence[CandidateRow], str, Sequence[str | None]]:
            found = list_candidates(rows, asked, page.limit)
            shown, token = NEWEST_FIRST.cut(request, found, lambda it: [it.found_at, str(it.candidate)])
            with entered(caller):
                return shown, token, self._notes(rows, shown)

        shown, token, notes = await self._parts.read_models.query(ask)
        candidates = [wire.candidate(it, note) for it, note in zip(shown, notes, strict=True)]
        return pb.ListMatchCandidatesResponse(candidates=candidates, next_page_token=token)

    async def DecideMatchCandidate(
        self, request: pb.DecideMatchCandidateRequest, context: ServicerContext
    ) -> pb.DecideMatchCandidateResponse:
        command = wire.decide_command(request)
        answer: pb.DecideMatchCandidateResponse = await self._bus.execute(command, reply=wire.decided)
        return answer

    async def GetMatchModel(
        self, request: pb.GetMatchModelRequest, context: ServicerContext
    ) -> pb.GetMatchModelResponse:
        return pb.GetMatchModelResponse(model=wire.model(await self._model()))

    async def SetMatchModel(
        self, request: pb.SetMatchModelRequest, context: ServicerContext
    ) -> pb.SetMatchModelResponse:
        command = SetMatchModel(wire.given_model(request.model))
        answer: pb.SetMatchModelResponse = await self._bus.execute(command, reply=wire.model_set)
        return answer

    async def EstimateMatchModel(
        self, request: pb.EstimateMatchModelRequest, context: ServicerContext
    ) -> pb.EstimateMatchModelResponse:
        tenant, model = current().tenant, await self._model()
        async with self._learning:  # it takes seconds of a processor
            if request.method == pb.ESTIMATE_METHOD_UNLABELLED:
                return wire.estimated(await self._parts.matching.learn(tenant, model, SEED))
            accepted = await self._parts.read_models.query(_accepted)
            return wire.estimated(await self._parts.matching.learn_from(tenant, model, accepted, SEED))

    async def _model(self) -> MatchModel:
        try:
            return (await self._bus.load(MatchRules, match_rules_id(current().tenant))).model
        except AggregateNotFound:
            return DEFAULT

    def _notes(self, rows: sa.Connection, shown: Sequence[CandidateRow]) -> Sequence[str | None]:
        sealed = [it for it in shown if it.note] if MERGE in current().scopes else []
        opened = self._parts.unsealer.open(rows, [SealedValue(it.a, NOTE, it.note or b"") for it in sealed])
        notes = dict(zip((it.candidate for it in sealed), opened, strict=True))
        return [notes.get(it.candidate) for it in shown]


def _accepted(rows: sa.Connection) -> Levels:
    """The levels of the pairs that stewards accepted."""
    found = [
        levels_of({Feature(it.feature): it.level for it in steps if it.level})
        for steps in accepted_steps(rows, MOST_ACCEPTED)
    ]
    return np.array(found, dtype=np.int8).reshape(len(found), len(Feature))
