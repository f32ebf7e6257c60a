"""The door of tracked links: leads on by `/l/<brand>.<code>`, and hears from the pages behind that somebody sees them.

A redirect needs nothing but memory. The hit is written meanwhile, and the answer waits for that, but for six milliseconds at most: nobody
stands before a closed door because the database is slow or away. What a hit was is decided later, by the beacon of the page.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias
from uuid import UUID, uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chassis.clock import Clock
from chassis.credentials import is_tenant
from chassis.errors import BadFormat
from services.tracking.adapters.hit_log import BeaconRow, HitLog, HitRow, Row
from services.tracking.adapters.link_book import LinkBook, LinkName
from services.tracking.adapters.link_signer import LinkSigner
from services.tracking.domain.errors import LinkNotFound
from services.tracking.domain.link import TrackedLink, landing, require_allowed
from services.tracking.domain.link_context import LinkContext
from services.tracking.domain.robots import is_robot

ANSWER_SECONDS: Final = 0.006

Body: TypeAlias = Callable[[Request], AbstractAsyncContextManager[bytes]]
"""How the body of a request is read, within the limits of the edge."""

_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VISITOR: Final = re.compile(r"[!-~]{1,128}")
_NOT_KEPT: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer", "x-robots-tag": "noindex"}


class LinkDoor:
    """Answers those who follow links; `body` reads what their pages send."""

    def __init__(self, book: LinkBook, signer: LinkSigner, log: HitLog, clock: Clock, body: Body) -> None:
        self._book = book
        self._signer = signer
        self._log = log
        self._clock = clock
        self._body = body

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/l/seen", self._seen, methods=["POST"]),
            Route("/l/{address}", self._lead_on, methods=["GET"]),  # and HEAD, which comes with it
        ]

    async def _lead_on(self, request: Request) -> Response:
        name = link_name(request.path_params["address"])
        link = await self._book.find(name)
        if link is None:
            raise LinkNotFound(field="short_code")
        require_allowed(link.design.target, await self._book.hosts(name.tenant))
        hit = uuid4()
        await self._noted(self._hit(hit, link, name, request))
        address = landing(link.design.target, f"{name.tenant}.{hit.hex}")
        return Response(status_code=302, headers={"location": address, **_NOT_KEPT})

    def _hit(self, hit: UUID, link: TrackedLink, name: LinkName, request: Request) -> HitRow:
        context = self._signer.context(name.tenant, name.short_code, request.query_params)
        if not context.staff_code:
            context = LinkContext(
                context.delivery_id, context.share_id, link.design.staff, context.code_key, context.group_id
            )
        robot = request.method == "HEAD" or is_robot(request.headers.get("user-agent", ""))
        return HitRow(name.tenant, hit, self._clock.now(), name.short_code, link.design.kind, robot, context)

    async def _seen(self, request: Request) -> Response:
        async with self._body(request) as content:
            tenant, hit, visitor = _read_beacon(content)
        await self._noted(BeaconRow(tenant, hit, self._clock.now(), visitor))
        return Response(status_code=204)

    async def _noted(self, row: Row) -> None:
        await asyncio.wait([self._log.note(row)], timeout=ANSWER_SECONDS)


def link_name(address: str) -> LinkName:
    """The brand and the code in `<brand>.<code>`. Raises LinkNotFound."""
    tenant, _, code = address.partition(".")
    if not is_tenant(tenant) or not _CODE.fullmatch(code):
        raise LinkNotFound(field="short_code")
    return LinkName(tenant, code)


def _read_beacon(content: bytes) -> tuple[str, UUID, str]:
    """The brand, the hit and the visitor of a beacon. Raises BadFormat."""
    try:
        said = orjson.loads(content)
        tenant, _, hit = said["hit"].partition(".")
        visitor = said["visitor"]
        if is_tenant(tenant) and _VISITOR.fullmatch(visitor):
            return tenant, UUID(hex=hit), visitor
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise BadFormat("the beacon has no hit and visitor")
