"""The door for SDKs of Segment and RudderStack: their HTTP calls become batches for the same intake as TrackBatch.

An answer is 200 as soon as everything is durable, and says of each message what became of it. 401 means that the write key opens
nothing, 400 that the body is no JSON or too large, 429 and 503 to come again: SDKs drop what is answered with any other 4xx.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chassis.clock import Clock
from chassis.context import Context
from chassis.errors import BadFormat, Unauthenticated
from chassis.http_edge import BodyTooLarge, HttpEdge
from chassis.telemetry import Metrics, valid_traceparent
from scrm.tracking.v1 import tracking_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import TrackOutcome, TrackReason, TrackResult
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.segment_json import read_json
from services.tracking.adapters.segment_wire import Arrival, anonymous_id, sent_at, tracked_event
from services.tracking.adapters.write_keys import WriteKey
from services.tracking.domain.source import IngestSource

MOST_MESSAGES: Final = 10_000
SLICE: Final = 500
"""How many messages are read and made durable at once, so that other callers get their turn between."""

SINGLE: Final[Mapping[str, str]] = {
    name: call for call in ("track", "identify", "page", "screen", "group", "alias") for name in (call, call[0])
}
BATCHES: Final = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")

_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


class InvalidWriteKey(Unauthenticated):
    """The write key opens no source."""


class SegmentDoor:
    """Answers the HTTP calls of the SDKs."""

    def __init__(self, ingest: Ingest, clock: Clock, metrics: Metrics) -> None:
        self._ingest = ingest
        self._clock = clock
        self.edge = HttpEdge(self._routes(), metrics)

    def _routes(self) -> Sequence[BaseRoute]:
        batch = self._taking("")
        return [
            *(Route(path, batch, methods=["POST"]) for path in BATCHES),
            *(Route(f"/v1/{name}", self._taking(call), methods=["POST"]) for name, call in SINGLE.items()),
            Route("/v1/projects/{write_key}/settings", self._segment_settings),
            Route("/sourceConfig", self._rudder_settings),
            Route("/sourceConfig/", self._rudder_settings),
        ]

    def _taking(self, call: str) -> Any:
        """A route for one message of the kind `call`, or without one for a batch of them."""

        async def take(request: Request) -> Response:
            shown = _basic_user(request)
            source = await self._opened(shown) if shown else None
            async with self.edge.body(request) as content:
                body = read_json(content)
                if source is None:
                    source = await self._opened(_written_key(body) or request.query_params.get("writeKey", ""))
                messages, arrival = _messages(body, call), self._arrival(request, body, source)
                del body  # nothing that was read is kept while others have their turn: it takes many times the room of its text
                return _answer(await self._taken(messages, call, arrival, request))

        return take

    async def _taken(
        self, messages: list[Any], call: str, arrival: Arrival, request: Request
    ) -> list[tuple[str, TrackResult]]:
        """Make the messages durable, and take them out of the list; the id and the result of each."""
        key = arrival.source.key
        traceparent = valid_traceparent(request.headers.get("traceparent"))
        context = Context(arrival.source.tenant, f"source/{key}", traceparent=traceparent)
        found: list[tuple[str, TrackResult]] = []
        while messages:
            events = [tracked_event(it, call, arrival) for it in messages[:SLICE]]
            del messages[:SLICE]
            answer = await self._ingest.submit(pb.TrackBatchRequest(events=events), context)
            results = pb.TrackBatchResponse.FromString(answer).results
            found += zip((it.message_id for it in events), results, strict=True)
        return found

    async def _opened(self, shown: str) -> IngestSource:
        key = WriteKey.parse(shown)
        source = await self._ingest.sources.opened_by(key) if key else None
        if source is None:
            raise InvalidWriteKey
        return source

    def _arrival(self, request: Request, body: Any, source: IngestSource) -> Arrival:
        sent = sent_at(body, request.headers.get("sentat"))
        return Arrival(source, self._clock.now(), sent, anonymous_id(request.headers.get("anonymousid")))

    async def _segment_settings(self, request: Request) -> Response:
        """What analytics.js asks for first: no integrations but ourselves."""
        write_key = request.path_params["write_key"]
        await self._opened(write_key)
        ours = {"apiKey": write_key, "unbundledIntegrations": [], "addBundledMetadata": True}
        everything = {"__default": {"enabled": True, "integrations": {}}}
        document = {
            "integrations": {"Segment.io": {**ours, **_address(request)}},
            "plan": {"track": everything, "identify": everything, "group": everything},
            "edgeFunction": {},
            "analyticsNextEnabled": True,
            "middlewareSettings": {},
            "enabledMiddleware": {},
            "metrics": {"sampleRate": 0},
            "legacyVideoPluginsEnabled": False,
            "remotePlugins": [],
        }
        return _json(document)

    async def _rudder_settings(self, request: Request) -> Response:
        """What the RudderStack SDK asks for first: whether the source is on, and no destinations."""
        write_key = _basic_user(request) or request.query_params.get("writeKey", "")
        source = await self._opened(write_key)
        address = _address(request)
        url = f"{address['protocol']}://{address['apiHost'].removesuffix('/v1')}" if address else ""
        document = {
            "source": {
                "id": source.key,
                "name": source.key,
                "writeKey": write_key,
                "enabled": source.terms.enabled,
                "workspaceId": source.tenant,
                "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
                "connections": [],
                "destinations": [],
                "dataplanes": {"US": [{"url": url, "default": True}]} if url else {},
            },
        }
        return _json(document)


def _messages(body: Any, call: str) -> list[Any]:
    """The messages of a request. Raises BadFormat for a body that has no place for any, BodyTooLarge for too many."""
    if call:
        if not isinstance(body, dict):
            raise BadFormat("the body is no message")
        return [body]
    messages = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(messages, list):
        raise BadFormat("the body has no batch")
    if len(messages) > MOST_MESSAGES:
        raise BodyTooLarge(f"at most {MOST_MESSAGES} messages")
    return messages


def _written_key(body: Any) -> str:
    found = body.get("writeKey") if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _basic_user(request: Request) -> str:
    """The user of Basic authorization; empty without one."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return "?"  # shown, and good for nothing


def _address(request: Request) -> dict[str, str]:
    """Where the SDK reached us, as far as it can be told."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        return {}
    forwarded = request.headers.get("x-forwarded-proto", "")
    return {"apiHost": f"{host}/v1", "protocol": forwarded if forwarded in ("http", "https") else request.url.scheme}


def _answer(results: Sequence[tuple[str, TrackResult]]) -> Response:
    return _json({"success": True, "results": [_result(*it) for it in results]})


def _result(message_id: str, result: TrackResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "messageId": message_id[:256],
        "outcome": TrackOutcome.Name(result.outcome).removeprefix("TRACK_OUTCOME_"),
    }
    if result.reason:
        found["reason"] = TrackReason.Name(result.reason).removeprefix("TRACK_REASON_")
    if result.field:
        found["field"] = result.field
    if result.stripped_properties:
        found["stripped"] = list(result.stripped_properties)
    return found


def _json(document: Mapping[str, Any]) -> Response:
    return Response(orjson.dumps(document), media_type="application/json", headers={"cache-control": "no-store"})
