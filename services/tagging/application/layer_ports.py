"""What models of layers need of the tables that change with every fact; made real in `read_models/layers.py`."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.domain.conditions import Universe
from services.tagging.domain.history import History
from services.tagging.domain.layer_models import LayerModel
from services.tagging.domain.layers.kinds import Kind
from services.tagging.domain.layers.view import NONE
from services.tagging.domain.memberships import MembershipCause


class ListedModel(NamedTuple):
    """A model of layers as it is defined now; `params` are of the class of its kind."""

    key: str
    kind: Kind
    version: int
    params: Any
    universe: Universe
    active: bool
    created_at: datetime
    updated_at: datetime


Bands = tuple[tuple[str, str], ...]


class LayerState(NamedTuple):
    """Where a customer stands with an active model: `lead_at` is the instant of the last lead of an INTENT model, `bands` are the
    bands of its scores by category, in order (None: of none, or nobody has kept them yet)."""

    layer: str
    next_change: datetime | None = None
    lead_at: datetime | None = None
    bands: Bands | None = None


NO_LAYER = LayerState(NONE)


class LayerRows(NamedTuple):
    """Who is in which layer by a run, and in which of the sets that the kind marks beside them."""

    run: UUID
    model: str
    version: int
    as_of: date
    members: Mapping[str, BitMap]


class Layers(Protocol):
    """Models of layers, and where customers are under the active ones."""

    def active_models(self, work: UnitOfWork) -> list[ListedModel]: ...

    def keep_model(self, work: UnitOfWork, model: LayerModel) -> None:
        """List a model as it is defined now."""
        ...

    def histories(self, work: UnitOfWork, customers: Collection[UUID]) -> dict[UUID, History]: ...

    def known(self, work: UnitOfWork, who: BitMap) -> BitMap:
        """Those of `who` that are known customers."""
        ...

    def layer_states(self, work: UnitOfWork, model: str, customers: Iterable[UUID]) -> dict[UUID, LayerState]:
        """Those that are not `NO_LAYER`."""
        ...

    def keep_layer_states(self, work: UnitOfWork, model: str, states: Mapping[UUID, LayerState]) -> None: ...

    def move(self, work: UnitOfWork, model: str, moves: Mapping[str, tuple[BitMap, BitMap]]) -> None:
        """Who comes into and who goes out of which layer."""
        ...

    def follow_layers(self, work: UnitOfWork, moved: Mapping[str, BitMap], cause: MembershipCause) -> None:
        """Bring segments in line with moves, by model; after `move`."""
        ...

    def page(self, work: UnitOfWork, after: int, limit: int) -> list[tuple[UUID, int]]:
        """Up to `limit` customers with ordinals above `after`, by ordinal."""
        ...

    def keep_layers(self, work: UnitOfWork, rows: LayerRows) -> None:
        """Keep what a run found."""
        ...
