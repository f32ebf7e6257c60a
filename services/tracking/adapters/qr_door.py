"""The door of QR codes: images of tracked links and of channel codes, as SVG and PNG, drawn when they are asked for.

`/q/link/<brand>.<short code>.svg` shows the address of a link with whatever signed context the query has. `/q/code/<brand>.<code key>.png`
shows a channel code: with `link=<short code>` an address on our edge that leads there and counts as a scan, with `content=<address>` what
its platform gave for it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Final

import segno
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chassis.credentials import is_tenant
from chassis.errors import BadFormat, FieldRequired, ValueOutOfRange
from chassis.log import EventStore
from chassis.unit_of_work import replay
from services.tracking.adapters.link_book import LinkBook, LinkName
from services.tracking.adapters.link_door import link_name
from services.tracking.adapters.link_signer import LinkSigner
from services.tracking.domain.channel_code import ChannelCode, code_id, require_key
from services.tracking.domain.errors import ChannelCodeNotFound, LinkNotFound, TargetNotAllowed
from services.tracking.domain.link_context import LinkContext

MOST_SCALE: Final = 40  # pixels of the side of a module
PLATFORMS: Final = frozenset({"weixin.qq.com", "work.weixin.qq.com", "u.wechat.com", "mp.weixin.qq.com", "wxaurl.cn"})
"""The hosts of what WeChat and WeCom give for their codes. We draw nothing else: a QR code of ours vouches for where it leads."""

TYPES: Final[Mapping[str, str]] = {"svg": "image/svg+xml", "png": "image/png"}

_LONGEST: Final = 512
_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")
_PLATFORM_ADDRESS: Final = re.compile(r"https?://([a-z.]+)/[!-\[\]-~]*\Z")


class QrDoor:
    """Draws for whoever asks: what a code shows is made to be seen."""

    def __init__(self, book: LinkBook, signer: LinkSigner, store: EventStore) -> None:
        self._book = book
        self._signer = signer
        self._store = store

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/q/link/{address}.{form}", self._drawing(self._link)),
            Route("/q/code/{address}.{form}", self._drawing(self._code)),
        ]

    def _drawing(self, content: Callable[[Request, str], Awaitable[str]]) -> Callable[[Request], Awaitable[Response]]:
        async def draw(request: Request) -> Response:
            form = request.path_params["form"]
            if form not in TYPES:
                raise BadFormat("there are svg and png", field="form")
            scale = _scale(request.query_params.get("scale", "8"))
            shown = await content(request, request.path_params["address"])
            image = await asyncio.to_thread(drawn, shown, form, scale)
            return Response(image, media_type=TYPES[form], headers={"cache-control": "public, max-age=86400"})

        return draw

    async def _link(self, request: Request, address: str) -> str:
        name = link_name(address)
        await self._require(name)
        context = self._signer.context(*name, request.query_params)
        return _root(request) + self._signer.path(*name, context)

    async def _code(self, request: Request, address: str) -> str:
        tenant, _, key = address.partition(".")
        await self._require_code(tenant, key)
        if content := request.query_params.get("content", ""):
            return _of_platform(content)
        if short_code := request.query_params.get("link", ""):
            name = link_name(f"{tenant}.{short_code}")
            await self._require(name)
            return _root(request) + self._signer.path(*name, LinkContext(code_key=key))
        raise FieldRequired("a channel code is drawn with a link or a content", field="link")

    async def _require(self, name: LinkName) -> None:
        if await self._book.find(name) is None:
            raise LinkNotFound(field="short_code")

    async def _require_code(self, tenant: str, key: str) -> None:
        require_key(key)
        if is_tenant(tenant):
            id = code_id(tenant, key)
            streams = await asyncio.to_thread(self._store.load, [id])
            if id in streams and isinstance(replay(streams[id]), ChannelCode):
                return
        raise ChannelCodeNotFound(field="code_key")


@lru_cache(maxsize=1024)
def drawn(content: str, form: str, scale: int) -> bytes:
    """A QR code (ISO/IEC 18004) with error correction M and the quiet zone of four modules."""
    found = BytesIO()
    segno.make_qr(content, error="m").save(found, kind=form, scale=scale, border=4)
    return found.getvalue()


def _scale(text: str) -> int:
    if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= MOST_SCALE:
        raise ValueOutOfRange(f"1 to {MOST_SCALE}", field="scale")
    return int(text)


def _of_platform(content: str) -> str:
    if len(content) <= _LONGEST and (found := _PLATFORM_ADDRESS.match(content)) and found[1] in PLATFORMS:
        return content
    raise TargetNotAllowed(field="content")


def _root(request: Request) -> str:
    """Where the edge is for who asks. Raises BadFormat."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise BadFormat("there is no such host", field="host")
    forwarded = request.headers.get("x-forwarded-proto", "")
    return f"{forwarded if forwarded in ('http', 'https') else request.url.scheme}://{host}"
