"""The door for the callbacks of WeChat official accounts and of WeCom: checked, read, made durable, and only then answered.

The URL that is entered in the console of the platform is `/wechat/oa/<brand>.<source>` or `/wechat/wecom/<brand>.<source>`. A callback is
answered `success` as soon as everything is durable; whatever else is answered, the platform calls again, three times in all, and so it is
when nothing became durable in four seconds. 401 means that it is not from the platform, 400 that its account is set up otherwise there.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chassis.clock import Clock
from chassis.context import Context
from chassis.credentials import is_tenant
from chassis.errors import BadFormat, InvalidArgument, Unauthenticated, Unavailable
from chassis.group_commit import OUTAGES
from chassis.http_edge import BodyTooLarge
from chassis.telemetry import valid_traceparent
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from services.tracking.adapters.account_seal import AccountSeal, SealBroken
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.wechat_wire import tracked_events, unreadable
from services.tracking.adapters.wechat_xml import LARGEST, Message, Unreadable, read_message
from services.tracking.domain.source import WechatAccount, WechatPlatform, is_source_key
from services.tracking.domain.wechat_crypto import CannotDecrypt, NotFromPlatform, Proof, Secrets, decrypted

ANSWER_SECONDS: Final = 4.0
"""The platform waits for five."""

PATHS: Final = {WechatPlatform.OFFICIAL_ACCOUNT: "/wechat/oa/", WechatPlatform.WECOM: "/wechat/wecom/"}

_LONGEST_ECHO: Final = 4096

Body: TypeAlias = Callable[[Request], AbstractAsyncContextManager[bytes]]
"""How the body of a request is read, within the limits of the edge."""

_log = structlog.get_logger(__name__)


class InvalidSignature(Unauthenticated):
    """The call is not signed by the platform of an account that is known here, or it is too old."""


class EncryptionMismatch(InvalidArgument):
    """The call is from the platform, but is encrypted in another way, for another account or not at all."""


@dataclass(frozen=True, slots=True)
class _Line:
    """An account that calls, with the source its callbacks are."""

    tenant: str
    source_key: str
    account: WechatAccount
    secrets: Secrets


def callback_path(tenant: str, source_key: str, platform: WechatPlatform) -> str:
    """The path of the URL that the platform has to call."""
    return f"{PATHS[platform]}{tenant}.{source_key}"


class WechatDoor:
    """Answers the callbacks; `body` reads one."""

    def __init__(self, ingest: Ingest, clock: Clock, seal: AccountSeal, body: Body) -> None:
        self._ingest = ingest
        self._clock = clock
        self._seal = seal
        self._body = body

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route(f"{path}{{address}}", within_time(self._answering(platform)), methods=["GET", "POST"])
            for platform, path in PATHS.items()
        ]

    def _answering(self, platform: WechatPlatform) -> Any:
        async def answer(request: Request) -> Response:
            line = await self._line(request.path_params["address"], platform)
            if request.method == "POST":
                return await self._taken(request, line)
            return _plain(self._echo(request, line))

        return answer

    async def _line(self, address: str, platform: WechatPlatform) -> _Line:
        """Who calls at this address. Raises InvalidSignature, for it is nobody's business which accounts there are; Unavailable."""
        tenant, _, key = address.partition(".")
        source = await self._ingest.sources.find(tenant, key) if is_tenant(tenant) and is_source_key(key) else None
        account = source.wechat if source else None
        if account is None or account.platform is not platform:
            raise InvalidSignature
        try:
            return _Line(tenant, key, account, self._seal.opened(tenant, key, account))
        except SealBroken as broken:
            _log.error("wechat.secrets_do_not_open", tenant=tenant, source=key, reason=str(broken))
            raise Unavailable(f"the secrets of the account do not open: {broken}") from broken

    def _echo(self, request: Request, line: _Line) -> bytes:
        """What the platform wants to hear when its URL is set up: what it said, which WeCom hides."""
        echo = request.query_params.get("echostr", "")
        if len(echo) > _LONGEST_ECHO:
            raise BadFormat("echostr is too long", field="echostr")
        if line.account.platform is WechatPlatform.WECOM:
            return self._opened(request, line, echo)
        self._check(_proof(request, "signature"), line)
        return echo.encode()

    async def _taken(self, request: Request, line: _Line) -> Response:
        if not line.account.encrypted:
            self._check(_proof(request, "signature"), line)  # which is all that is signed: what is said is not
        async with self._body(request) as content:
            if len(content) > LARGEST:
                raise BodyTooLarge
            events = self._events(content, request, line)
        traceparent = valid_traceparent(request.headers.get("traceparent"))
        context = Context(line.tenant, f"source/{line.source_key}", traceparent=traceparent)
        await self._ingest.submit(pb.TrackBatchRequest(events=events), context)
        return _plain(b"success")

    def _events(self, content: bytes, request: Request, line: _Line) -> list[TrackedEvent]:
        if line.account.encrypted:
            content = self._opened(request, line, _envelope(content).text("Encrypt"))
        try:
            return tracked_events(read_message(content), line.source_key, line.account)
        except Unreadable:
            return [unreadable(line.source_key)]

    def _opened(self, request: Request, line: _Line, ciphertext: str) -> bytes:
        """What the platform encrypted for the account. Raises InvalidSignature, EncryptionMismatch."""
        if not ciphertext:
            raise EncryptionMismatch("the call is not encrypted, and the account has an EncodingAESKey")
        self._check(_proof(request, "msg_signature"), line, ciphertext)
        try:
            return decrypted(ciphertext, line.secrets.key, line.account.account_id)
        except CannotDecrypt as cannot:
            raise EncryptionMismatch(str(cannot)) from None

    def _check(self, proof: Proof, line: _Line, ciphertext: str = "") -> None:
        try:
            proof.check(line.secrets.token, self._clock.now().timestamp(), ciphertext)
        except NotFromPlatform as wrong:
            raise InvalidSignature(str(wrong)) from None


def within_time(answer: Any) -> Any:
    """`answer`, which gives up while the platform still listens: it will call again, and then what was made durable is known."""

    async def timely(request: Request) -> Response:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response: Response = await answer(request)
                return response
        except (TimeoutError, *OUTAGES) as late:
            raise Unavailable("nothing became durable in time") from late

    return timely


def _envelope(content: bytes) -> Message:
    """What is around a ciphertext. Raises BadFormat: it is not signed, so it is nobody's yet."""
    try:
        return read_message(content)
    except Unreadable as wrong:
        raise BadFormat(f"the body is no message: {wrong}") from None


def _proof(request: Request, signature: str) -> Proof:
    asked = request.query_params
    return Proof(asked.get(signature, ""), asked.get("timestamp", ""), asked.get("nonce", ""))


def _plain(content: bytes) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(content, media_type="text/plain", headers=headers)
