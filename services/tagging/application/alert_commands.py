"""Commands on alerts: define and archive them, keep what a period said, and find who made a shortfall."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from chassis.errors import VersionConflict
from services.tagging.application.layer_commands import KeepLayerRun, keep_layer_run, layer_model_of
from services.tagging.application.ports import Audiences
from services.tagging.application.rule_review import calendar_of
from services.tagging.application.segment_commands import CreateSegment, create_segment, segment_of
from services.tagging.domain.asset_alerts import (
    AlertReading,
    AlertTerms,
    AssetAlert,
    Metric,
    alert_id,
    judged,
)
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import Condition, InLayer, InSegment, all_of, any_of, no, that
from services.tagging.domain.errors import AlertIsArchived, AlertNotFound, LayerNotFound
from services.tagging.domain.layer_models import LayerModel
from services.tagging.domain.layers.kinds import KINDS
from services.tagging.domain.periods import Period, Span, following, last_whole
from services.tagging.domain.proportions import Part
from services.tagging.domain.segments import Definition

READ_ALERT: Final = "read_alert"
"""Kind of the timers of periods to be judged; the loop of alerts looks after them, since it takes reading for longer than a commit."""

SETTLING: Final = timedelta(hours=1)
"""So long after its end a period is judged: what happened in its last minutes has been told by then."""


@dataclass(frozen=True, slots=True)
class DefineAssetAlert:
    """Watch a figure under these terms; under a key that is in use, under other terms than before."""

    key: str
    terms: AlertTerms


def define_asset_alert(command: DefineAssetAlert, work: UnitOfWork, audiences: Audiences) -> AssetAlert:
    terms, tenant = command.terms, work.context.tenant
    terms.check()
    model = layer_model_of(work, terms.model)
    known = KINDS[model.kind].told(model.params).layers
    if known and (missing := [it for it in terms.layers() if it not in known]):
        raise LayerNotFound(field="terms.layer", layer=missing[0])
    if terms.segment is not None:
        segment_of(work, terms.segment)
    alert = work.find(AssetAlert, alert_id(tenant, command.key))
    if alert is None:
        alert = AssetAlert(alert_id(tenant, command.key), tenant, command.key, terms, work.now)
        work.add(alert)
    elif not alert.change(terms, work.now):
        return alert
    audiences.keep_alert(work, alert)
    _judge_later(alert.key, terms.period, _current(terms.period, work), work)
    return alert


@dataclass(frozen=True, slots=True)
class ArchiveAssetAlert:
    """Watch a figure no more; what was seen stays."""

    key: str


def archive_asset_alert(command: ArchiveAssetAlert, work: UnitOfWork, audiences: Audiences) -> AssetAlert:
    alert = alert_of(work, command.key)
    if alert.archive(work.now):
        audiences.keep_alert(work, alert)
        work.unschedule(READ_ALERT, alert.key)
    return alert


@dataclass(frozen=True, slots=True)
class PeriodRead:
    """What is known of a period: the metric in it and in the one it is compared with, and who was where at its two ends."""

    span: Span
    now: Part
    baseline: Part | None
    runs: Sequence[UUID | KeepLayerRun]


@dataclass(frozen=True, slots=True)
class JudgePeriod:
    """Judge a period by the terms it was read under; those of another version by then are passed over."""

    key: str
    version: int
    read: PeriodRead
    by_timer: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """An alert with what it saw; `segment` is who made the shortfall, if there was one."""

    alert: AssetAlert
    reading: AlertReading | None
    segment: UUID | None


def judge_period(command: JudgePeriod, work: UnitOfWork, audiences: Audiences) -> Judged:
    alert = alert_of(work, command.key)
    span, terms = command.read.span, alert.terms
    if alert.archived or alert.alert_version != command.version:
        if command.by_timer:
            return Judged(alert, None, None)
        raise AlertIsArchived(field="alert_id") if alert.archived else VersionConflict("the terms have changed")
    if command.by_timer:
        _judge_later(alert.key, terms.period, following(terms.period, span), work)
    if span.end in alert.readings:
        return Judged(alert, alert.readings[span.end], alert.segments.get(span.end))
    model = layer_model_of(work, terms.model)
    kind = KINDS[model.kind].told(model.params)
    reading = judged(terms, kind, alert.alert_version, span, command.read.now, command.read.baseline)
    segment = _shortfall(alert, model, command.read, work, audiences) if reading.raised else None
    alert.take(reading, model.model_version, segment, work.now)
    audiences.keep_reading(work, alert.key, reading, segment)
    return Judged(alert, reading, segment)


@dataclass(frozen=True, slots=True)
class PassOver:
    """Leave a period that cannot be judged, and look at the next one when that has ended."""

    key: str
    span: Span


def pass_over(command: PassOver, work: UnitOfWork) -> None:
    alert = alert_of(work, command.key)
    if not alert.archived:
        _judge_later(alert.key, alert.terms.period, following(alert.terms.period, command.span), work)


def alert_of(work: UnitOfWork, key: str) -> AssetAlert:
    """Raises AlertNotFound."""
    alert = work.find(AssetAlert, alert_id(work.context.tenant, key))
    if alert is None:
        raise AlertNotFound(field="alert_id")
    return alert


def due_at(calendar: Calendar, span_end: date) -> datetime:
    """When the period that ends so is judged."""
    return calendar.midnight(span_end.toordinal()) + SETTLING


def _current(period: Period, work: UnitOfWork) -> Span:
    """The period that is going on."""
    today = date.fromordinal(calendar_of(work).day(work.now))
    return following(period, last_whole(period, today))


def _judge_later(key: str, period: Period, span: Span, work: UnitOfWork) -> None:
    work.schedule(Timer(READ_ALERT, key, due_at(calendar_of(work), span.end), {"end": span.end.isoformat()}))


def _shortfall(alert: AssetAlert, model: LayerModel, read: PeriodRead, work: UnitOfWork, audiences: Audiences) -> UUID:
    """The segment of those who made a figure worse, by the two ends of the period."""
    audiences.lock(work)
    before, after = (keep_layer_run(it, work, audiences)[0] if isinstance(it, KeepLayerRun) else it for it in read.runs)
    terms = alert.terms
    condition = all_of(*_went(terms, model, before, after))
    if terms.segment is not None:
        condition = all_of(*_went(terms, model, before, after), that(InSegment(terms.segment)))
    name = f"Alert {alert.key} v{alert.alert_version} {read.span.start}/{read.span.end}"
    wanted = CreateSegment(name, Definition(condition=condition), model.universe)
    return create_segment(wanted, work, audiences).id


def _went(terms: AlertTerms, model: LayerModel, before: UUID, after: UUID) -> list[Condition]:
    """Of a conversion, those who did not convert; of churn, those who were lost; of a layer, those who left it, or of one that is
    a loss, those who came."""
    kind, key = KINDS[model.kind], model.key
    was, now = that(InLayer(key, terms.layer, before)), that(InLayer(key, terms.layer, after))
    match terms.metric:
        case Metric.CONVERSION:
            return [was, no(that(InLayer(key, terms.to_layer, after)))]
        case Metric.CHURN:
            return [was, any_of(*(that(InLayer(key, it, after)) for it in sorted(kind.lost)))]
    return [now, no(was)] if terms.rises(kind) else [was, no(now)]
