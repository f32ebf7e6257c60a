"""The page below /docs makes calls from a browser: it signs in, searches, shows profile, trail and charts, and says what was refused."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from deploy.local.contracts import ROOT
from scrm.campaigns.v1 import broadcast_pb2, campaigns_service_pb2, experiment_result_pb2
from scrm.identity.v1 import customer_pb2, profile_pb2, profile_service_pb2
from scrm.tagging.v1 import model_pb2, tagging_service_pb2
from tests.gateway.browser import Page, browsing
from tests.gateway.conftest import Front

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
SCREENSHOTS = ROOT / "build" / "screenshots"
CUSTOMER = "0192d3c4-0000-7000-8000-000000000001"
RUN = "0192d3c4-0000-7000-8000-000000000002"
BROADCAST = "0192d3c4-0000-7000-8000-000000000003"
NOON = Timestamp(seconds=1_777_636_800)

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")


def answers() -> dict[str, Message]:
    """What the services say, by RPC."""
    summary = customer_pb2.CustomerSummary(customer_id=CUSTOMER, state=customer_pb2.CUSTOMER_STATE_KNOWN)
    section = profile_pb2.ProfileSection(kind=profile_pb2.ProfileSectionKind.values()[1], as_of_time=NOON)
    section.identity.SetInParent()
    paid = profile_pb2.TimelineEntry(
        event_id="tracking/1/1", type="order_paid", service="tracking", occur_time=NOON, facts={"net": "CNY 129.00"}
    )
    run = model_pb2.ModelRun(run_id=RUN, population=1150, as_of=Date(year=2026, month=5, day=1), create_time=NOON)
    rows = [
        model_pb2.RfmRow(recency_score=r, frequency_score=f)
        for r in range(1, 6)
        for f in range(1, 6)
        for _ in range(r * f)
    ]
    segments = [
        model_pb2.RfmSegmentRow(segment=number, customers=40 * number)
        for number in model_pb2.RfmSegment.values()
        if number
    ]
    variants = [
        experiment_result_pb2.VariantResult(variant=name, assigned=1000, converted=converted)
        for name, converted in (("holdout", 40), ("coupon", 71), ("reminder", 52))
    ]
    result = experiment_result_pb2.ExperimentResult(
        broadcast_id=BROADCAST,
        state=experiment_result_pb2.RESULT_STATE_FINAL,
        variants=variants,
        decision=experiment_result_pb2.Decision(winner="coupon"),
    )
    profiles, tagging, campaigns = (
        "scrm.identity.v1.ProfileService",
        "scrm.tagging.v1.TaggingService",
        "scrm.campaigns.v1.CampaignsService",
    )
    return {
        f"{profiles}.SearchCustomers": profile_service_pb2.SearchCustomersResponse(
            hits=[profile_pb2.SearchHit(customer=summary, matched="email")]
        ),
        f"{profiles}.GetProfile360": profile_service_pb2.GetProfile360Response(
            customer_id=CUSTOMER, sections=[section]
        ),
        f"{profiles}.GetTimeline": profile_service_pb2.GetTimelineResponse(customer_id=CUSTOMER, entries=[paid]),
        f"{tagging}.ListModelRuns": tagging_service_pb2.ListModelRunsResponse(runs=[run]),
        f"{tagging}.GetRfmTable": tagging_service_pb2.GetRfmTableResponse(run=run, segments=segments),
        f"{tagging}.ListRfmRows": tagging_service_pb2.ListRfmRowsResponse(rows=rows),
        f"{campaigns}.ListBroadcasts": campaigns_service_pb2.ListBroadcastsResponse(
            broadcasts=[broadcast_pb2.Broadcast(broadcast_id=BROADCAST, display_name="Win-back")]
        ),
        f"{campaigns}.GetExperimentResult": campaigns_service_pb2.GetExperimentResultResponse(result=result),
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(CHROMIUM, tmp_path_factory.mktemp("chromium")) as found:
        yield found


def beside(loop: asyncio.AbstractEventLoop, steps: Callable[[], None]) -> None:
    """Lead the browser from a thread, while the loop serves the gateway's back end."""
    with ThreadPoolExecutor(1) as pool:
        loop.run_until_complete(asyncio.wrap_future(pool.submit(steps), loop=loop))


def sign_in(page: Page, front: Front, token: str) -> None:
    page.errors.clear()
    page.open(f"http://{front.address}/docs/customers.html")
    page.fill("#token", token)
    page.click("#sign-in button")


def test_somebody_signs_in_and_sees_a_customer_scores_and_arms(
    page: Page, front: Front, loop: asyncio.AbstractEventLoop
) -> None:
    front.parrot.answers = answers()
    token = front.credentials.mint("acme", ["identity.read", "tagging.read", "campaigns.read"])

    def steps() -> None:
        sign_in(page, front, token)
        page.until("!document.querySelector('main').hidden")
        assert page.text("#who") == "developer, for acme"
        page.fill("#query", "jane@example.com")
        page.click("#search button")
        page.until("document.querySelector('#hits button')")
        page.click("#hits button")
        page.until("document.querySelector('#trail li')")
        assert page.text("#customer-id") == CUSTOMER
        assert page.text("#trail li") == "2026-05-01 12:00:00 order_paid (tracking): net CNY 129.00"
        assert page.evaluate("document.querySelectorAll('#profile .card').length") == 1
        page.click("#rfm button")
        page.until("document.querySelector('#segments svg')")
        assert page.evaluate("document.querySelectorAll('#grid rect').length") == 25
        assert page.text("#grid rect title") == "recency 1, frequency 5: 5"
        page.click("#arms button")
        page.until("document.querySelector('#rates svg')")
        assert page.text("#verdict") == "final; coupon wins"
        page.screenshot(SCREENSHOTS / "customers.png")

    try:
        beside(loop, steps)
    finally:
        front.parrot.answers = {}
    assert page.errors == []


def test_the_trail_is_looked_at_again(page: Page, front: Front, loop: asyncio.AbstractEventLoop) -> None:
    front.parrot.answers = answers()
    token = front.credentials.mint("acme", ["identity.read", "campaigns.read"])

    def steps() -> None:
        sign_in(page, front, token)
        page.until("!document.querySelector('main').hidden")
        page.fill("#query", "jane@example.com")
        page.click("#search button")
        page.until("document.querySelector('#hits button')")
        page.click("#hits button")
        page.until("document.querySelectorAll('#trail li').length === 1")
        timeline = front.parrot.answers["scrm.identity.v1.ProfileService.GetTimeline"]
        timeline.entries.append(timeline.entries[0])  # type: ignore[attr-defined]
        page.until("document.querySelectorAll('#trail li').length === 2")

    try:
        beside(loop, steps)
    finally:
        front.parrot.answers = {}


@pytest.mark.parametrize(("token", "said"), [("nonsense", "This is not a token."), ("a.e30.b", "Jwt")])
def test_who_does_not_come_in_is_told_why(
    page: Page, front: Front, loop: asyncio.AbstractEventLoop, token: str, said: str
) -> None:
    def steps() -> None:
        sign_in(page, front, token)
        page.until("document.querySelector('#refusal').textContent")
        assert said in page.text("#refusal")
        assert page.evaluate("document.querySelector('main').hidden")

    beside(loop, steps)
    assert front.parrot.heard == []


def test_the_page_needs_nothing_from_elsewhere() -> None:
    for file in (ROOT / "deploy" / "page").iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, file
