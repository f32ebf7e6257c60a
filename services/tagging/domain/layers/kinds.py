"""The kinds of models that put customers into layers: what each is made of, and how it follows time."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.history import EVERYTHING, History, Reads
from services.tagging.domain.layers import (
    activity,
    aipl,
    consideration,
    decision,
    intent,
    lifecycle,
    path,
    preference,
    pyramid,
    sicas,
)
from services.tagging.domain.layers.params import Params
from services.tagging.domain.layers.view import ENGAGED, REVIEWS, View


class Kind(StrEnum):
    """What a model says of a customer."""

    LIFECYCLE = "LIFECYCLE"
    ACTIVITY = "ACTIVITY"
    INTENT = "INTENT"
    PREFERENCE = "PREFERENCE"
    DECISION = "DECISION"
    PATH = "PATH"
    PYRAMID = "PYRAMID"
    SICAS = "SICAS"
    AIPL = "AIPL"
    CONSIDERATION = "CONSIDERATION"


def _no_marks(view: View, params: Any) -> tuple[str, ...]:
    return ()


class Banding(NamedTuple):
    """Scores of which a customer has several, one per category: the band of each, how high it is, and the days on which time alone
    may change a band."""

    bands: Callable[[View, Any], Mapping[str, str]]
    scores: Callable[[View, Any], Mapping[str, float]]
    moments: Callable[[View, Any], Iterable[int]]


@dataclass(frozen=True, slots=True)
class LayerKind:
    """How a kind decides. `layers` are its names from the lowest up (empty: any category of products), `steps` those that
    are stages one after the other, `lost` those that are the loss of a customer; `marks` name sets beside the layers, of
    which `marked` are all, and `actions` say what may be done for whoever is in a layer."""

    params: type[Params]
    layers: tuple[str, ...]
    layer: Callable[[View, Any], str]
    moments: Callable[[View, Any], Iterable[int]]
    steps: tuple[str, ...] = ()
    lost: frozenset[str] = frozenset()
    marks: Callable[[View, Any], tuple[str, ...]] = _no_marks
    marked: tuple[str, ...] = ()
    actions: Mapping[str, str] = field(default_factory=dict)
    reads: Reads = EVERYTHING
    banding: Banding | None = None
    known: Callable[[Any], tuple[str, ...]] | None = None
    """Where parameters decide about it: the layers of which it is known who is in them."""

    def told(self, params: Any) -> "LayerKind":
        """The kind as far as a model with these parameters can tell."""
        return self if self.known is None else replace(self, layers=self.known(params))


_TYPES_ONLY: Final = Reads(frozenset(), lines=False, who=False)

KINDS: Final[Mapping[Kind, LayerKind]] = {
    Kind.LIFECYCLE: LayerKind(
        lifecycle.LifecycleParams,
        lifecycle.LAYERS,
        lifecycle.layer,
        lifecycle.moments,
        lost=lifecycle.LOST,
        marks=lifecycle.marks,
        marked=lifecycle.FUNNEL,
        reads=Reads(REVIEWS, lines=False),
    ),
    Kind.ACTIVITY: LayerKind(
        activity.ActivityParams,
        activity.LAYERS,
        activity.layer,
        activity.moments,
        steps=activity.LAYERS,
        lost=activity.LOST,
        reads=_TYPES_ONLY,
    ),
    Kind.INTENT: LayerKind(
        intent.IntentParams,
        intent.LAYERS,
        intent.layer,
        intent.moments,
        steps=intent.LAYERS,
        lost=intent.LOST,
        banding=Banding(intent.bands, intent.scores, intent.band_moments),
    ),
    Kind.PREFERENCE: LayerKind(preference.PreferenceParams, (), preference.layer, preference.moments),
    Kind.DECISION: LayerKind(decision.DecisionParams, decision.LAYERS, decision.layer, decision.moments),
    Kind.PATH: LayerKind(path.PathParams, path.LAYERS, path.layer, path.moments),
    Kind.PYRAMID: LayerKind(
        pyramid.PyramidParams,
        pyramid.LAYERS,
        pyramid.layer,
        pyramid.moments,
        steps=pyramid.PYRAMID,
        lost=pyramid.LOST,
        actions=pyramid.ACTIONS,
        reads=_TYPES_ONLY,
    ),
    Kind.SICAS: LayerKind(
        sicas.SicasParams,
        sicas.LAYERS,
        sicas.layer,
        sicas.moments,
        steps=sicas.LAYERS,
        marks=sicas.marks,
        marked=sicas.FLAGS,
        reads=Reads(frozenset({ENGAGED, *sicas.FOLLOWING}), lines=False, who=False),
    ),
    Kind.AIPL: LayerKind(
        aipl.AiplParams,
        aipl.LAYERS,
        aipl.layer,
        aipl.moments,
        steps=aipl.LAYERS,
        lost=aipl.LOST,
        reads=Reads(frozenset({ENGAGED, *REVIEWS}), lines=False, who=False),
    ),
    Kind.CONSIDERATION: LayerKind(
        consideration.ConsiderationParams,
        consideration.LAYERS,
        consideration.layer,
        consideration.moments,
        lost=consideration.LOST,
        marks=consideration.marks,
        marked=(consideration.ALSO_COMPETITOR,),
        known=consideration.known_layers,
    ),
}


class State(NamedTuple):
    """A customer's layer, the sets beside it, and when time alone will change the layer (None: never)."""

    layer: str
    marks: tuple[str, ...]
    next_change: datetime | None


def state(kind: Kind, history: History, params: Any, calendar: Calendar, at: datetime) -> str:
    """The layer of a customer at an instant."""
    return KINDS[kind].layer(View.of(history, calendar, at), params)


def next_change(kind: Kind, history: History, params: Any, calendar: Calendar, at: datetime) -> datetime | None:
    """The first instant after `at` at which the layer is another though nothing happens, or a fact dated later counts."""
    return follow(kind, View.of(history, calendar, at), params).next_change


def follow(kind: Kind, view: View, params: Any) -> State:
    """The layer now, and when it will be another."""
    it = KINDS[kind]
    layer = it.layer(view, params)
    changes = [view.calendar.midnight(day) for day in _changed(it, view, params, layer)]
    changes += [it.at for it in view.history.behaviours if it.at > view.at]
    changes += [it.at for it in view.history.purchases if it.at > view.at]
    changes += [it for it in view.history.referrals if it > view.at]
    known = view.history.known_since
    if known is not None and known > view.at:
        changes.append(known)
    return State(layer, it.marks(view, params), min(changes, default=None))


def next_band_change(kind: Kind, view: View, params: Any) -> datetime | None:
    """The first midnight at which a score is in another band though nothing happens."""
    by = KINDS[kind].banding
    if by is None:
        return None
    now = by.bands(view, params)
    for day in sorted({it for it in by.moments(view, params) if it > view.day}):
        if by.bands(view.on(day), params) != now:
            return view.calendar.midnight(day)
    return None


def _changed(kind: LayerKind, view: View, params: Any, layer: str) -> Iterable[int]:
    """The first day on which the layer is another."""
    for day in sorted({it for it in kind.moments(view, params) if it > view.day}):
        if kind.layer(view.on(day), params) != layer:
            return (day,)
    return ()
