"""Models of layers as a tenant defines them (spec TG-0), their runs, and where customers are under the active ones."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.conditions import Universe
from services.tagging.domain.errors import ModelExists
from services.tagging.domain.layers import params as rules
from services.tagging.domain.layers.intent import Lead
from services.tagging.domain.layers.kinds import KINDS, Kind

ALGORITHM: Final = "layers/2"
"""Part of every run's fingerprint: raise the number when the same facts would give other layers."""


class LayerCause(StrEnum):
    """What moved a customer to another layer."""

    EVENT = "EVENT"
    TIME = "TIME"
    MERGE = "MERGE"
    PARAMS = "PARAMS"
    ERASURE = "ERASURE"


def layer_model_id(tenant: str, key: str) -> UUID:
    return natural_id(tenant, "layer_model", key)


class LayerModel(Aggregate):
    """A model under its key. Its parameters are fixed for a version; an active one is kept up to date with every fact."""

    TOPIC = "tagging.LayerModel"

    class Defined(InitialEvent):
        """`params` is JSON, all parameters spelt out."""

        TOPIC = "tagging.LayerModelDefined"
        tenant: str
        key: str
        kind: Kind
        universe: Universe
        params: str
        at: datetime

    class Updated(Event):
        TOPIC = "tagging.LayerModelUpdated"
        model: str
        version: int
        params: str
        at: datetime

    class Activated(Event):
        TOPIC = "tagging.LayerModelActivated"
        model: str
        version: int
        at: datetime

    @event(Defined)
    def __init__(
        self, id: UUID, tenant: str, key: str, kind: Kind, universe: Universe, params: str, at: datetime
    ) -> None:
        self.tenant = tenant
        self.key = key
        self.kind = kind
        self.universe = universe
        self.stated = params
        self.model_version = 1
        self.active = False
        self.defined_at = self.updated_at = at

    @property
    def params(self) -> Any:
        """The parameters, of the class of the kind."""
        return rules.read(KINDS[self.kind].params, json.loads(self.stated))

    def redefine(self, kind: Kind, universe: Universe, params: str) -> None:
        """Be defined again, which has to be the same. Raises ModelExists."""
        if (self.kind, self.universe, self.stated) != (kind, universe, params):
            raise ModelExists(field="model_id")

    def update(self, params: str, now: datetime) -> bool:
        """Have other parameters, which is another version; whether they are others."""
        if params == self.stated:
            return False
        self._updated(model=self.key, version=self.model_version + 1, params=params, at=now)
        return True

    def activate(self, now: datetime) -> bool:
        """Be kept up to date from now on; whether that is new."""
        if self.active:
            return False
        self._activated(model=self.key, version=self.model_version, at=now)
        return True

    @event(Updated)
    def _updated(self, model: str, version: int, params: str, at: datetime) -> None:
        self.model_version = version
        self.stated = params
        self.updated_at = at

    @event(Activated)
    def _activated(self, model: str, version: int, at: datetime) -> None:
        self.active = True
        self.updated_at = at


def stated(kind: Kind, given: Mapping[str, Any]) -> str:
    """Parameters with all defaults, as JSON that is the same for the same parameters. Raises ModelParams."""
    return json.dumps(rules.stated(rules.read(KINDS[kind].params, given)), sort_keys=True, separators=(",", ":"))


def params_hash(kind: Kind, universe: Universe, params: str, zone: str) -> str:
    """Fingerprint (hex) of all that decides layers beside the facts and the date."""
    return hashlib.sha256("\x1f".join((ALGORITHM, kind, universe, params, zone)).encode()).hexdigest()


class LayerRun(Aggregate):
    """One run of a model of layers: immutable. Its members by layer are in the table of runs, written with it."""

    TOPIC = "tagging.LayerRun"

    class Completed(InitialEvent):
        """`counts` has customers by layer, and by the sets that the kind marks beside its layers."""

        TOPIC = "tagging.LayerRunCompleted"
        tenant: str
        model: str
        kind: Kind
        model_version: int
        as_of: date
        params_hash: str
        input_position: int
        population: int
        counts: dict[str, int]
        at: datetime

    @event(Completed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        model: str,
        kind: Kind,
        model_version: int,
        as_of: date,
        params_hash: str,
        input_position: int,
        population: int,
        counts: dict[str, int],
        at: datetime,
    ) -> None:
        self.tenant = tenant
        self.model = model
        self.kind = kind
        self.model_version = model_version
        self.as_of = as_of
        self.params_hash = params_hash
        self.input_position = input_position
        self.population = population
        self.counts = counts
        self.completed_at = at


class BandChange(NamedTuple):
    """The score of a category, and the bands it was in and is in now."""

    category: str
    before: str
    after: str
    score: float


def customer_layers_id(tenant: str, customer: UUID) -> UUID:
    return natural_id(tenant, "layers", str(customer))


class CustomerLayers(Aggregate):
    """How one customer moved through the layers of active models, and became a lead."""

    TOPIC = "tagging.CustomerLayers"

    class Opened(InitialEvent):
        TOPIC = "tagging.CustomerLayersOpened"
        tenant: str
        customer: UUID

    class LayerChanged(Event):
        TOPIC = "tagging.LayerChanged"
        customer: UUID
        model: str
        version: int
        before: str
        after: str
        cause: LayerCause
        at: datetime

    class ScoreChanged(Event):
        """A score of a model that has one for each category is in another band."""

        TOPIC = "tagging.ScoreChanged"
        customer: UUID
        model: str
        version: int
        category: str
        before: str
        after: str
        score: float
        cause: LayerCause
        at: datetime

    class LeadQualified(Event):
        TOPIC = "tagging.LeadQualified"
        customer: UUID
        model: str
        version: int
        category: str
        score: float
        evidence: tuple[str, ...]
        at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, customer: UUID) -> None:
        self.tenant = tenant
        self.customer = customer

    @classmethod
    def open(cls, tenant: str, customer: UUID) -> "CustomerLayers":
        return cls(customer_layers_id(tenant, customer), tenant, customer)

    def move(self, model: tuple[str, int], layers: tuple[str, str], cause: LayerCause, now: datetime) -> None:
        """Go from one layer of a model (its key and version) to another."""
        (key, version), (before, after) = model, layers
        self._moved(customer=self.customer, model=key, version=version, before=before, after=after, cause=cause, at=now)

    def score(self, model: tuple[str, int], it: BandChange, cause: LayerCause, now: datetime) -> None:
        """Have a score go from one band of a model (its key and version) to another."""
        key, version = model
        self._scored(customer=self.customer, model=key, version=version, **it._asdict(), cause=cause, at=now)

    def qualify(self, model: tuple[str, int], lead: Lead) -> None:
        """Be a lead."""
        key, version = model
        self._qualified(
            customer=self.customer,
            model=key,
            version=version,
            category=lead.category,
            score=lead.score,
            evidence=lead.evidence,
            at=lead.at,
        )

    @event(LayerChanged)
    def _moved(
        self, customer: UUID, model: str, version: int, before: str, after: str, cause: LayerCause, at: datetime
    ) -> None:
        """Where a customer is now is in the table of current layers."""

    @event(ScoreChanged)
    def _scored(
        self,
        customer: UUID,
        model: str,
        version: int,
        category: str,
        before: str,
        after: str,
        score: float,
        cause: LayerCause,
        at: datetime,
    ) -> None:
        """See above."""

    @event(LeadQualified)
    def _qualified(
        self,
        customer: UUID,
        model: str,
        version: int,
        category: str,
        score: float,
        evidence: tuple[str, ...],
        at: datetime,
    ) -> None:
        """See above."""
