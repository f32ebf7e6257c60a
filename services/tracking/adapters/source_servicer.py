"""SourceService on the wire."""

from typing import Any, Final

from google.protobuf.message import Message

from chassis.commands import CommandBus
from chassis.context import current
from chassis.errors import AggregateNotFound
from chassis.field_masks import changed_fields
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.tracking.v1 import source_pb2
from scrm.tracking.v1 import source_service_pb2 as pb
from services.tracking.adapters.account_seal import AccountSeal
from services.tracking.adapters.source_book import SourceBook
from services.tracking.adapters.wechat_door import callback_path
from services.tracking.adapters.write_keys import WriteKey, write_key
from services.tracking.application.source_commands import (
    RegisterSource,
    ReplaceWriteKey,
    SetWechatAccount,
    UpdateSource,
)
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.errors import EncodingKeyRequired, SourceNotFound
from services.tracking.domain.source import (
    DEFAULT_NAMESPACE,
    IngestSource,
    SourceKind,
    Terms,
    WechatAccount,
    WechatPlatform,
    source_id,
)
from services.tracking.domain.wechat_crypto import Secrets, aes_key
from services.tracking.read_models import sources

PAGES: Final = Keyset(str)

_CHANGEABLE: Final = ("enabled", "rate_limit", "user_namespace", "user_scope")


class SourceServicer:
    """Answers `scrm.tracking.v1.SourceService`; `maker` is the secret behind write keys, `seal` hides the secrets of accounts."""

    def __init__(
        self, bus: CommandBus, read_models: ReadModels, book: SourceBook, maker: bytes, seal: AccountSeal
    ) -> None:
        self._bus = bus
        self._read_models = read_models
        self._book = book
        self._maker = maker
        self._seal = seal

    async def RegisterSource(self, request: pb.RegisterSourceRequest, _: ServicerContext) -> pb.RegisterSourceResponse:
        key = self._write_key(request.key, request.request_id)
        kind = SourceKind(source_pb2.SourceKind.Name(request.kind).removeprefix("SOURCE_KIND_"))
        terms = Terms(
            True, request.rate_limit, request.user_namespace or DEFAULT_NAMESPACE, request.user_scope or request.key
        )
        command = RegisterSource(key.tenant, request.key, kind, terms, key.digest)
        answer: pb.RegisterSourceResponse = await self._execute(command, pb.RegisterSourceResponse)
        return pb.RegisterSourceResponse(source=answer.source, write_key=str(key))  # which no receipt keeps

    async def GetSource(self, request: pb.GetSourceRequest, _: ServicerContext) -> pb.GetSourceResponse:
        try:
            source = await self._bus.load(IngestSource, source_id(current().tenant, request.key))
        except AggregateNotFound:
            raise SourceNotFound from None
        return pb.GetSourceResponse(source=_message(source))

    async def UpdateSource(self, request: pb.UpdateSourceRequest, _: ServicerContext) -> pb.UpdateSourceResponse:
        source = request.source
        names = changed_fields(request.update_mask, source, _CHANGEABLE)
        changes = {name: getattr(source, name) for name in names}
        if "user_namespace" in changes:
            changes["user_namespace"] = source.user_namespace or DEFAULT_NAMESPACE
        if "user_scope" in changes:
            changes["user_scope"] = source.user_scope or source.key
        command = UpdateSource(current().tenant, source.key, changes)
        answer: pb.UpdateSourceResponse = await self._execute(command, pb.UpdateSourceResponse)
        return answer

    async def ListSources(self, request: pb.ListSourcesRequest, _: ServicerContext) -> pb.ListSourcesResponse:
        page = PAGES.page(request)
        after = page.after[0] if page.after else ""
        found = await self._read_models.query(lambda rows: sources.list_sources(rows, after, page.limit))
        shown, token = PAGES.cut(request, found, lambda it: (it.key,))
        return pb.ListSourcesResponse(sources=[_row_message(it) for it in shown], next_page_token=token)

    async def ReplaceWriteKey(
        self, request: pb.ReplaceWriteKeyRequest, _: ServicerContext
    ) -> pb.ReplaceWriteKeyResponse:
        key = self._write_key(request.key, request.request_id)
        command = ReplaceWriteKey(key.tenant, request.key, key.digest)
        answer: pb.ReplaceWriteKeyResponse = await self._execute(command, pb.ReplaceWriteKeyResponse)
        return pb.ReplaceWriteKeyResponse(source=answer.source, write_key=str(key))

    async def SetWechatAccount(
        self, request: pb.SetWechatAccountRequest, _: ServicerContext
    ) -> pb.SetWechatAccountResponse:
        tenant, key = current().tenant, request.key
        platform = WechatPlatform(source_pb2.WechatPlatform.Name(request.platform).removeprefix("WECHAT_PLATFORM_"))
        if platform is WechatPlatform.WECOM and not request.encoding_aes_key:
            raise EncodingKeyRequired(field="encoding_aes_key")
        secrets = Secrets(request.token, aes_key(request.encoding_aes_key) if request.encoding_aes_key else b"")
        account = self._seal.sealed(tenant, key, platform, request.account_id, secrets)
        command = SetWechatAccount(tenant, key, account)
        answer: pb.SetWechatAccountResponse = await self._execute(command, pb.SetWechatAccountResponse)
        return answer

    def _write_key(self, source: str, request_id: str) -> WriteKey:
        return write_key(self._maker, current().tenant, source, request_id)

    async def _execute(self, command: Any, response: Any) -> Any:
        """Carry out the command, so that this process knows of it at once."""
        answer: Message = await self._bus.execute(command, lambda source: response(source=_message(source)))
        self._book.forget(command.tenant, command.key)
        return answer


def _message(source: IngestSource) -> source_pb2.Source:
    terms, account = source.terms, source.wechat
    return source_pb2.Source(
        wechat=_account(account, source.tenant, source.key) if account else None,
        key=source.key,
        kind=_kind(source.kind),
        enabled=terms.enabled,
        rate_limit=terms.rate_limit,
        user_namespace=terms.user_namespace,
        user_scope=terms.user_scope,
        create_time=timestamp(source.created_on),
        update_time=timestamp(source.modified_on),
    )


def _row_message(row: Any) -> source_pb2.Source:
    return source_pb2.Source(
        wechat=_row_account(row) if row.wechat_platform else None,
        key=row.key,
        kind=_kind(row.kind),
        enabled=row.enabled,
        rate_limit=row.rate_limit,
        user_namespace=row.user_namespace,
        user_scope=row.user_scope,
        create_time=timestamp(row.registered_at),
        update_time=timestamp(row.changed_at),
    )


def _kind(kind: str) -> "source_pb2.SourceKind.ValueType":
    return source_pb2.SourceKind.Value(f"SOURCE_KIND_{kind}")


def _account(account: WechatAccount, tenant: str, key: str) -> source_pb2.WechatAccount:
    return source_pb2.WechatAccount(
        platform=_platform(account.platform),
        account_id=account.account_id,
        encrypted=account.encrypted,
        callback_path=callback_path(tenant, key, account.platform),
    )


def _row_account(row: Any) -> source_pb2.WechatAccount:
    return source_pb2.WechatAccount(
        platform=_platform(row.wechat_platform),
        account_id=row.wechat_account_id,
        encrypted=row.wechat_encrypted,
        callback_path=callback_path(row.tenant, row.key, WechatPlatform(row.wechat_platform)),
    )


def _platform(platform: str) -> "source_pb2.WechatPlatform.ValueType":
    return source_pb2.WechatPlatform.Value(f"WECHAT_PLATFORM_{platform}")
