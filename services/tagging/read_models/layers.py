"""Models of layers as they are now, where customers are under the active ones, and who was in which layer at any date."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.layer_ports import NO_LAYER, Bands, LayerState, ListedModel
from services.tagging.application.ports import Change
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Universe
from services.tagging.domain.history import History, Reads
from services.tagging.domain.layer_models import LayerModel
from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.kinds import KINDS, Kind
from services.tagging.domain.layers.view import NONE, View
from services.tagging.read_models import bitmaps, histories, sql

_COLUMNS: Final = "model, kind, version, params, universe, active, created_at, updated_at"
_ACTIVE: Final = f"SELECT {_COLUMNS} FROM layer_models WHERE tenant = %s AND active ORDER BY model"  # noqa: S608
_ONE: Final = f"SELECT {_COLUMNS} FROM layer_models WHERE tenant = %s AND model = %s"  # noqa: S608
_LIST: Final = f"SELECT {_COLUMNS} FROM layer_models WHERE tenant = %s AND model > %s ORDER BY model LIMIT %s"  # noqa: S608
_KEEP_MODEL: Final = (
    f"INSERT INTO layer_models (tenant, {_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608
    " ON CONFLICT (tenant, model) DO UPDATE SET version = excluded.version, params = excluded.params,"
    " active = excluded.active, updated_at = excluded.updated_at"
)
_STATES: Final = (
    "SELECT customer, layer, next_change, lead_at, bands FROM current_layers"
    " WHERE tenant = %s AND model = %s AND customer = ANY(%s)"
)
_KEEP_STATES: Final = (
    "INSERT INTO current_layers (tenant, customer, model, layer, next_change, lead_at, bands)"
    " SELECT %s, * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[])"
    " ON CONFLICT (tenant, customer, model)"
    " DO UPDATE SET layer = excluded.layer, next_change = excluded.next_change, lead_at = excluded.lead_at,"
    " bands = excluded.bands"
)
_REMOVE_STATES: Final = "DELETE FROM current_layers WHERE tenant = %s AND model = %s AND customer = ANY(%s)"
_PAGE: Final = (
    "SELECT node, ordinal FROM nodes WHERE tenant = %s AND ordinal > %s AND node = customer AND NOT erased"
    " ORDER BY ordinal LIMIT %s"
)
_CHUNK: Final = 2000


def active(rows: sa.Connection, tenant: str) -> list[ListedModel]:
    return list(map(_listed, sql.fetch(rows, _ACTIVE, tenant)))


def after(rows: sa.Connection, tenant: str, model: str, limit: int) -> list[ListedModel]:
    """Up to `limit` models with keys behind `model`, by key."""
    return list(map(_listed, sql.fetch(rows, _LIST, tenant, model, limit)))


def listed(rows: sa.Connection, tenant: str, model: str) -> ListedModel | None:
    """A model as it is defined now."""
    found = sql.fetch(rows, _ONE, tenant, model)
    return _listed(found[0]) if found else None


def keep_model(rows: sa.Connection, tenant: str, it: LayerModel) -> None:
    values = (it.key, it.kind, it.model_version, it.stated, it.universe, it.active, it.defined_at, it.updated_at)
    sql.run(rows, _KEEP_MODEL, tenant, *values)


def states(rows: sa.Connection, tenant: str, model: str, customers: Iterable[UUID]) -> dict[UUID, LayerState]:
    """Those that are not `NO_LAYER`."""
    found = sql.fetch(rows, _STATES, tenant, model, list(customers))
    return {who: LayerState(layer, due, lead, _bands(bands)) for who, layer, due, lead, bands in found}


def keep_states(rows: sa.Connection, tenant: str, model: str, found: Mapping[UUID, LayerState]) -> None:
    """Keep where customers stand; what is `NO_LAYER` is no row."""
    gone = [who for who, it in found.items() if it == NO_LAYER]
    if gone:
        sql.run(rows, _REMOVE_STATES, tenant, model, gone)
    sql.run_all(
        rows,
        _KEEP_STATES,
        tenant,
        [
            (who, model, it.layer, it.next_change, it.lead_at, json.dumps(it.bands) if it.bands else None)
            for who, it in found.items()
            if it != NO_LAYER
        ],
    )


def _bands(stated: str | None) -> Bands | None:
    return None if stated is None else tuple((category, band) for category, band in json.loads(stated))


def pages(rows: sa.Connection, tenant: str, universe: Universe) -> Iterator[dict[UUID, int]]:
    """All customers of `universe` with their ordinals, some thousands at a time."""
    known = bitmaps.load(rows, tenant, (bitmaps.KNOWN,))[bitmaps.KNOWN] if universe is Universe.KNOWN else None
    last = -1
    while page := sql.fetch(rows, _PAGE, tenant, last, _CHUNK):
        last = page[-1][1]
        yield {node: ordinal for node, ordinal in page if known is None or ordinal in known}


def snapshots(
    rows: sa.Connection, tenant: str, model: LayerModel, calendar: Calendar, dates: Sequence[date]
) -> list[dict[str, BitMap]]:
    """Who was in which layer of a model as of each date: by all facts before its midnight that are known of now.

    Every layer of the kind is there, with or without customers, and so are the sets that it marks.
    """
    kind, params = KINDS[model.kind], model.params
    instants = [calendar.midnight(it.toordinal()) - timedelta(microseconds=1) for it in dates]
    found = [{layer: BitMap() for layer in (*kind.layers, *kind.marked)} for _ in dates]
    for page in pages(rows, tenant, model.universe) if dates else ():
        for who, history in histories.histories(rows, tenant, list(page), kind.reads).items():
            for members, view in zip(found, View.of_each(history, calendar, instants), strict=True):
                for name in (kind.layer(view, params), *kind.marks(view, params)):
                    if name != NONE:
                        members.setdefault(name, BitMap()).add(page[who])
    return found


class PostgresLayers:
    """`Layers` in the transaction of a unit of work, but for what segments follow."""

    def active_models(self, work: UnitOfWork) -> list[ListedModel]:
        return active(work.rows, work.context.tenant)

    def keep_model(self, work: UnitOfWork, model: LayerModel) -> None:
        keep_model(work.rows, work.context.tenant, model)

    def histories(self, work: UnitOfWork, customers: Collection[UUID]) -> dict[UUID, History]:
        return histories.histories(work.rows, work.context.tenant, customers, Reads())

    def known(self, work: UnitOfWork, who: BitMap) -> BitMap:
        return bitmaps.among(work.rows, work.context.tenant, (bitmaps.KNOWN,), who)[bitmaps.KNOWN]

    def layer_states(self, work: UnitOfWork, model: str, customers: Iterable[UUID]) -> dict[UUID, LayerState]:
        return states(work.rows, work.context.tenant, model, customers)

    def keep_layer_states(self, work: UnitOfWork, model: str, states: Mapping[UUID, LayerState]) -> None:
        keep_states(work.rows, work.context.tenant, model, states)

    def move(self, work: UnitOfWork, model: str, moves: Mapping[str, tuple[BitMap, BitMap]]) -> None:
        changes = {bitmaps.of_layer(model, layer): Change(*it) for layer, it in moves.items()}
        bitmaps.change(work.rows, work.context.tenant, changes)

    def page(self, work: UnitOfWork, after: int, limit: int) -> list[tuple[UUID, int]]:
        found = sql.fetch(work.rows, _PAGE, work.context.tenant, after, limit)
        return [(node, ordinal) for node, ordinal in found]


def _listed(row: sql.Row) -> ListedModel:
    key, kind, version, params, universe, *rest = row
    read = rules.read(KINDS[Kind(kind)].params, json.loads(params))
    return ListedModel(key, Kind(kind), version, read, Universe(universe), *rest)
