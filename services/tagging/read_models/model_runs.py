"""Runs of models with their rows and layers: written once with the run, never changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from services.tagging.application.layer_ports import LayerRows
from services.tagging.application.ports import Customer, KeptRun, RunRows, ValueRows
from services.tagging.domain.conditions import InLayer, RfmScores
from services.tagging.domain.errors import LayerNotFound, RunNotFound
from services.tagging.domain.layers.kinds import KINDS, Kind
from services.tagging.domain.layers.view import MARK, NONE
from services.tagging.domain.rfm import LAYERS, RfmRow, RfmSegment, RfmType
from services.tagging.read_models import bitmaps, directory, sql

_NAMES = LAYERS.union((NONE,), *(it.layers for it in KINDS.values()))
_NUMBER = "SELECT coalesce(max(number) + 1, 1) FROM model_runs WHERE tenant = %s AND model = %s"
_RUN = "INSERT INTO model_runs (tenant, run, model, as_of, number, version) VALUES (%s, %s, %s, %s, %s, %s)"
_ROWS = (
    "rfm_rows (tenant, run, ordinal, recency, frequency, monetary, recency_score, frequency_score, monetary_score,"
    " type, segment)"
)
_LAYER = (
    "INSERT INTO run_layers (tenant, run, layer, members) SELECT %s, * FROM unnest(%s::uuid[], %s::text[], %s::bytea[])"
)
_LATEST = (
    "SELECT run FROM model_runs WHERE tenant = %s AND model = %s AND (%s::date IS NULL OR as_of = %s)"
    " ORDER BY number DESC LIMIT 1"
)
_EXISTS = "SELECT run FROM model_runs WHERE tenant = %s AND model = %s AND run = %s"
_OF_MODEL = (
    "SELECT number, run FROM model_runs WHERE tenant = %s AND model = %s AND (%s::bigint IS NULL OR number < %s)"
    " ORDER BY number DESC LIMIT %s"
)
_OF_VERSION = (
    "SELECT run FROM model_runs WHERE tenant = %s AND model = %s AND version = %s AND as_of = %s"
    " ORDER BY number DESC LIMIT 1"
)
_LAST = (
    "SELECT run, version, as_of FROM model_runs WHERE tenant = %s AND model = %s AND (%s::date IS NULL OR as_of <= %s)"
    " ORDER BY as_of DESC, number DESC LIMIT 1"
)
_ACTIVE = "SELECT kind FROM layer_models WHERE tenant = %s AND model = %s AND active"
_ALL_MEMBERS = "SELECT layer, members FROM run_layers WHERE tenant = %s AND run = %s"
_MEMBERS = "SELECT members FROM run_layers WHERE tenant = %s AND run = %s AND layer = %s"
_WITH_SCORES = (
    "SELECT ordinal FROM rfm_rows WHERE tenant = %s AND run = %s AND recency_score BETWEEN %s AND %s"
    " AND frequency_score BETWEEN %s AND %s AND monetary_score BETWEEN %s AND %s"
)
_ROW = (
    "SELECT ordinal, recency, frequency, monetary, recency_score, frequency_score, monetary_score, type, segment"
    " FROM rfm_rows WHERE tenant = %s AND run = %s"
)


def keep(rows: sa.Connection, tenant: str, run: RunRows) -> None:
    """Write a run with its rows and layers."""
    keep_run(rows, tenant, run, run.version)
    sql.copy(rows, _ROWS, ((tenant, run.run, *it) for it in run.rows))
    layers: dict[str, list[int]] = {layer: [] for layer in LAYERS}
    for it in run.rows:
        if it.segment is not None and it.type is not None:
            layers[it.segment].append(it.customer)
            layers[it.type].append(it.customer)
    _keep_members(rows, tenant, run.run, {layer: BitMap(ordinals) for layer, ordinals in layers.items()})


def keep_layers(rows: sa.Connection, tenant: str, run: LayerRows) -> None:
    """Write a run of a model of layers."""
    keep_run(rows, tenant, run, run.version)
    _keep_members(rows, tenant, run.run, run.members)


def of_version(rows: sa.Connection, tenant: str, model: str, version: int, as_of: date) -> UUID | None:
    """The run made last of a version of a model as of a date."""
    found = sql.fetch(rows, _OF_VERSION, tenant, model, version, as_of)
    return found[0][0] if found else None


def members(rows: sa.Connection, tenant: str, run: UUID) -> dict[str, BitMap]:
    """Who is in which layer by a run, and in which of the sets beside them."""
    return {layer: bitmaps.unpack(packed) for layer, packed in sql.fetch(rows, _ALL_MEMBERS, tenant, run)}


def latest(rows: sa.Connection, tenant: str, model: str, as_of: date | None = None) -> UUID:
    """The run made last, of those as of a date if one is given. Raises RunNotFound."""
    found: list[tuple[UUID]] = sql.fetch(rows, _LATEST, tenant, model, as_of, as_of)
    if not found:
        raise RunNotFound(model=model)
    return found[0][0]


def last(rows: sa.Connection, tenant: str, model: str, until: date | None = None) -> KeptRun | None:
    """Of the runs as of the last date, or the last not behind `until`, the one made last."""
    found = sql.fetch(rows, _LAST, tenant, model, until, until)
    return KeptRun(*found[0]) if found else None


def of_model(rows: sa.Connection, tenant: str, model: str, before: int | None, limit: int) -> list[tuple[int, UUID]]:
    """Up to `limit` runs with numbers below `before` (None: all), each with its number, latest first."""
    return [(number, run) for number, run in sql.fetch(rows, _OF_MODEL, tenant, model, before, before, limit)]


def layer(rows: sa.Connection, tenant: str, wanted: InLayer, everybody: Callable[[], BitMap]) -> BitMap:
    """Everybody in a layer of a run, or now of an active model, or (NONE) in no layer. Raises RunNotFound, LayerNotFound."""
    if wanted.run is None and wanted.as_of is None:
        found = sql.fetch(rows, _ACTIVE, tenant, wanted.model)
        if found:
            return _now(rows, tenant, wanted, Kind(found[0][0]), everybody)
    run = wanted.run
    if run is None:
        run = _latest_with(rows, tenant, wanted)
    elif not sql.fetch(rows, _EXISTS, tenant, wanted.model, run):
        raise RunNotFound(model=wanted.model)
    if wanted.layer == NONE:
        placed = (who for name, who in members(rows, tenant, run).items() if not name.startswith(MARK))
        return everybody() - BitMap.union(BitMap(), *placed)
    packed = sql.fetch(rows, _MEMBERS, tenant, run, wanted.layer)
    if not packed:
        raise LayerNotFound(layer=wanted.layer)
    return bitmaps.unpack(packed[0][0])


def _latest_with(rows: sa.Connection, tenant: str, wanted: InLayer) -> UUID:
    """Raises RunNotFound, or LayerNotFound where there is no run and could be no such layer."""
    try:
        return latest(rows, tenant, wanted.model, wanted.as_of)
    except RunNotFound:
        if wanted.layer not in _NAMES:
            raise LayerNotFound(layer=wanted.layer) from None
        raise


def _now(rows: sa.Connection, tenant: str, wanted: InLayer, kind: Kind, everybody: Callable[[], BitMap]) -> BitMap:
    """Everybody who is in a layer of an active model. Raises LayerNotFound."""
    if wanted.layer == NONE:
        return everybody() - bitmaps.in_any_layer(rows, tenant, wanted.model)
    layers = KINDS[kind].layers
    if layers and wanted.layer not in layers:
        raise LayerNotFound(layer=wanted.layer)
    name = bitmaps.of_layer(wanted.model, wanted.layer)
    return bitmaps.load(rows, tenant, (name,))[name]


def with_scores(rows: sa.Connection, tenant: str, wanted: RfmScores) -> BitMap:
    """Everybody with scores within bounds in the latest run. Raises RunNotFound."""
    run = latest(rows, tenant, wanted.model)
    found = sql.fetch(rows, _WITH_SCORES, tenant, run, *wanted.recency, *wanted.frequency, *wanted.monetary)
    return BitMap(row[0] for row in found)


def rfm_rows(rows: sa.Connection, tenant: str, run: UUID, after: int, limit: int) -> list[RfmRow]:
    """Up to `limit` rows of a run with ordinals above `after`, by ordinal."""
    found = sql.fetch(rows, f"{_ROW} AND ordinal > %s ORDER BY ordinal LIMIT %s", tenant, run, after, limit)
    return list(_rows(found))


def rfm_rows_with_customers(
    rows: sa.Connection, tenant: str, run: UUID, after: int, limit: int
) -> tuple[list[RfmRow], dict[int, Customer]]:
    """`rfm_rows`, and the customers they are about by ordinal."""
    found = rfm_rows(rows, tenant, run, after, limit)
    customers = directory.by_ordinal(rows, tenant, [it.customer for it in found])
    return found, {it.ordinal: it for it in customers}


def rfm_row(rows: sa.Connection, tenant: str, run: UUID, ordinal: int) -> RfmRow | None:
    """What a run says about one customer."""
    return next(_rows(sql.fetch(rows, f"{_ROW} AND ordinal = %s", tenant, run, ordinal)), None)


def _rows(found: Iterable[sql.Row]) -> Iterator[RfmRow]:
    for *numbers, kind, segment in found:
        yield RfmRow._make((*numbers, RfmType(kind) if kind else None, RfmSegment(segment) if segment else None))


def keep_run(rows: sa.Connection, tenant: str, run: RunRows | LayerRows | ValueRows, version: int) -> None:
    """Write that there is a run, with the next number of its model."""
    (number,) = sql.fetch(rows, _NUMBER, tenant, run.model)[0]
    sql.run(rows, _RUN, tenant, run.run, run.model, run.as_of, number, version)


def _keep_members(rows: sa.Connection, tenant: str, run: UUID, layers: Mapping[str, BitMap]) -> None:
    packed = [(run, layer, bitmaps.pack(who)) for layer, who in sorted(layers.items())]
    sql.run_all(rows, _LAYER, tenant, packed)
