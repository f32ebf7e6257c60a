"""The organisation over gRPC."""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import current
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from chassis.validation import RequestValidator
from scrm.identity.v1 import org_pb2
from scrm.identity.v1 import org_service_pb2 as pb
from services.identity.adapters import org_wire as wire
from services.identity.adapters.board_methods import BoardMethods
from services.identity.adapters.guide_methods import GuideMethods
from services.identity.adapters.unsealing import Unsealer
from services.identity.adapters.wire import given_instant
from services.identity.application.org_commands import NAME, SetStaffLeft, SetStaffShift, Upserted
from services.identity.application.org_queries import get_staff, get_store
from services.identity.domain.sealing import SealedValue
from services.identity.domain.staff import Staff
from services.identity.read_models.organisation import StaffFilter, StaffRow, list_staff, list_stores

BY_CODE: Final = Keyset(str)
SEES_NAMES: Final = "identity.pii"


class OrgServicer(GuideMethods, BoardMethods):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock, unsealer: Unsealer) -> None:
        GuideMethods.__init__(self, bus, clock)
        BoardMethods.__init__(self, bus, read_models, clock)
        self._unsealer = unsealer
        self._validator = RequestValidator()

    async def GetStore(self, request: pb.GetStoreRequest, context: ServicerContext) -> pb.GetStoreResponse:
        return pb.GetStoreResponse(store=wire.store(await get_store(self._bus, UUID(request.store_id))))

    async def ListStores(self, request: pb.ListStoresRequest, context: ServicerContext) -> pb.ListStoresResponse:
        page = BY_CODE.page(request)
        after, status, within = page.after[0] if page.after else None, wire.store_status(request.status), _stores()
        rows = await self._read_models.query(lambda rows: list_stores(rows, status, within, after, page.limit))
        shown, token = BY_CODE.cut(request, rows, lambda it: [it.code])
        return pb.ListStoresResponse(stores=[wire.store_row(it) for it in shown], next_page_token=token)

    async def UpsertStore(self, request: pb.UpsertStoreRequest, context: ServicerContext) -> pb.UpsertStoreResponse:
        answer: pb.UpsertStoreResponse = await self._bus.execute(
            wire.store_command(request.row), reply=wire.store_upserted
        )
        return answer

    async def GetStaff(self, request: pb.GetStaffRequest, context: ServicerContext) -> pb.GetStaffResponse:
        found = await get_staff(self._bus, UUID(request.staff_id), self._clock.now())
        sealed = [SealedValue(found.id, NAME, found.name)]
        names = await self._read_models.query(lambda rows: self._names(rows, sealed))
        return pb.GetStaffResponse(staff=wire.staff(found, self._clock.now(), names[0]))

    async def ListStaff(self, request: pb.ListStaffRequest, context: ServicerContext) -> pb.ListStaffResponse:
        page = BY_CODE.page(request)
        within = _stores()
        if request.store_id:
            current().require_store(UUID(request.store_id))
            within = frozenset({UUID(request.store_id)})
        wanted = StaffFilter(self._clock.now(), within, wire.is_active(request.status))
        after = page.after[0] if page.after else None

        def ask(rows: sa.Connection) -> list[tuple[StaffRow, str]]:
            found = list_staff(rows, wanted, after, page.limit)
            names = self._names(rows, [SealedValue(it.staff, NAME, it.name) for it in found])
            return list(zip(found, names, strict=True))

        shown, token = BY_CODE.cut(request, await self._read_models.query(ask), lambda it: [it[0].code])
        return pb.ListStaffResponse(staff=[wire.staff_row(*it) for it in shown], next_page_token=token)

    async def UpsertStaff(self, request: pb.UpsertStaffRequest, context: ServicerContext) -> pb.UpsertStaffResponse:
        answer: pb.UpsertStaffResponse = await self._bus.execute(
            wire.staff_command(request.row),
            reply=lambda it: pb.UpsertStaffResponse(staff=self._shown(it)),
        )
        return answer

    async def ImportStaff(self, request: pb.ImportStaffRequest, context: ServicerContext) -> pb.ImportStaffResponse:
        command = wire.import_command(request.rows, self._validator)
        answer: pb.ImportStaffResponse = await self._bus.execute(command, reply=wire.imported)
        return answer

    async def SetStaffLeft(self, request: pb.SetStaffLeftRequest, context: ServicerContext) -> pb.SetStaffLeftResponse:
        command = SetStaffLeft(UUID(request.staff_id), given_instant(request, "leave_time"))
        answer: pb.SetStaffLeftResponse = await self._bus.execute(
            command, reply=lambda it: pb.SetStaffLeftResponse(staff=self._shown(it))
        )
        return answer

    async def SetStaffShift(
        self, request: pb.SetStaffShiftRequest, context: ServicerContext
    ) -> pb.SetStaffShiftResponse:
        command = SetStaffShift(UUID(request.staff_id), request.on_shift)
        answer: pb.SetStaffShiftResponse = await self._bus.execute(
            command, reply=lambda it: pb.SetStaffShiftResponse(staff=self._shown(it))
        )
        return answer

    def _shown(self, it: Staff | Upserted) -> org_pb2.Staff:
        return wire.staff(it.staff if isinstance(it, Upserted) else it, self._clock.now())

    def _names(self, rows: sa.Connection, sealed: Sequence[SealedValue]) -> list[str]:
        """Names as the caller may see them; empty for the erased."""
        names = [it or "" for it in self._unsealer.open(rows, sealed)]
        return names if SEES_NAMES in current().scopes else [wire.masked(it) for it in names]


def _stores() -> Collection[UUID] | None:
    return current().stores
