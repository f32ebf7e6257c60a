"""LinkService on the wire."""

import asyncio
from collections.abc import Iterable

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from chassis.unit_of_work import replay
from scrm.tracking.v1 import link_pb2
from scrm.tracking.v1 import link_service_pb2 as pb
from services.tracking.adapters.form_desk import FormDesk
from services.tracking.adapters.link_signer import LinkSigner
from services.tracking.adapters.time_range import time_range
from services.tracking.application.link_commands import CreateTrackedLink, DefineForm, ListLinkHosts
from services.tracking.application.published_links import form_message, link_message
from services.tracking.domain.errors import FormNotFound, LinkNotFound
from services.tracking.domain.form import FieldType, Form, FormField, form_key
from services.tracking.domain.link import LinkDesign, LinkHosts, LinkKind, TrackedLink, hosts_key, link_key
from services.tracking.domain.link_context import LinkContext
from services.tracking.read_models import link_stats


class LinkServicer:
    """Answers `scrm.tracking.v1.LinkService`."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, desk: FormDesk, signer: LinkSigner) -> None:
        self._bus = bus
        self._signer = signer
        self._read_models = read_models
        self._desk = desk

    async def GetTrackedLink(self, request: pb.GetTrackedLinkRequest, _: ServicerContext) -> pb.GetTrackedLinkResponse:
        link = await self._link(request.short_code)
        return pb.GetTrackedLinkResponse(link=link_message(link.short_code, link.design))

    async def CreateTrackedLink(
        self, request: pb.CreateTrackedLinkRequest, _: ServicerContext
    ) -> pb.CreateTrackedLinkResponse:
        kind = LinkKind(link_pb2.LinkKind.Name(request.kind).removeprefix("LINK_KIND_"))
        design = LinkDesign(request.target, kind, request.campaign, request.staff_code)
        command = CreateTrackedLink(current().tenant, request.short_code, design)

        def reply(link: TrackedLink) -> pb.CreateTrackedLinkResponse:
            return pb.CreateTrackedLinkResponse(link=link_message(link.short_code, link.design))

        return await self._bus.execute(command, reply)  # type: ignore[no-any-return]

    async def SignTrackedLink(
        self, request: pb.SignTrackedLinkRequest, _: ServicerContext
    ) -> pb.SignTrackedLinkResponse:
        link = await self._link(request.short_code)
        contexts = [
            LinkContext(it.delivery_id, it.share_id, it.staff_code, it.code_key, it.group_id) for it in request.contexts
        ]
        paths = [self._signer.path(current().tenant, link.short_code, it) for it in contexts]
        return pb.SignTrackedLinkResponse(paths=paths)

    async def GetLinkStats(self, request: pb.GetLinkStatsRequest, _: ServicerContext) -> pb.GetLinkStatsResponse:
        start, end = time_range(request)
        found = await self._read_models.query(lambda rows: link_stats.link_hits(rows, request.short_codes, start, end))
        return pb.GetLinkStatsResponse(
            stats=[
                link_pb2.LinkStats(
                    short_code=it.short_code, clicks=it.clicks, unique_clickers=it.people, prefetches=it.prefetches
                )
                for it in found
            ]
        )

    async def GetLinkHosts(self, request: pb.GetLinkHostsRequest, _: ServicerContext) -> pb.GetLinkHostsResponse:
        id = hosts_key(current().tenant)
        streams = await asyncio.to_thread(self._bus.store.load, [id])
        found = replay(streams[id]) if id in streams else None
        return pb.GetLinkHostsResponse(hosts=sorted(found.hosts) if isinstance(found, LinkHosts) else ())

    async def UpdateLinkHosts(
        self, request: pb.UpdateLinkHostsRequest, _: ServicerContext
    ) -> pb.UpdateLinkHostsResponse:
        command = ListLinkHosts(current().tenant, frozenset(request.hosts))

        def reply(listed: LinkHosts) -> pb.UpdateLinkHostsResponse:
            return pb.UpdateLinkHostsResponse(hosts=sorted(listed.hosts))

        return await self._bus.execute(command, reply)  # type: ignore[no-any-return]

    async def GetForm(self, request: pb.GetFormRequest, _: ServicerContext) -> pb.GetFormResponse:
        return pb.GetFormResponse(form=_message(await self._form(request.form_id)))

    async def DefineForm(self, request: pb.DefineFormRequest, _: ServicerContext) -> pb.DefineFormResponse:
        command = DefineForm(current().tenant, request.form_id, _fields(request.fields))
        return await self._bus.execute(command, lambda form: pb.DefineFormResponse(form=_message(form)))  # type: ignore[no-any-return]

    async def SubmitForm(self, request: pb.SubmitFormRequest, _: ServicerContext) -> pb.SubmitFormResponse:
        form = await self._form(request.form_id)
        return pb.SubmitFormResponse(duplicate=await self._desk.submit(form, request, current()))

    async def GetFormStats(self, request: pb.GetFormStatsRequest, _: ServicerContext) -> pb.GetFormStatsResponse:
        start, end = time_range(request)
        found = await self._read_models.query(
            lambda rows: link_stats.form_submissions(rows, request.form_ids, start, end)
        )
        return pb.GetFormStatsResponse(
            stats=[
                link_pb2.FormStats(form_id=it.form_id, submissions=it.submissions, unique_submitters=it.people)
                for it in found
            ]
        )

    async def _link(self, short_code: str) -> TrackedLink:
        try:
            return await self._bus.load(TrackedLink, link_key(current().tenant, short_code))
        except AggregateNotFound:
            raise LinkNotFound from None

    async def _form(self, form_id: str) -> Form:
        try:
            return await self._bus.load(Form, form_key(current().tenant, form_id))
        except AggregateNotFound:
            raise FormNotFound from None


def _fields(fields: Iterable[link_pb2.FormField]) -> tuple[FormField, ...]:
    return tuple(
        FormField(
            it.key,
            FieldType(link_pb2.FormFieldType.Name(it.type).removeprefix("FORM_FIELD_TYPE_")),
            it.required,
            it.maps_to,
            tuple(it.choices),
        )
        for it in fields
    )


def _message(form: Form) -> link_pb2.Form:
    return form_message(form.form_id, form.form_version, form.fields)
