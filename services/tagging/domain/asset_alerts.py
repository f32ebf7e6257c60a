"""Alerts on the customers a brand has (spec TG-17): a figure of a model of layers that gets worse by more than chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import reduce
from operator import or_
from typing import Final, TypeVar
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.errors import AlertIsArchived, MalformedAlert
from services.tagging.domain.layers.kinds import LayerKind
from services.tagging.domain.layers.report import Members
from services.tagging.domain.layers.view import NONE
from services.tagging.domain.periods import Period, Span, a_year_before, previous
from services.tagging.domain.proportions import Part, difference, difference_from

SIGNIFICANT: Final = 0.05
"""A difference that chance makes more often than this is none."""

_ROUNDING: Final = 1e-9

M = TypeVar("M", bound=Members)


class Metric(StrEnum):
    """What is watched, each as a part: of all customers in any layer, those in one; of a layer at the beginning of a period, those
    who went to another one; of a layer, those who were lost."""

    LAYER_COUNT = "LAYER_COUNT"
    CONVERSION = "CONVERSION"
    CHURN = "CHURN"


class Comparison(StrEnum):
    """What a period is compared with."""

    PREVIOUS_PERIOD = "PREVIOUS_PERIOD"
    SAME_LAST_YEAR = "SAME_LAST_YEAR"
    TARGET = "TARGET"


@dataclass(frozen=True, slots=True)
class AlertTerms:
    """What an alert watches, and when it is raised: if the metric is worse by the part `threshold` of its baseline, beyond chance,
    with at least `min_n` customers. `target` is the baseline if it is not another period; `segment` None: all customers."""

    model: str
    metric: Metric
    layer: str
    to_layer: str
    segment: UUID | None
    period: Period
    compare: Comparison
    target: float
    threshold: float
    min_n: int

    def check(self) -> None:
        """Raises MalformedAlert."""
        if (self.metric is Metric.CONVERSION) != bool(self.to_layer) or self.layer == self.to_layer:
            raise MalformedAlert("a conversion, and nothing else, goes to another layer", field="terms.to_layer")
        if (self.compare is Comparison.TARGET) != (0 < self.target < 1):
            raise MalformedAlert("a target, and nothing else, is a part between 0 and 1", field="terms.target")

    def layers(self) -> list[str]:
        """The layers that the model has to have."""
        return [it for it in (self.layer, self.to_layer) if it]

    def part(self, kind: LayerKind, before: Mapping[str, M], after: Mapping[str, M]) -> Part:
        """The metric of a period, by who was in which layer at its beginning and at its end."""
        if self.metric is Metric.LAYER_COUNT:
            return Part(_size(after, self.layer), sum(map(len, after.values())))
        members = before.get(self.layer)
        if members is None:
            return Part(0, 0)
        if self.metric is Metric.CONVERSION:
            there = after.get(self.to_layer)
            return Part(0 if there is None else len(members & there), len(members))
        gone = [after[it] for it in kind.lost if it in after]
        lost = len(members & reduce(or_, gone)) if gone else 0
        if NONE in kind.lost:
            lost += len(members - reduce(or_, after.values())) if after else len(members)
        return Part(lost, len(members))

    def baseline_span(self, span: Span) -> Span | None:
        """The period that one is compared with; None: a target."""
        match self.compare:
            case Comparison.PREVIOUS_PERIOD:
                return previous(self.period, span)
            case Comparison.SAME_LAST_YEAR:
                return a_year_before(self.period, span)
        return None

    def rises(self, kind: LayerKind) -> bool:
        """Whether more of it is worse."""
        return self.metric is Metric.CHURN or (self.metric is Metric.LAYER_COUNT and self.layer in kind.lost)


@dataclass(frozen=True, slots=True)
class AlertReading:
    """What an alert saw in a period: the metric is `relative` more than its baseline, as a part of that (None: nothing to compare)."""

    version: int
    start: date
    end: date
    hits: int
    n: int
    baseline: float | None
    baseline_n: int
    relative: float | None
    z: float
    p_value: float
    raised: bool

    @property
    def value(self) -> float | None:
        return Part(self.hits, self.n).value


def judged(
    terms: AlertTerms, kind: LayerKind, version: int, span: Span, now: Part, baseline: Part | None
) -> AlertReading:
    """What a period says; `baseline` is that of the period it is compared with, if it is."""
    found = difference_from(now, terms.target) if baseline is None else difference(now, baseline)
    value = terms.target if baseline is None else baseline.value
    base_n = 0 if baseline is None else baseline.n
    if found is None:
        return AlertReading(version, *span, now.hits, now.n, value, base_n, None, 0.0, 1.0, raised=False)
    enough = now.n >= terms.min_n and (baseline is None or baseline.n >= terms.min_n)
    worse = 0.0 if found.relative is None else found.relative * (1 if terms.rises(kind) else -1)
    raised = enough and worse >= terms.threshold - _ROUNDING and found.p_value < SIGNIFICANT
    return AlertReading(version, *span, now.hits, now.n, value, base_n, found.relative, found.z, found.p_value, raised)


def alert_id(tenant: str, key: str) -> UUID:
    return natural_id(tenant, "asset_alert", key)


class AssetAlert(Aggregate):
    """An alert under its key; other terms are another version of it. Every period is judged once by a version."""

    TOPIC = "tagging.AssetAlert"

    class Defined(InitialEvent):
        TOPIC = "tagging.AssetAlertDefined"
        tenant: str
        key: str
        terms: AlertTerms
        at: datetime

    class Changed(Event):
        TOPIC = "tagging.AssetAlertChanged"
        alert: str
        version: int
        terms: AlertTerms
        at: datetime

    class Archived(Event):
        TOPIC = "tagging.AssetAlertArchived"
        alert: str
        at: datetime

    class Read(Event):
        """A period gave no reason to raise it."""

        TOPIC = "tagging.AssetAlertRead"
        alert: str
        reading: AlertReading
        at: datetime

    class Raised(Event):
        """A period was worse; `segment` is everybody who made the shortfall."""

        TOPIC = "tagging.AssetAlertRaised"
        alert: str
        terms: AlertTerms
        model_version: int
        reading: AlertReading
        segment: UUID
        at: datetime

    @event(Defined)
    def __init__(self, id: UUID, tenant: str, key: str, terms: AlertTerms, at: datetime) -> None:
        self.tenant = tenant
        self.key = key
        self.terms = terms
        self.alert_version = 1
        self.archived = False
        self.defined_at = self.updated_at = at
        self.readings: dict[date, AlertReading] = {}
        self.segments: dict[date, UUID] = {}

    def change(self, terms: AlertTerms, now: datetime) -> bool:
        """Have these terms; whether they are others. Raises AlertIsArchived."""
        if self.archived:
            raise AlertIsArchived(field="alert_id")
        if terms == self.terms:
            return False
        self._changed(alert=self.key, version=self.alert_version + 1, terms=terms, at=now)
        return True

    def archive(self, now: datetime) -> bool:
        """Watch nothing any more; whether it did."""
        if self.archived:
            return False
        self._archived(alert=self.key, at=now)
        return True

    def take(self, reading: AlertReading, model_version: int, segment: UUID | None, now: datetime) -> None:
        """Keep what a period said, and with `segment`, raise the alert."""
        if segment is None:
            self._read(alert=self.key, reading=reading, at=now)
        else:
            self._raised(
                alert=self.key,
                terms=self.terms,
                model_version=model_version,
                reading=reading,
                segment=segment,
                at=now,
            )

    @event(Changed)
    def _changed(self, alert: str, version: int, terms: AlertTerms, at: datetime) -> None:
        self.alert_version = version
        self.terms = terms
        self.updated_at = at
        self.readings.clear()
        self.segments.clear()

    @event(Archived)
    def _archived(self, alert: str, at: datetime) -> None:
        self.archived = True
        self.updated_at = at

    @event(Read)
    def _read(self, alert: str, reading: AlertReading, at: datetime) -> None:
        self.readings[reading.end] = reading

    @event(Raised)
    def _raised(
        self,
        alert: str,
        terms: AlertTerms,
        model_version: int,
        reading: AlertReading,
        segment: UUID,
        at: datetime,
    ) -> None:
        self.readings[reading.end] = reading
        self.segments[reading.end] = segment


def _size(members: Mapping[str, M], layer: str) -> int:
    found = members.get(layer)
    return 0 if found is None else len(found)
