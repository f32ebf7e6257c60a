"""Commands on models of layers: define, change and activate them, keep runs, make audiences of the moves between layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.layer_ports import LayerRows
from services.tagging.application.layer_review import review_layers
from services.tagging.application.ports import Audiences
from services.tagging.application.segment_commands import CreateSegment, SegmentResult, create_segment
from services.tagging.domain.conditions import InLayer, Universe, all_of, that
from services.tagging.domain.errors import LayerNotFound, ModelExists, ModelNotFound
from services.tagging.domain.layer_models import (
    LayerCause,
    LayerModel,
    LayerRun,
    layer_model_id,
    stated,
)
from services.tagging.domain.layers.kinds import Kind
from services.tagging.domain.layers.view import MARK, NONE
from services.tagging.domain.memberships import MembershipCause
from services.tagging.domain.model_schedules import Schedule
from services.tagging.domain.models import RfmModel, model_id
from services.tagging.domain.segments import Definition
from services.tagging.domain.value_models import ValueModel, value_model_id

REVIEW_MODEL = "review_model"
"""Kind of the timer that puts all customers into the layers of a model, page by page."""

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class DefineLayerModel:
    """Define a model; what `params` do not give has its default."""

    key: str
    kind: Kind
    universe: Universe
    params: Mapping[str, Any]


def define_layer_model(command: DefineLayerModel, work: UnitOfWork, audiences: Audiences) -> LayerModel:
    tenant, params = work.context.tenant, stated(command.kind, command.params)
    id = layer_model_id(tenant, command.key)
    model = work.find(LayerModel, id)
    if model is not None:
        model.redefine(command.kind, command.universe, params)
        return model
    others = (
        work.find(RfmModel, model_id(tenant, command.key)),
        work.find(ValueModel, value_model_id(tenant, command.key)),
    )
    if any(it is not None for it in others):
        raise ModelExists(field="model_id")
    model = LayerModel(id, tenant, command.key, command.kind, command.universe, params, work.now)
    work.add(model)
    audiences.keep_model(work, model)
    return model


@dataclass(frozen=True, slots=True)
class UpdateModel:
    """Give a model other parameters, which is another version of it, and perhaps another schedule."""

    key: str
    params: Mapping[str, Any]
    schedule: Schedule | None = None


def update_model(command: UpdateModel, work: UnitOfWork, audiences: Audiences) -> LayerModel:
    model = layer_model_of(work, command.key)
    if model.update(stated(model.kind, command.params), work.now):
        audiences.keep_model(work, model)
        if model.active:
            _review_all(work, model.key)
    return model


@dataclass(frozen=True, slots=True)
class ActivateModel:
    """Keep the layers of all customers up to date from now on."""

    key: str


def activate_model(command: ActivateModel, work: UnitOfWork, audiences: Audiences) -> LayerModel:
    model = layer_model_of(work, command.key)
    if model.activate(work.now):
        audiences.keep_model(work, model)
        _review_all(work, model.key)
    return model


@dataclass(frozen=True, slots=True)
class ReviewModel:
    """Decide the layers of the next customers anew, from the one after ordinal `after` on."""

    model: str
    after: int


def review_model(command: ReviewModel, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    page = audiences.page(work, command.after, _PAGE)
    if page:
        moved = review_layers(work, audiences, dict(page), lambda who: LayerCause.PARAMS, command.model)
        audiences.follow_layers(work, moved, MembershipCause.BACKFILL)
        _review_all(work, command.model, page[-1][1])


@dataclass(frozen=True, slots=True)
class ReviewLayer:
    """Decide the layer of a customer anew, because a moment has come."""

    model: str
    customer_id: UUID


def review_layer(command: ReviewLayer, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    customer = audiences.customers(work, (command.customer_id,)).get(command.customer_id)
    if customer is not None and customer.id == command.customer_id:
        ordinal_of = {customer.id: customer.ordinal}
        moved = review_layers(work, audiences, ordinal_of, lambda who: LayerCause.TIME, command.model)
        audiences.follow_layers(work, moved, MembershipCause.TIME)


@dataclass(frozen=True, slots=True)
class KeepLayerRun:
    """Keep what a run found; decided beforehand, so that nothing else waits for it."""

    model: str
    version: int
    as_of: date
    params_hash: str
    input_position: int
    members: Mapping[str, BitMap]


def keep_layer_run(command: KeepLayerRun, work: UnitOfWork, audiences: Audiences) -> tuple[UUID, LayerRun]:
    model = layer_model_of(work, command.model)
    audiences.lock(work)
    id = work.new_id()
    counts = {layer: len(who) for layer, who in sorted(command.members.items())}
    run = LayerRun(
        id,
        work.context.tenant,
        command.model,
        model.kind,
        command.version,
        command.as_of,
        command.params_hash,
        command.input_position,
        sum(n for layer, n in counts.items() if not layer.startswith(MARK)),
        counts,
        work.now,
    )
    work.add(run)
    audiences.keep_layers(work, LayerRows(id, command.model, command.version, command.as_of, command.members))
    return id, run


@dataclass(frozen=True, slots=True)
class SelectLayerCell:
    """Make a segment of everybody who was in one layer by one run and is in another by a later one.

    Each of the two runs is one that is kept, or one to be kept; of a model that is not there, there are none.
    """

    name: str
    model: str
    runs: Sequence[UUID | KeepLayerRun]
    layers: tuple[str, str]


def select_layer_cell(command: SelectLayerCell, work: UnitOfWork, audiences: Audiences) -> SegmentResult:
    model = layer_model_of(work, command.model)
    if command.layers == (NONE, NONE):
        raise LayerNotFound("whoever is in no layer at both dates is not known of", layer=NONE)
    audiences.lock(work)
    leaves = []
    for run, layer in zip(command.runs, command.layers, strict=True):
        kept = keep_layer_run(run, work, audiences)[0] if isinstance(run, KeepLayerRun) else run
        leaves.append(that(InLayer(command.model, layer, kept)))
    return create_segment(
        CreateSegment(command.name, Definition(condition=all_of(*leaves)), model.universe), work, audiences
    )


def layer_model_of(work: UnitOfWork, key: str) -> LayerModel:
    """Raises ModelNotFound."""
    model = work.find(LayerModel, layer_model_id(work.context.tenant, key))
    if model is None:
        raise ModelNotFound(field="model_id")
    return model


def _review_all(work: UnitOfWork, model: str, after: int = -1) -> None:
    work.schedule(Timer(REVIEW_MODEL, f"{model}:{after}", work.now, {"model": model, "after": after}))
