"""A shop that has nothing but an SDK: registered through the gateway, sending while tracking is killed, and known by its orders."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from segment.analytics.client import Client

from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack
from services.tracking.domain.order import order_id
from tests.chassis.streams import until

TENANT = "acme"
EVENTS = 200


@pytest.fixture
def stack(intake_stack: LocalStack) -> LocalStack:
    return intake_stack


def test_what_an_sdk_sent_is_there_once_and_its_orders_are_orders(
    stack: LocalStack, loop: asyncio.AbstractEventLoop
) -> None:
    headers = {"authorization": f"Bearer {stack.credentials.mint(TENANT, scopes())}"}
    address = f"http://127.0.0.1:{stack.ports.gateway}/v1/tracking"
    edge = f"http://{stack.envoy.address}"

    async def check(gateway: httpx.AsyncClient) -> None:
        asked = {"requestId": str(uuid4()), "key": "shop", "kind": "SOURCE_KIND_SERVER"}
        key = (await gateway.post("/sources:register", json=asked)).raise_for_status().json()["writeKey"]
        sending = asyncio.to_thread(_send, key, edge)
        await asyncio.gather(sending, asyncio.to_thread(_kill_and_restart, stack))
        assert _ids(stack) == {f"m{n}" for n in range(EVENTS)} | {"i", "o"}

        place = f"/orders/{order_id(TENANT, 'shop', 'A-1')}"

        async def is_recorded() -> bool:
            return (await gateway.get(place)).status_code == 200

        await until(is_recorded, "the order is recorded")
        order = (await gateway.get(place)).json()["order"]
        assert (order["status"], order["paid"]["units"], order["lines"][0]["sku"]) == ("ORDER_STATUS_PAID", "25", "TEA")
        asked_trail = await gateway.get(f"/customers/{order['nodeId']}/trail", params={"pageSize": 1000})
        trail = asked_trail.json()["entries"]
        assert {it["eventType"] for it in trail} == {"custom.identify", "product_viewed", "order_completed"}
        assert len(trail) == EVENTS + 2

    async def run() -> None:
        async with httpx.AsyncClient(base_url=address, headers=headers) as gateway:
            await check(gateway)

    loop.run_until_complete(run())
    assert httpx.get(f"http://127.0.0.1:{stack.ports.edge}/readyz").json() == {"ready": True}
    said = httpx.get(f"http://127.0.0.1:{stack.ports.metrics['tracking']}/metrics").text
    assert 'scrm_http_seconds_count{route="/v1/batch",status="200"}' in said
    assert "jane@example.org" not in stack.log_of("tracking").read_text()


def _send(key: str, edge: str) -> None:
    errors: list[Any] = []
    client = Client(
        key, host=edge, upload_size=10, upload_interval=0.05, gzip=True, on_error=lambda *it: errors.append(it)
    )
    client.identify("u-1", {"email": "jane@example.org"}, message_id="i")
    for number in range(EVENTS):
        client.track("u-1", "Product Viewed", {"product_id": "TEA"}, message_id=f"m{number}")
    products = [{"product_id": "TEA", "price": 10, "quantity": 2}]
    order = {"order_id": "A-1", "currency": "EUR", "total": 25, "shipping": 5, "products": products}
    client.track("u-1", "Order Completed", order, message_id="o")
    client.flush()
    client.join()
    assert errors == []


def _kill_and_restart(stack: LocalStack) -> None:
    stack.kill("tracking")
    stack.restart("tracking")


def _ids(stack: LocalStack) -> set[str]:
    with psycopg.connect(stack.postgres.database("tracking").owner_dsn) as rows:
        found = rows.execute("SELECT message_id FROM accepted WHERE tenant = %s", [TENANT]).fetchall()
    assert len(found) == len(set(found))
    return {it[0] for it in found}
