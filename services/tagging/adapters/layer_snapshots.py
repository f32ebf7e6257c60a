"""Who was in which layer of a model at a date: by the run that is kept of it, or decided now."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis import context as contexts
from chassis.errors import ValueOutOfRange
from chassis.read_models import ReadModels
from services.tagging.application.layer_commands import KeepLayerRun
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.layer_models import LayerModel, params_hash
from services.tagging.domain.layers.kinds import KINDS
from services.tagging.domain.layers.report import LayerReport, between
from services.tagging.domain.layers.view import MARK
from services.tagging.read_models import audiences, layers, model_runs

_GATHERING_SECONDS: Final = 0.01


class _Subject(NamedTuple):
    """What decides the layers of everybody beside the facts and the date."""

    tenant: str
    model: str
    version: int
    zone: str


@dataclass(frozen=True, slots=True)
class Dated:
    """The members of layers, and of the sets beside them, as of a date; with the run if one is kept."""

    as_of: date
    run: UUID | None
    members: Mapping[str, BitMap]
    input_position: int = 0

    @property
    def layers(self) -> dict[str, BitMap]:
        return {name: who for name, who in self.members.items() if not name.startswith(MARK)}

    @property
    def marks(self) -> dict[str, BitMap]:
        return {name: who for name, who in self.members.items() if name.startswith(MARK)}

    def among(self, who: BitMap) -> "Dated":
        """As far as `who` is concerned."""
        members = {name: it & who for name, it in self.members.items()}
        return Dated(self.as_of, self.run, members, self.input_position)


@dataclass(frozen=True, slots=True)
class Report:
    """A model at two dates, and how customers moved between them."""

    model: LayerModel
    before: Dated
    after: Dated
    moves: LayerReport

    @classmethod
    def of(cls, model: LayerModel, before: Dated, after: Dated) -> "Report":
        kind = KINDS[model.kind].told(model.params)
        return cls(model, before, after, between(kind, before.layers, after.layers))


def check_dates(start: date, end: date, calendar: Calendar, now: datetime) -> None:
    """Raises ValueOutOfRange."""
    if start >= end:
        raise ValueOutOfRange("must be before `to`", field="from")
    if calendar.midnight(end.toordinal()) > now:
        raise ValueOutOfRange("must not be in the future", field="to")


def at_dates(
    rows: sa.Connection, tenant: str, model: LayerModel, calendar: Calendar, dates: Sequence[date]
) -> list[Dated]:
    """As of each date by the latest run of this version of the model, or without one, by all facts known of now."""
    runs = {it: model_runs.of_version(rows, tenant, model.key, model.model_version, it) for it in dates}
    found = {
        as_of: Dated(as_of, run, model_runs.members(rows, tenant, run))
        for as_of, run in runs.items()
        if run is not None
    }
    missing = [it for it in dates if it not in found]
    found |= {it.as_of: it for it in decided(rows, tenant, model, calendar, missing)}
    return [found[it] for it in dates]


def decided(
    rows: sa.Connection, tenant: str, model: LayerModel, calendar: Calendar, dates: Sequence[date]
) -> list[Dated]:
    """As of each date by all facts known of now."""
    position = audiences.input_position(rows, tenant)
    found = layers.snapshots(rows, tenant, model, calendar, dates)
    return [Dated(as_of, None, members, position) for as_of, members in zip(dates, found, strict=True)]


class Deciding:
    """Decides one date per call; the calls for a model that come in together, or while its customers are being read, share a
    reading of all their facts."""

    def __init__(self, read_models: ReadModels) -> None:
        self._read_models = read_models
        self._waiting: dict[_Subject, dict[date, asyncio.Future[Dated]]] = {}
        self._reading: dict[_Subject, asyncio.Task[None]] = {}

    async def decided(self, model: LayerModel, zone: str, as_of: date) -> Dated:
        """As of a date by all facts known of when this was called, and perhaps a little later ones."""
        subject = _Subject(contexts.current().tenant, model.key, model.model_version, zone)
        waiting = self._waiting.setdefault(subject, {})
        found = waiting.setdefault(as_of, asyncio.get_running_loop().create_future())
        if subject not in self._reading:
            self._reading[subject] = asyncio.create_task(self._read(subject, model))
        return await asyncio.shield(found)

    async def _read(self, subject: "_Subject", model: LayerModel) -> None:
        """Read until nobody waits; who comes while a reading is under way waits for the next, which sees all they may know of."""
        try:
            await asyncio.sleep(_GATHERING_SECONDS)
            while wanted := self._waiting.pop(subject, {}):
                await self._answer(subject, model, wanted)
        finally:
            del self._reading[subject]

    async def _answer(
        self, subject: "_Subject", model: LayerModel, wanted: Mapping[date, asyncio.Future[Dated]]
    ) -> None:
        try:
            calendar, dates = Calendar.of(subject.zone), sorted(wanted)
            found = await self._read_models.query(lambda rows: decided(rows, subject.tenant, model, calendar, dates))
        except Exception as failure:  # noqa: BLE001 - answered to whoever waits
            for waiting in wanted.values():
                waiting.set_exception(failure)
            return
        for it in found:
            wanted[it.as_of].set_result(it)


def to_keep(model: LayerModel, it: Dated, zone: str) -> KeepLayerRun:
    """The command that keeps what was decided."""
    fingerprint = params_hash(model.kind, model.universe, model.stated, zone)
    return KeepLayerRun(model.key, model.model_version, it.as_of, fingerprint, it.input_position, it.members)
