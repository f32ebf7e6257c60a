"""Unmodified SDKs of Segment and RudderStack against the door: only the host is ours, and the network is bad.

SCRM_EDGE_EVENTS says how many events each SDK sends.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from rudderstack.analytics.client import Client as Rudder
from segment.analytics.client import Client as Segment

from chassis.clock import SystemClock
from chassis.event_store import PostgresEventStore
from faults.bad_network import unreliable
from tests.tracking.edge import KEYS, opened

EVENTS = int(os.environ.get("SCRM_EDGE_EVENTS", "300"))
BATCH = max(20, EVENTS // 50)
OPTIONS = {"upload_size": BATCH, "upload_interval": 0.05, "max_queue_size": EVENTS + BATCH}

Sdk = Callable[[str, Callable[[Any, Any], None]], Any]


def segment(host: str, on_error: Callable[[Any, Any], None], **options: Any) -> Segment:
    return Segment(str(KEYS["shop"]), host=host, on_error=on_error, **OPTIONS, **options)


def rudder(host: str, on_error: Callable[[Any, Any], None], **options: Any) -> Rudder:
    return Rudder(str(KEYS["shop"]), host=host, on_error=on_error, **OPTIONS, **options)


def mishap(number: int) -> str:
    """Every seventh answer is lost, now and then the server is busy or down."""
    return {3: "lost", 5: "busy", 8: "down", 10: "lost"}.get(number % 14, "")


@pytest.mark.parametrize(
    "sdk",
    [
        segment,
        lambda host, on_error: segment(host, on_error, gzip=True),
        rudder,
        lambda host, on_error: rudder(host, on_error, gzip=False),
    ],
    ids=["segment", "segment gzip", "rudder", "rudder plain"],
)
def test_what_an_sdk_sends_over_a_bad_network_arrives_once_and_as_it_was_sent(
    sdk: Sdk, postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop
) -> None:
    errors: list[Any] = []

    def send(host: str) -> list[Any]:
        client = sdk(host, lambda error, items: errors.append(error))
        sent = []
        for number in range(EVENTS):
            sent.append({"number": number, "words": ["茶", "é", "\U0001f375"], "nested": {"a": [1, None, 2.5]}})
            user = f"u-{number % 7}"
            client.track(
                user, "Tea Poured", sent[-1], anonymous_id=f"anon-{number}", context={"timezone": "Asia/Tokyo"}
            )
        client.flush()
        client.join()
        return sent

    async def check() -> None:
        async with opened(postgres_store, SystemClock()) as door, unreliable(door.url, mishap) as (host, happened):
            sent = await asyncio.to_thread(send, host)
            assert errors == []
            assert {"lost", "busy", "down"} <= set(happened)
            arrived = door.accepted()
            assert [orjson.loads(it.properties_json) for it in _in_order(arrived)] == sent
            assert {it.event_type for it in arrived} == {"custom.tea_poured"}
            assert {it.source_key for it in arrived} == {"shop"}
            assert all(it.authenticated and it.tz_offset_minutes == 540 for it in arrived)
            assert [[(i.namespace, i.scope, i.value) for i in it.identifiers] for it in _in_order(arrived)] == [
                [("external_id", "shop", f"u-{n % 7}"), ("anonymous_id", "", f"anon-{n}")] for n in range(EVENTS)
            ]
            assert door.rows("SELECT * FROM conflicts") == [], "a repetition is no other message"

    loop.run_until_complete(check())


def test_every_call_of_the_sdks_is_understood(
    postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop
) -> None:
    def send(host: str) -> None:
        for sdk in (segment, rudder):
            client = sdk(host, lambda error, items: None)
            client.identify("u1", {"email": "a@example.org", "plan": "gold", "phone": "+8613800000001", "name": "Jane"})
            client.page("u1", "Home", "Docs", {"url": "https://example.org/a?token=1", "path": "/a"})
            client.screen("u1", "Cart", "Main", {})
            client.group("u1", "g1", {"size": 3})
            client.alias("old-1", "u1")
            client.flush()
            client.join()

    async def check() -> None:
        async with opened(postgres_store, SystemClock()) as door:
            await asyncio.to_thread(send, door.url)
            arrived = door.accepted()
            types = ["content_viewed", "content_viewed", "custom.alias", "custom.group", "custom.identify"]
            assert sorted(it.event_type for it in arrived) == sorted(types * 2)
            for it in arrived:
                names = [(i.namespace, i.value, i.verified) for i in it.identifiers]
                assert ("external_id", "u1", True) in names
                if it.event_type == "custom.identify":
                    assert ("email", "a@example.org", False) in names
                    assert ("phone", "+8613800000001", False) in names
                    assert orjson.loads(it.properties_json) == {"plan": "gold"}
                if it.event_type == "custom.alias":
                    assert ("external_id", "old-1", True) in names
                assert b"token" not in it.properties_json
            assert {it.context.content_id for it in arrived if it.event_type == "content_viewed"} == {"Docs", "Main"}

    loop.run_until_complete(check())


def _in_order(arrived: list[Any]) -> list[Any]:
    return sorted(arrived, key=lambda it: orjson.loads(it.properties_json)["number"])
