"""The reference page in front of the real services: a customer found by name and phone, the trail as it grows, charts."""

import asyncio
import shutil
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration

from demo import brand
from demo.backend import TENANT
from demo.calendar import local_day
from demo.wire import timestamp
from deploy.local.contracts import ROOT
from deploy.local.stack import LocalStack
from scrm.campaigns.v1 import broadcast_pb2
from scrm.campaigns.v1 import campaigns_service_pb2 as campaigns
from scrm.identity.v1 import attribute_pb2, customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from tests.e2e.test_unmerge import World, world_on
from tests.gateway.browser import Page, browsing

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome") or ""
SCREENSHOTS: Final = ROOT / "build" / "screenshots"
READ_ONLY: Final = ("identity.read", "tagging.read", "campaigns.read")
NAME, PHONE = "林黛玉", "+8613800138123"
BUYERS: Final = 24

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")


@pytest.fixture
def stack(replay_stack: LocalStack) -> LocalStack:
    return replay_stack


@pytest.mark.timeout(300)
def test_the_page_shows_what_the_services_know(stack: LocalStack, tmp_path: Path) -> None:
    with browsing(CHROMIUM, tmp_path) as page:
        asyncio.run(_shown(stack, page))
    assert page.errors == []


async def _shown(stack: LocalStack, page: Page) -> None:
    async with world_on(stack) as world:
        customer = await _furnish(world)
        token = stack.credentials.mint(TENANT, READ_ONLY, subject="jane")
        await asyncio.to_thread(_sign_in, page, stack, token)
        await asyncio.to_thread(_find, page, NAME, "name", customer)
        await asyncio.to_thread(_find, page, PHONE, "phone", customer)
        await asyncio.to_thread(_profile, page)
        before = await asyncio.to_thread(page.evaluate, "document.querySelectorAll('#trail li').length")
        await world.look("daiyu")
        grown = f"document.querySelectorAll('#trail li').length > {before}"
        await asyncio.to_thread(page.until, grown)
        await asyncio.to_thread(_charts, page)
        await asyncio.to_thread(page.screenshot, SCREENSHOTS / "customers-live.png")


async def _furnish(world: World) -> str:
    """Buyers of many kinds, scored, and a broadcast to those who slip away; the customer with a name and a phone."""
    await brand.configure(world.backend)
    customer = await _named(world)
    for days in range(4):
        for number in range(days, BUYERS, 4):
            await world.person(f"buyer{number}", 1 + number % 5, 1_000 + 700 * number)
        await world.pass_days(20)
    run_id = await brand.run_model(world.backend, brand.MODEL, local_day(world.now))
    await _broadcast(world, await brand.freeze_audience(world.backend, run_id))
    await world.pass_days(1)
    for number in range(0, BUYERS, 3):
        await world.order(f"buyer{number}", 9, 12_00)
    await world.pass_days(9)
    return customer


async def _named(world: World) -> str:
    customer = await world.person("daiyu", 3, 45_00)
    link = partial(identity.LinkIdentifierRequest, request_id=str(uuid4()), customer_id=customer)
    phone = customer_pb2.Identifier(namespace="phone", value=PHONE)
    await world.backend.identity.LinkIdentifier(link(identifier=phone))
    name = attribute_pb2.AttributeObservation(
        key="name",
        value=attribute_pb2.AttributeValue(text=NAME),
        source=attribute_pb2.ATTRIBUTE_SOURCE_CUSTOMER_DECLARED,
    )
    asked = identity.UpsertAttributesRequest(request_id=str(uuid4()), customer_id=customer, values=[name])
    await world.backend.identity.UpsertAttributes(asked)
    await world.enroll(customer)
    return customer


async def _broadcast(world: World, audience: brand.Audience) -> None:
    def buckets(start: int, end: int) -> broadcast_pb2.BucketRange:
        return broadcast_pb2.BucketRange(start=start, end=end)

    arms = [
        broadcast_pb2.Arm(key="coupon", range=buckets(3_000, 6_500), text="Tea is cheaper."),
        broadcast_pb2.Arm(key="reminder", range=buckets(6_500, 10_000), text="Tea is here."),
    ]
    week = Duration(seconds=int(timedelta(days=7).total_seconds()))
    experiment = broadcast_pb2.Experiment(
        experiment_id=f"tea-{uuid4()}", arms=arms, holdout_range=buckets(0, 3_000), conversion_window=week
    )
    created = await world.backend.campaigns.CreateBroadcast(
        campaigns.CreateBroadcastRequest(
            request_id=str(uuid4()),
            display_name="Tea again",
            snapshot_id=audience.snapshot_id,
            experiment=experiment,
            schedule_time=timestamp(world.now + timedelta(hours=1)),
        )
    )
    await world.backend.campaigns.ApproveBroadcast(
        campaigns.ApproveBroadcastRequest(
            request_id=str(uuid4()), broadcast_id=created.broadcast.broadcast_id, etag=created.broadcast.etag
        )
    )


def _sign_in(page: Page, stack: LocalStack, token: str) -> None:
    page.open(f"http://{stack.envoy.address}/docs/customers.html")
    page.fill("#token", token)
    page.click("#sign-in button")
    page.until("!document.querySelector('main').hidden")
    assert page.text("#who") == f"jane, for {TENANT}"


def _find(page: Page, words: str, matched: str, customer: str) -> None:
    page.evaluate("document.querySelector('#hits').replaceChildren()")
    page.fill("#query", words)
    page.click("#search button")
    page.until("document.querySelector('#hits li')")
    (hit,) = page.evaluate("[...document.querySelectorAll('#hits li')].map((it) => it.textContent)")
    assert customer in hit
    assert f"by {matched}" in hit
    page.click("#hits button")
    page.until(f"document.querySelector('#customer-id').textContent === '{customer}'")
    page.until("document.querySelector('#trail li')")


def _profile(page: Page) -> None:
    page.screenshot(SCREENSHOTS / "customer-live.png")
    said = page.text("#profile")
    for words in (NAME[0], "orders", "membership"):
        assert words in said
    assert NAME not in said, "personal values are masked"
    assert "order_paid" in page.text("#trail")


def _charts(page: Page) -> None:
    page.evaluate("document.querySelector('#rfm').scrollIntoView()")
    page.click("#rfm button")
    page.until("document.querySelector('#segments svg')")
    counts: Sequence[str] = page.evaluate(
        "[...document.querySelectorAll('#grid rect title')].map((it) => it.textContent.split(': ')[1])"
    )
    assert len(counts) == 25
    assert sum(map(int, counts)) >= BUYERS + 1
    page.click("#arms button")
    page.until("document.querySelector('#rates svg')")
    assert page.evaluate("document.querySelectorAll('#rates rect').length") == 3
    assert page.text("#verdict").startswith("provisional"), "late orders may still change it"
