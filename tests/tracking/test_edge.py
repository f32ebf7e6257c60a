"""The Segment protocol as SDKs write it: every form of request, what becomes of each message, and what is answered."""

import asyncio
import base64
import gzip
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import httpx
import orjson
import pytest
from starlette.responses import Response
from starlette.routing import Route

from chassis import http_edge
from chassis.clock import ReplayClock
from chassis.event_store import PostgresEventStore
from chassis.http_edge import LARGEST_BODY, BodyTooLarge, HttpEdge, unpacked
from chassis.telemetry import Metrics
from services.tracking.adapters.segment_json import read_json
from services.tracking.application.source_commands import UpdateSource
from tests.chassis.streams import until
from tests.tracking.edge import KEYS, Door, opened
from tests.tracking.touches import NOON

SITE = str(KEYS["site"])
NOW = "2026-05-01T12:00:00.000Z"

Run = Callable[[Callable[[Door], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def run(postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop) -> Run:
    """`run(check)` awaits `check(door)` at noon."""

    def running(check: Callable[[Door], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with opened(postgres_store, ReplayClock(NOON)) as door:
                await check(door)

        loop.run_until_complete(served())

    return running


def track(id: Any = "m1", name: str = "checkin", **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "messageId": id, "anonymousId": "a-1", "timestamp": NOW, **more}


def batch(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"batch": list(messages), **more}


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


GZIPPED = gzip.compress(orjson.dumps(batch(track())))
KEY = {"authorization": basic(SITE)}
TEXT = {"content-type": "text/plain"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
PACKED = {"content-encoding": "gzip"}

Write = Callable[[dict[str, Any]], bytes]

# Who writes so, where to, how, and with which headers.
REQUESTS: list[tuple[str, str, Write, dict[str, str]]] = [
    ("node", "/v1/batch", lambda it: orjson.dumps(batch(it, writeKey=SITE)), KEY),
    ("browser", "/v1/t", orjson.dumps, {**KEY, **TEXT}),
    ("browser, key in the body", "/v1/track", lambda it: orjson.dumps({**it, "writeKey": SITE}), TEXT),
    ("browser, batching", "/v1/b", lambda it: orjson.dumps(batch(it, writeKey=SITE)), TEXT),
    ("import", "/v1/import", lambda it: orjson.dumps(batch(it)), KEY),
    ("beacon, key in the query", f"/beacon/v1/batch?writeKey={SITE}", lambda it: orjson.dumps(batch(it)), {}),
    ("gzip by its header", "/v1/batch", lambda it: gzip.compress(orjson.dumps(batch(it))), {**KEY, **PACKED}),
    ("rudder node", "/v1/batch", lambda it: gzip.compress(orjson.dumps(batch(it))), {**KEY, **PACKED, **FORM}),
    ("gzip that nobody announced", "/v1/batch", lambda it: gzip.compress(orjson.dumps(batch(it))), KEY),
    ("a header that lies", "/v1/t", orjson.dumps, {**KEY, **PACKED}),
    ("nulls", "/v1/t", lambda it: orjson.dumps({**it, "userId": None, "context": None, "properties": None}), KEY),
    ("a mark before the JSON", "/v1/t", lambda it: b"\xef\xbb\xbf" + orjson.dumps(it), KEY),
    ("integrations", "/v1/t", lambda it: orjson.dumps({**it, "integrations": {"All": True}}), KEY),
]


def test_every_form_of_request_brings_its_event(run: Run) -> None:
    async def check(door: Door) -> None:
        for number, (who, path, write, headers) in enumerate(REQUESTS):
            id = f"m{number}"
            answer = await door.client.post(door.url + path, content=write(track(id)), headers=headers)
            said = {"success": True, "results": [{"messageId": id, "outcome": "ACCEPTED"}]}
            assert (answer.status_code, answer.json()) == (200, said), who
            event = door.accepted()[number]
            assert (event.message_id, event.event_type, event.source_key) == (id, "checkin", "site"), who
            assert [(it.namespace, it.value) for it in event.identifiers] == [("anonymous_id", "a-1")], who
            assert not event.authenticated, who

    run(check)


SINGLE: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/track", {"event": "checkin"}, "checkin"),
    ("/v1/identify", {"userId": 7, "traits": {"email": "a@example.org"}}, "custom.identify"),
    ("/v1/i", {"userId": "7", "context": {"traits": {"email": "a@example.org"}}}, "custom.identify"),
    ("/v1/page", {"name": "Home", "properties": {"path": "/"}}, "content_viewed"),
    ("/v1/p", {"properties": {"path": "/"}}, "content_viewed"),
    ("/v1/screen", {"name": "Cart"}, "content_viewed"),
    ("/v1/s", {"name": "Cart"}, "content_viewed"),
    ("/v1/group", {"groupId": "g1"}, "custom.group"),
    ("/v1/g", {"groupId": "g1"}, "custom.group"),
    ("/v1/alias", {"userId": "u1", "previousId": "a-1"}, "custom.alias"),
    ("/v1/a", {"userId": "u1", "previousId": "a-1"}, "custom.alias"),
]


def test_single_calls_need_no_type_and_say_who_it_is(run: Run) -> None:
    async def check(door: Door) -> None:
        for number, (path, message, _) in enumerate(SINGLE):
            body: dict[str, Any] = {"messageId": f"m{number}", "anonymousId": "a-1", "timestamp": NOW, **message}
            assert await door.said(path, body, "shop") == ["ACCEPTED"], path
        events = door.accepted()
        assert [it.event_type for it in events] == [it[2] for it in SINGLE]
        for number in (1, 2):
            names = [(it.namespace, it.scope, it.value, it.verified) for it in events[number].identifiers]
            assert names == [
                ("external_id", "shop", "7", True),
                ("anonymous_id", "", "a-1", False),
                ("email", "", "a@example.org", False),
            ]
            assert events[number].authenticated
            assert b"example.org" not in events[number].properties_json

    run(check)


def test_the_anonymous_id_and_the_time_of_sending_may_be_in_headers(run: Run) -> None:
    async def check(door: Door) -> None:
        message = {"event": "checkin", "messageId": "m1", "originalTimestamp": "2026-05-01T14:00:00Z"}
        anonymous = base64.b64encode("访客-1".encode()).decode()
        await door.said("/v1/track", message, AnonymousId=anonymous, SentAt="2026-05-01T14:00:10Z")
        [event] = door.accepted()
        assert [it.value for it in event.identifiers] == ["访客-1"]
        [[occurred]] = door.rows(
            "SELECT extract(epoch FROM occurred_at)::int - extract(epoch FROM received_at)::int FROM accepted"
        )
        assert occurred == -10, "a clock two hours ahead, ten seconds between event and sending"

    run(check)


def test_user_ids_are_identifiers_of_the_kind_their_source_says(run: Run) -> None:
    async def check(door: Door) -> None:
        await door.said("/v1/t", track(userId="M-0001"), "club")
        [event] = door.accepted()
        first = event.identifiers[0]
        assert (first.namespace, first.scope, first.value) == ("member_no", "members", "M-0001")

    run(check)


def test_each_message_of_a_batch_is_judged_by_itself(run: Run) -> None:
    async def check(door: Door) -> None:
        said = await door.said(
            "/v1/batch",
            batch(
                track("ok"),
                track("ok"),
                7,
                None,
                track("no type", type="delete"),
                track("no name", name=""),
                track("nobody", anonymousId=None),
                track("no time", timestamp="yesterday"),
                track("nul", properties={"a": "\0"}),
                track("wrong", "Product Viewed", properties={"product_id": ["x"]}),
                track("large", properties={"a": "x" * 40_000}),
                track("late", timestamp="2020-01-01T00:00:00Z"),
                track("m" * 300),
                track("list", properties=[1]),
                track("last", properties={"phone": "1", "ok": 1}),
            ),
        )
        assert said == [
            "ACCEPTED",
            "DUPLICATE",
            "REJECTED FIELD_REQUIRED message_id",
            "REJECTED FIELD_REQUIRED message_id",
            "REJECTED FIELD_REQUIRED event_type",
            "REJECTED FIELD_REQUIRED event_type",
            "QUARANTINED NO_IDENTITY identifiers",
            "REJECTED FIELD_REQUIRED original_time",
            "REJECTED BAD_FORMAT properties_json",
            "QUARANTINED SCHEMA properties.sku",
            "REJECTED TOO_LARGE properties_json",
            "QUARANTINED TOO_LATE original_time",
            "REJECTED FIELD_TOO_LONG message_id",
            "REJECTED BAD_FORMAT properties_json",
            "ACCEPTED",
        ]
        assert door.counted() == 15
        assert [orjson.loads(it.properties_json or b"{}") for it in door.accepted()] == [{}, {"extra": {"ok": 1}}]

    run(check)


def test_a_message_without_an_id_is_known_again(run: Run) -> None:
    async def check(door: Door) -> None:
        message = track(None)
        assert await door.said("/v1/batch", batch(message, sentAt=NOW)) == ["ACCEPTED"]
        assert await door.said("/v1/batch", batch(message, sentAt="2026-05-01T12:00:05Z")) == ["DUPLICATE"]
        assert await door.said("/v1/batch", batch({**message, "event": "login"}, sentAt=NOW)) == ["ACCEPTED"]

    run(check)


def test_a_wrong_key_is_refused_at_once_and_nothing_is_kept(run: Run) -> None:
    async def check(door: Door) -> None:
        wrong = [
            {"authorization": basic(SITE[:-1] + "?")},
            {"authorization": basic("nobody")},
            {"authorization": "Basic ???"},
            {"authorization": f"Bearer {SITE}"},
            {},
        ]
        for headers in wrong:
            answer = await door.client.post(door.url + "/v1/t", content=orjson.dumps(track()), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_WRITE_KEY")
            assert SITE not in answer.text
        assert (await door.post("/v1/batch", batch(track(), writeKey="acme.site.x"), "")).status_code == 401
        assert door.counted() == 0

    run(check)


BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"[]", 400),
    (b'{"batch": 1}', 400),
    (b"\xff\xfe", 400),
    (b"[" * 100_000, 400),
    (b"\x1f\x8b\x08 not gzip", 400),
    (GZIPPED[:-9], 400),
    (b"x" * (LARGEST_BODY + 1), 400),
    (gzip.compress(b" " * (LARGEST_BODY + 1)), 400),
    (orjson.dumps({"batch": [0] * 10_001}), 400),
    (b'{"batch": []}', 200),
]


def test_what_is_no_json_or_too_large_is_refused_and_not_sent_again(run: Run) -> None:
    async def check(door: Door) -> None:
        for body, status in BODIES:
            answer = await door.post("/v1/batch", body)
            assert answer.status_code == status, body[:20]
        assert door.counted() == 0

    run(check)


def test_a_source_that_is_off_or_sends_too_much_is_told_so(run: Run) -> None:
    async def check(door: Door) -> None:
        door.given(UpdateSource("acme", "site", {"enabled": False}))
        door.given(UpdateSource("acme", "shop", {"rate_limit": 1}))
        assert await door.said("/v1/t", track()) == ["REJECTED SOURCE_DISABLED source_key"]
        assert await door.said("/v1/batch", batch(*(track(f"m{n}") for n in range(50))), "shop") == ["ACCEPTED"] * 50
        answer = await door.post("/v1/t", track("m50"), "shop")
        assert (answer.status_code, answer.json()["code"]) == (429, "SOURCE_RATE_EXCEEDED")
        assert int(answer.headers["retry-after"]) > 0

    run(check)


def test_pages_of_any_site_may_ask(run: Run) -> None:
    async def check(door: Door) -> None:
        asked = {
            "origin": "https://shop.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": "anonymousid,authorization,content-type,sentat",
        }
        allowed = await door.client.options(door.url + "/v1/track", headers=asked)
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        wanted = set(asked["access-control-request-headers"].split(","))
        assert wanted <= set(allowed.headers["access-control-allow-headers"].split(", "))
        for answer in (
            await door.post("/v1/t", track(), origin="https://shop.example"),
            await door.post("/v1/t", track(), "", origin="https://shop.example"),
        ):
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-origin" not in (await door.post("/v1/t", track())).headers

    run(check)


def test_browsers_find_the_settings_they_ask_for_first(run: Run) -> None:
    async def check(door: Door) -> None:
        host = door.url.removeprefix("http://")
        segment = (await door.client.get(f"{door.url}/v1/projects/{SITE}/settings")).json()
        ours = segment["integrations"]["Segment.io"]
        assert (ours["apiKey"], ours["apiHost"], ours["protocol"]) == (SITE, f"{host}/v1", "http")
        asked = {"authorization": basic(SITE)}
        rudder = (await door.client.get(f"{door.url}/sourceConfig/?p=cdn&writeKey={SITE}", headers=asked)).json()
        source = rudder["source"]
        assert (source["enabled"], source["destinations"], source["writeKey"]) == (True, [], SITE)
        assert source["dataplanes"] == {"US": [{"url": door.url, "default": True}]}
        assert (await door.client.get(f"{door.url}/v1/projects/acme.site.no/settings")).status_code == 401
        assert (await door.client.get(f"{door.url}/sourceConfig")).status_code == 401

    run(check)


def test_health_metrics_and_unknown_places(run: Run) -> None:
    async def check(door: Door) -> None:
        assert [
            (await door.client.get(door.url + it)).status_code for it in ("/livez", "/readyz", "/v1/t", "/nowhere")
        ] == [
            200,
            200,
            405,
            404,
        ]
        await door.said("/v1/t", track())
        door.edge.drain()
        assert (await door.client.get(door.url + "/readyz")).status_code == 503
        assert (await door.client.get(door.url + "/livez")).status_code == 200
        assert await door.said("/v1/t", track("m2")) == ["ACCEPTED"], "who is draining still answers"
        counted = door.metrics.registry.get_sample_value
        assert counted("scrm_http_seconds_count", {"route": "/v1/t", "status": "200"}) == 2
        assert counted("scrm_http_seconds_count", {"route": "other", "status": "404"}) == 1

    run(check)


def test_more_requests_than_can_be_held_are_told_to_come_back(loop: asyncio.AbstractEventLoop) -> None:
    async def check() -> None:
        waiting = asyncio.Event()

        async def slow(request: Any) -> Any:
            async with edge.body(request) as content:
                await waiting.wait()
                return Response(content)

        async def is_closed() -> bool:
            try:
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
            except ConnectionRefusedError:
                return True
            return False

        async def holds(size: int) -> bool:
            return edge._held == size

        edge = HttpEdge([Route("/slow", slow, methods=["POST"])], Metrics(), most_requests=3, most_held=250)
        port = await edge.start("127.0.0.1", 0)
        url = f"http://127.0.0.1:{port}/slow"
        async with httpx.AsyncClient(verify=False) as client:
            first = [asyncio.create_task(client.post(url, content=b"x" * 100)) for _ in range(2)]
            await until(lambda: holds(200), "the bodies are held")
            held = await client.post(url, content=b"x" * 100)
            assert (held.status_code, held.headers["retry-after"]) == (429, "1")
            first.append(asyncio.create_task(client.post(url, content=b"x")))
            await until(lambda: holds(201), "the bodies are held")
            assert (await client.post(url, content=b"x")).status_code == 429
            stopping = asyncio.create_task(edge.stop(5))
            await until(is_closed, "no more connections are taken")
            waiting.set()
            assert [(await it).status_code for it in first] == [200] * 3, "what is under way is answered"
            assert edge._held == 0
            await stopping
            with pytest.raises(httpx.ConnectError):
                await client.post(url, content=b"x")

    loop.run_until_complete(check())


def test_gzip_of_several_members_is_unpacked_and_a_bomb_is_not() -> None:
    assert unpacked(gzip.compress(b"ab") + gzip.compress(b"cd"), 10) == b"abcd"
    with pytest.raises(BodyTooLarge):
        unpacked(gzip.compress(b"x" * 11), 10)
    with pytest.raises(BodyTooLarge):
        unpacked(gzip.compress(b"x" * 6) * 2, 10)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b'["\\ud83d"]', ["\ufffd"]),
        (b'["\\ud83d\\ude00", NaN]', ["😀", None]),
        (b'["\\\\ud83d", NaN]', ["\\ud83d", None]),
        (b"[-Infinity, 1e999, 5]", [None, None, 5]),
        (b"[" + b"9" * 5000 + b", 1]", [None, 1]),
    ],
)
def test_json_is_read_as_sdks_write_it(written: bytes, value: Any) -> None:
    assert read_json(written) == value


def test_headers_without_end_are_cut_off_and_those_that_come_slowly_too(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        edge = HttpEdge([], Metrics())
        port = await edge.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\n" + b"x: " + b"y" * 70_000)
        writer.write(b"y" * 70_000)
        with suppress(ConnectionResetError):  # what we still send finds nobody
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
        assert reader.at_eof() or reader.exception()
        monkeypatch.setattr(http_edge, "HEAD_SECONDS", 0.05)
        for begun in (b"", b"GET /livez HTTP/1.1\r\nx: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            assert await reader.read() == b"", "closed without an answer"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # and who is in time may go on
            writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readuntil(b"true}")).startswith(b"HTTP/1.1 200")
        writer.close()
        await edge.stop(1)

    loop.run_until_complete(check())
