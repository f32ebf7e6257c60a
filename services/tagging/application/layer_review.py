"""Whenever a fact arrives, a customer is merged or a moment comes: is the customer still in the layer it was in?"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.layer_ports import NO_LAYER, Layers, LayerState, ListedModel
from services.tagging.application.rule_review import calendar_of
from services.tagging.domain.conditions import Universe
from services.tagging.domain.layer_models import BandChange, CustomerLayers, LayerCause, customer_layers_id
from services.tagging.domain.layers.intent import Lead, leads
from services.tagging.domain.layers.kinds import KINDS, Kind, follow, next_band_change
from services.tagging.domain.layers.view import NONE, View

REVIEW_LAYER = "review_layer"
"""Kind of the timers that bring a customer back here when time alone changes a layer."""

Cause = Callable[[UUID], LayerCause]


class Reviewed(NamedTuple):
    """What one model says of a customer now, beside what it said before."""

    before: LayerState
    now: LayerState
    leads: Sequence[Lead] = ()
    bands: Sequence[BandChange] = ()


def review_layers(
    work: UnitOfWork,
    layers: Layers,
    ordinal_of: Mapping[UUID, int],
    cause: Cause,
    model: str | None = None,
) -> dict[str, BitMap]:
    """Decide the layers of customers anew, by all active models or one; by model, the ordinals of those who moved.

    Whoever is no customer any more is in none.
    """
    models = [it for it in layers.active_models(work) if model in (None, it.key)]
    if not models or not ordinal_of:
        return {}
    known = layers.known(work, BitMap(ordinal_of.values()))
    calendar = calendar_of(work)
    histories = layers.histories(work, list(ordinal_of))
    views = {it: View.of(history, calendar, work.now) for it, history in histories.items()}
    moved: dict[str, BitMap] = {}
    for it in models:
        meant = {who: seen for who, seen in views.items() if it.universe is Universe.ALL or ordinal_of[who] in known}
        found = _decide(work, layers, it, ordinal_of, meant)
        _keep(work, layers, it, found)
        changed = {who: one for who, one in found.items() if one.now.layer != one.before.layer}
        _move(work, layers, it, {ordinal_of[who]: one for who, one in changed.items()})
        _record(work, it, found, cause)
        if changed:
            moved[it.key] = BitMap(ordinal_of[who] for who in changed)
    return moved


def decide(model: ListedModel, view: View) -> LayerState:
    """Where a customer stands."""
    found, by = follow(model.kind, view, model.params), KINDS[model.kind].banding
    if by is None:
        return LayerState(found.layer, found.next_change)
    changes = (found.next_change, next_band_change(model.kind, view, model.params))
    next_change = min((it for it in changes if it is not None), default=None)
    bands = tuple(sorted(by.bands(view, model.params).items()))
    return LayerState(found.layer, next_change, _lead_at(model, view), bands or None)


def forget(work: UnitOfWork, layers: Layers, nodes: Collection[UUID]) -> Counter[UUID]:
    """Take `nodes`, which are erased, out of all layers, and their timers; of each, how many layers."""
    count: Counter[UUID] = Counter()
    for it in layers.active_models(work):
        states = layers.layer_states(work, it.key, nodes)
        found = {who: Reviewed(old, NO_LAYER, bands=_banded(it, None, old, NO_LAYER)) for who, old in states.items()}
        _keep(work, layers, it, found)
        _record(work, it, found, lambda who: LayerCause.ERASURE)
        count.update(found.keys())
    return count


def _decide(
    work: UnitOfWork, layers: Layers, model: ListedModel, who: Iterable[UUID], meant: Mapping[UUID, View]
) -> dict[UUID, Reviewed]:
    """Those of `who` for whom anything is new; whoever is not `meant` by the model stands nowhere."""
    before = layers.layer_states(work, model.key, who)
    found: dict[UUID, Reviewed] = {}
    for it in who:
        old = before.get(it, NO_LAYER)
        now = decide(model, meant[it]) if it in meant else NO_LAYER
        if now != old:
            leads = _new_leads(model, meant[it], old.lead_at) if it in meant else ()
            found[it] = Reviewed(old, now, leads, _banded(model, meant.get(it), old, now))
    return found


def _banded(model: ListedModel, view: View | None, old: LayerState, now: LayerState) -> list[BandChange]:
    """The scores that are in other bands; none where nobody had kept the bands before."""
    by = KINDS[model.kind].banding
    if by is None or old.bands == now.bands or (old.bands is None and old.layer != NONE):
        return []
    before, after = dict(old.bands or ()), dict(now.bands or ())
    scores = by.scores(view, model.params) if view is not None else {}
    return [
        BandChange(it, before.get(it, NONE), after.get(it, NONE), scores.get(it, 0.0))
        for it in sorted(before.keys() | after.keys())
        if before.get(it) != after.get(it)
    ]


def _keep(work: UnitOfWork, layers: Layers, model: ListedModel, found: Mapping[UUID, Reviewed]) -> None:
    layers.keep_layer_states(work, model.key, {who: it.now for who, it in found.items()})
    for who, it in found.items():
        if it.now.next_change == it.before.next_change:
            continue
        key = f"{model.key}:{who}"
        if it.now.next_change is None:
            work.unschedule(REVIEW_LAYER, key)
        else:
            payload = {"customer": str(who), "model": model.key}
            work.schedule(Timer(REVIEW_LAYER, key, it.now.next_change, payload))


def _move(work: UnitOfWork, layers: Layers, model: ListedModel, changed: Mapping[int, Reviewed]) -> None:
    moves: dict[str, tuple[BitMap, BitMap]] = {}
    for ordinal, it in changed.items():
        for side, layer in enumerate((it.now.layer, it.before.layer)):
            if layer != NONE:
                moves.setdefault(layer, (BitMap(), BitMap()))[side].add(ordinal)
    layers.move(work, model.key, moves)


def _record(work: UnitOfWork, model: ListedModel, found: Mapping[UUID, Reviewed], cause: Cause) -> None:
    """The events; none for those whom the first review of a model puts into their first layer."""
    told: dict[UUID, Reviewed] = {}
    for who, it in found.items():
        first = it.before == NO_LAYER and cause(who) is LayerCause.PARAMS
        if not first and (it.leads or it.bands or it.now.layer != it.before.layer):
            told[who] = it
    tenant, version = work.context.tenant, (model.key, model.version)
    ids = {who: customer_layers_id(tenant, who) for who in told}
    there = work.find_all(CustomerLayers, list(ids.values()))
    for who, it in told.items():
        customer = there.get(ids[who])
        if customer is None:
            customer = CustomerLayers.open(tenant, who)
            work.add(customer)
        if it.now.layer != it.before.layer:
            customer.move(version, (it.before.layer, it.now.layer), cause(who), work.now)
        for one in it.bands:
            customer.score(version, one, cause(who), work.now)
        for lead in it.leads if cause(who) is LayerCause.EVENT else ():
            customer.qualify(version, lead)


def _lead_at(model: ListedModel, view: View) -> datetime | None:
    if model.kind is not Kind.INTENT:
        return None
    return max((it.at for it in leads(view, model.params)), default=None)


def _new_leads(model: ListedModel, view: View, last: datetime | None) -> list[Lead]:
    if model.kind is not Kind.INTENT:
        return []
    return [it for it in leads(view, model.params) if last is None or it.at > last]
