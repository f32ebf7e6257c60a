"""The service of tags over gRPC: their tree and definitions, tagging of many, and what came and went."""

from typing import Any, Final, TypeVar, cast
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Connection

from chassis import context as contexts
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tagging.v1 import tag_service_pb2 as pb
from services.tagging.adapters import tag_wire as wire
from services.tagging.adapters.tag_rule_methods import TagRuleMethods
from services.tagging.application.tag_batch_commands import GiveRows, Row, StartTagBatch
from services.tagging.application.tag_commands import Giver
from services.tagging.application.taxonomy_commands import (
    ArchiveCategory,
    ArchiveTag,
    CategoryResult,
    CreateCategory,
    CreateTag,
    MergeTags,
    MoveCategory,
    RenameCategory,
    TagResult,
    UpdateTag,
)
from services.tagging.domain.errors import CustomerNotFound, TagBatchNotFound, TagNotFound
from services.tagging.domain.tag_batches import TagBatch
from services.tagging.domain.tag_definitions import TagStatus
from services.tagging.domain.taxonomy import Taxonomy, taxonomy_id
from services.tagging.read_models import directory, tag_history

M = TypeVar("M", bound=Message)

BY_KEY: Final = Keyset(str, default=1000)
BY_POSITION: Final = Keyset(int)
LATEST: Final = 2**62


class TagServicer(TagRuleMethods):
    """The whole service; those about rules are in `tag_rule_methods`."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        TagRuleMethods.__init__(self, bus, read_models)

    async def ListCategories(
        self, request: pb.ListCategoriesRequest, context: ServicerContext
    ) -> pb.ListCategoriesResponse:
        taxonomy = await self._taxonomy()
        ids = sorted(taxonomy.categories, key=taxonomy.path)
        return pb.ListCategoriesResponse(categories=[wire.category(taxonomy, it) for it in ids])

    async def CreateCategory(
        self, request: pb.CreateCategoryRequest, context: ServicerContext
    ) -> pb.CreateCategoryResponse:
        command = CreateCategory(request.display_name, _id(request.parent_id), request.sensitive)
        return await self._category(command, pb.CreateCategoryResponse)

    async def MoveCategory(self, request: pb.MoveCategoryRequest, context: ServicerContext) -> pb.MoveCategoryResponse:
        command = MoveCategory(UUID(request.category_id), _id(request.parent_id))
        return await self._category(command, pb.MoveCategoryResponse)

    async def RenameCategory(
        self, request: pb.RenameCategoryRequest, context: ServicerContext
    ) -> pb.RenameCategoryResponse:
        command = RenameCategory(UUID(request.category_id), request.display_name)
        return await self._category(command, pb.RenameCategoryResponse)

    async def ArchiveCategory(
        self, request: pb.ArchiveCategoryRequest, context: ServicerContext
    ) -> pb.ArchiveCategoryResponse:
        command = ArchiveCategory(UUID(request.category_id))
        found: pb.ArchiveCategoryResponse = await self._bus.execute(
            command, reply=lambda _: pb.ArchiveCategoryResponse()
        )
        return found

    async def GetTag(self, request: pb.GetTagRequest, context: ServicerContext) -> pb.GetTagResponse:
        taxonomy = await self._taxonomy()
        if request.tag_key not in taxonomy.tags:
            raise TagNotFound(field="tag_key")
        return pb.GetTagResponse(tag=wire.tag(taxonomy, taxonomy.tags[request.tag_key]))

    async def ListTags(self, request: pb.ListTagsRequest, context: ServicerContext) -> pb.ListTagsResponse:
        taxonomy, page = await self._taxonomy(), BY_KEY.page(request)
        within = taxonomy.below(UUID(request.category_id)) if request.category_id else None
        after = page.after[0] if page.after else ""
        found = [
            it
            for key, it in sorted(taxonomy.tags.items())
            if key > after
            and (request.show_inactive or it.status is TagStatus.ACTIVE)
            and (within is None or it.category in within)
        ]
        shown, token = BY_KEY.cut(request, found[: page.limit], lambda it: (it.key,))
        return pb.ListTagsResponse(tags=[wire.tag(taxonomy, it) for it in shown], next_page_token=token)

    async def CreateTag(self, request: pb.CreateTagRequest, context: ServicerContext) -> pb.CreateTagResponse:
        return await self._tag(CreateTag(wire.definition(request)), pb.CreateTagResponse)

    async def UpdateTag(self, request: pb.UpdateTagRequest, context: ServicerContext) -> pb.UpdateTagResponse:
        command = UpdateTag(
            request.tag_key,
            name=request.display_name if request.HasField("display_name") else None,
            category=UUID(request.category_id) if request.HasField("category_id") else None,
            values=tuple(request.values) or None,
            ttl_days=request.ttl_days if request.HasField("ttl_days") else None,
            manual_allowed=request.manual_allowed if request.HasField("manual_allowed") else None,
        )
        return await self._tag(command, pb.UpdateTagResponse)

    async def ArchiveTag(self, request: pb.ArchiveTagRequest, context: ServicerContext) -> pb.ArchiveTagResponse:
        return await self._tag(ArchiveTag(request.tag_key), pb.ArchiveTagResponse)

    async def MergeTags(self, request: pb.MergeTagsRequest, context: ServicerContext) -> pb.MergeTagsResponse:
        return await self._tag(MergeTags(request.tag_key, request.into), pb.MergeTagsResponse)

    async def BatchAssignTags(
        self, request: pb.BatchAssignTagsRequest, context: ServicerContext
    ) -> pb.BatchAssignTagsResponse:
        tag = request.tag
        rows = [Row(UUID(it), tag.tag_key, tag.value) for it in request.customer_ids]
        found: pb.BatchAssignTagsResponse = await self._bus.execute(
            GiveRows(rows, wire.giver(request.giver)),
            reply=lambda it: pb.BatchAssignTagsResponse(results=wire.results(it)),
        )
        return found

    async def AssignTagsToSegment(
        self, request: pb.AssignTagsToSegmentRequest, context: ServicerContext
    ) -> pb.AssignTagsToSegmentResponse:
        tags = [(it.tag_key, it.value) for it in request.tags]
        command = StartTagBatch(tags, _id(request.segment_id), _id(request.snapshot_id), wire.giver(request.giver))
        found: pb.AssignTagsToSegmentResponse = await self._bus.execute(
            command, reply=lambda it: pb.AssignTagsToSegmentResponse(batch=wire.batch(*it))
        )
        return found

    async def GetTagBatch(self, request: pb.GetTagBatchRequest, context: ServicerContext) -> pb.GetTagBatchResponse:
        id = UUID(request.batch_id)
        try:
            found = await self._bus.load(TagBatch, id)
        except AggregateNotFound:
            raise TagBatchNotFound(field="batch_id") from None
        return pb.GetTagBatchResponse(batch=wire.batch(id, found))

    async def ImportTags(self, request: pb.ImportTagsRequest, context: ServicerContext) -> pb.ImportTagsResponse:
        rows = [Row(UUID(it.customer_id), it.tag.tag_key, it.tag.value) for it in request.rows]
        found: pb.ImportTagsResponse = await self._bus.execute(
            GiveRows(rows, Giver(imported=True)), reply=lambda it: pb.ImportTagsResponse(results=wire.results(it))
        )
        return found

    async def ListCustomerTagHistory(
        self, request: pb.ListCustomerTagHistoryRequest, context: ServicerContext
    ) -> pb.ListCustomerTagHistoryResponse:
        tenant, page = contexts.current().tenant, BY_POSITION.page(request)
        node, before = UUID(request.customer_id), page.after[0] if page.after else LATEST

        def read(rows: Connection) -> pb.ListCustomerTagHistoryResponse:
            customer = directory.canonical(rows, tenant, (node,)).get(node)
            if customer is None:
                raise CustomerNotFound(field="customer_id")
            found = tag_history.history(rows, tenant, customer.id, request.tag_key, before, page.limit)
            shown, token = BY_POSITION.cut(request, found, lambda it: (it[-1],))
            periods = [wire.period(it) for it in shown]
            return pb.ListCustomerTagHistoryResponse(periods=periods, next_page_token=token)

        return await self._read_models.query(read)

    async def GetTagTrend(self, request: pb.GetTagTrendRequest, context: ServicerContext) -> pb.GetTagTrendResponse:
        tenant, (first, last) = contexts.current().tenant, wire.span(request.from_day, request.to_day)
        value = request.value if request.HasField("value") else None
        found = await self._read_models.query(
            lambda rows: tag_history.trend(rows, tenant, request.tag_key, value, first, last)
        )
        return pb.GetTagTrendResponse(days=[wire.trend_day(*it) for it in found])

    async def ListStaffTagging(
        self, request: pb.ListStaffTaggingRequest, context: ServicerContext
    ) -> pb.ListStaffTaggingResponse:
        tenant, page = contexts.current().tenant, BY_KEY.page(request)
        first, last = wire.span(request.from_day, request.to_day)
        after = page.after[0] if page.after else ""
        found = await self._read_models.query(
            lambda rows: tag_history.activity(rows, tenant, first, last, after, page.limit)
        )
        shown, token = BY_KEY.cut(request, found, lambda it: (it[0],))
        lines = [pb.StaffTagging(actor=it[0], assigned=int(it[1]), removed=int(it[2])) for it in shown]
        return pb.ListStaffTaggingResponse(staff=lines, next_page_token=token)

    async def _taxonomy(self) -> Taxonomy:
        """As it is now; of a tenant that changed nothing, the preset tree."""
        tenant = contexts.current().tenant
        try:
            return await self._bus.load(Taxonomy, taxonomy_id(tenant))
        except AggregateNotFound:
            return Taxonomy.open(tenant)

    async def _category(self, command: Any, response: type[M]) -> M:
        def reply(it: CategoryResult) -> M:
            return response(category=wire.category(it.taxonomy, it.id))

        return cast(M, await self._bus.execute(command, reply=reply))

    async def _tag(self, command: Any, response: type[M]) -> M:
        def reply(it: TagResult) -> M:
            return response(tag=wire.tag(it.taxonomy, it.definition))

        return cast(M, await self._bus.execute(command, reply=reply))


def _id(given: str) -> UUID | None:
    return UUID(given) if given else None
