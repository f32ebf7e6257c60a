"""What is known of a period for an alert: from the runs that are kept of its days, or decided from the facts."""

from datetime import date
from uuid import UUID

import sqlalchemy as sa

from chassis.commands import CommandBus
from chassis.read_models import ReadModels
from services.tagging.adapters import layer_snapshots as snapshots
from services.tagging.adapters.tag_methods import settings_of_tenant
from services.tagging.application.alert_commands import PeriodRead
from services.tagging.domain.asset_alerts import AssetAlert
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.layer_models import LayerModel, layer_model_id
from services.tagging.domain.layers.kinds import KINDS
from services.tagging.domain.periods import Span
from services.tagging.domain.proportions import Part
from services.tagging.domain.tenant_settings import DEFAULT_ZONE
from services.tagging.read_models import segments


async def zone_of_tenant(bus: CommandBus) -> str:
    settings = await settings_of_tenant(bus)
    return settings.time_zone if settings else DEFAULT_ZONE


async def read_period(alert: AssetAlert, span: Span, bus: CommandBus, read_models: ReadModels) -> PeriodRead:
    """The figures of a period, of the tenant of the current context; beside the writer, as any run of a model."""
    model = await bus.load(LayerModel, layer_model_id(alert.tenant, alert.terms.model))
    zone = await zone_of_tenant(bus)
    return await read_models.query(lambda rows: _read(rows, alert, model, span, zone))


def _read(rows: sa.Connection, alert: AssetAlert, model: LayerModel, span: Span, zone: str) -> PeriodRead:
    terms, calendar = alert.terms, Calendar.of(zone)
    compared = terms.baseline_span(span)
    days = sorted({*span, *(compared or ())})
    found = dict(zip(days, snapshots.at_dates(rows, alert.tenant, model, calendar, days), strict=True))
    runs = [found[it].run or snapshots.to_keep(model, found[it], zone) for it in span]
    if terms.segment is not None:
        found = _among(rows, alert.tenant, terms.segment, found)
    return PeriodRead(span, _part(alert, model, found, span), compared and _part(alert, model, found, compared), runs)


def _among(
    rows: sa.Connection, tenant: str, segment: UUID, found: dict[date, snapshots.Dated]
) -> dict[date, snapshots.Dated]:
    who = segments.Sets(rows, tenant).segment(segment)
    return {day: it.among(who) for day, it in found.items()}


def _part(alert: AssetAlert, model: LayerModel, found: dict[date, snapshots.Dated], span: Span) -> Part:
    return alert.terms.part(KINDS[model.kind], found[span.start].layers, found[span.end].layers)
