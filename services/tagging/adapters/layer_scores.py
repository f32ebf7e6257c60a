"""The scores behind the layer of one customer, on the wire: of activity with its cycle, of intent by category."""

from scrm.tagging.v1 import layer_pb2
from services.tagging.domain.layer_models import LayerModel
from services.tagging.domain.layers import activity, intent
from services.tagging.domain.layers.activity import ActivityParams
from services.tagging.domain.layers.intent import IntentParams
from services.tagging.domain.layers.view import View


def scores(model: LayerModel, view: View) -> list[layer_pb2.LayerScore]:
    """Those of a model that has any."""
    match model.params:
        case ActivityParams() as params:
            return [layer_pb2.LayerScore(score=activity.score(view, params))]
        case IntentParams() as params:
            found = sorted(intent.scores(view, params).items())
            return [layer_pb2.LayerScore(category=category, score=score) for category, score in found if score > 0]
    return []


def active_cycle(model: LayerModel, view: View) -> layer_pb2.ActiveCycle | None:
    """Of a model of activity."""
    match model.params:
        case ActivityParams() as params:
            found = activity.cycle(view, params)
            return layer_pb2.ActiveCycle(hours=found.hours, median_gap_days=found.gap)
    return None
