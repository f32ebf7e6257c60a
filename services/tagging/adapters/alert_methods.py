"""The RPCs about alerts."""

import asyncio
from datetime import UTC, date
from functools import partial
from typing import Final

from chassis import context as contexts
from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound, ValueOutOfRange
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import analysis_service_pb2 as pb
from scrm.tagging.v1.analysis_service_pb2_grpc import AnalysisServiceServicer
from services.tagging.adapters import analysis_wire as wire
from services.tagging.adapters.alert_reading import read_period, zone_of_tenant
from services.tagging.adapters.segment_wire import calendar_date
from services.tagging.application.alert_commands import ArchiveAssetAlert, DefineAssetAlert, Judged, JudgePeriod
from services.tagging.domain.asset_alerts import AssetAlert, alert_id
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import AlertIsArchived, AlertNotFound
from services.tagging.domain.periods import last_whole
from services.tagging.read_models import asset_alerts

BY_KEY: Final = Keyset(str, maximum=100)
BY_PERIOD: Final = Keyset(str, int)


class AlertMethods(AnalysisServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    _bus: CommandBus
    _read_models: ReadModels
    _clock: Clock

    async def DefineAssetAlert(
        self, request: pb.DefineAssetAlertRequest, context: ServicerContext
    ) -> pb.DefineAssetAlertResponse:
        found: pb.DefineAssetAlertResponse = await self._bus.execute(
            DefineAssetAlert(request.alert_id, wire.terms(request.terms)),
            reply=lambda it: pb.DefineAssetAlertResponse(alert=wire.alert(it)),
        )
        return found

    async def ArchiveAssetAlert(
        self, request: pb.ArchiveAssetAlertRequest, context: ServicerContext
    ) -> pb.ArchiveAssetAlertResponse:
        found: pb.ArchiveAssetAlertResponse = await self._bus.execute(
            ArchiveAssetAlert(request.alert_id),
            reply=lambda it: pb.ArchiveAssetAlertResponse(alert=wire.alert(it)),
        )
        return found

    async def GetAssetAlert(
        self, request: pb.GetAssetAlertRequest, context: ServicerContext
    ) -> pb.GetAssetAlertResponse:
        return pb.GetAssetAlertResponse(alert=wire.alert(await self._alert(request.alert_id)))

    async def ListAssetAlerts(
        self, request: pb.ListAssetAlertsRequest, context: ServicerContext
    ) -> pb.ListAssetAlertsResponse:
        tenant, page = contexts.current().tenant, BY_KEY.page(request)
        last = page.after[0] if page.after else ""
        found = await self._read_models.query(lambda rows: asset_alerts.after(rows, tenant, last, page.limit))
        shown, token = BY_KEY.cut(request, found, lambda it: (it,))
        alerts = await asyncio.gather(*map(self._alert, shown))
        return pb.ListAssetAlertsResponse(alerts=map(wire.alert, alerts), next_page_token=token)

    async def EvaluateAssetAlert(
        self, request: pb.EvaluateAssetAlertRequest, context: ServicerContext
    ) -> pb.EvaluateAssetAlertResponse:
        """Read beside the writer; only what the period says is a command."""

        def reply(it: Judged) -> pb.EvaluateAssetAlertResponse:
            return pb.EvaluateAssetAlertResponse(reading=wire.reading(it.reading, it.segment) if it.reading else None)

        found: pb.EvaluateAssetAlertResponse = await self._bus.find_out(partial(self._read_period, request), reply)
        return found

    async def _read_period(self, request: pb.EvaluateAssetAlertRequest) -> JudgePeriod:
        alert = await self._alert(request.alert_id)
        if alert.archived:
            raise AlertIsArchived(field="alert_id")
        calendar = Calendar.of(await zone_of_tenant(self._bus))
        today = date.fromordinal(calendar.day(self._clock.now().astimezone(UTC)))
        day = calendar_date(request.as_of, "as_of") if request.HasField("as_of") else today
        if day > today:
            raise ValueOutOfRange("must not be in the future", field="as_of")
        span = last_whole(alert.terms.period, day)
        read = await read_period(alert, span, self._bus, self._read_models)
        return JudgePeriod(request.alert_id, alert.alert_version, read)

    async def ListAlertReadings(
        self, request: pb.ListAlertReadingsRequest, context: ServicerContext
    ) -> pb.ListAlertReadingsResponse:
        tenant, page = contexts.current().tenant, BY_PERIOD.page(request)
        await self._alert(request.alert_id)
        before = (date.fromisoformat(page.after[0]), page.after[1]) if page.after else (date.max, 0)
        found = await self._read_models.query(
            lambda rows: asset_alerts.readings(rows, tenant, request.alert_id, before, request.raised_only, page.limit)
        )
        shown, token = BY_PERIOD.cut(request, found, lambda it: (it[0].end.isoformat(), it[0].version))
        return pb.ListAlertReadingsResponse(readings=[wire.reading(*it) for it in shown], next_page_token=token)

    async def _alert(self, key: str) -> AssetAlert:
        try:
            return await self._bus.load(AssetAlert, alert_id(contexts.current().tenant, key))
        except AggregateNotFound:
            raise AlertNotFound(field="alert_id") from None
