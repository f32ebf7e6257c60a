"""The example of the TypeScript client in a browser: a search and a streaming export over gRPC-Web, through the gateway."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID, uuid5

import pytest

from chassis.errors import Interrupted
from clients import typescript_package as typescript
from deploy.local.contracts import ROOT
from deploy.local.credentials import Credentials
from scrm.identity.v1 import customer_pb2, profile_pb2, profile_service_pb2
from scrm.tagging.v1 import segment_pb2, tagging_service_pb2
from tests.gateway.browser import Page, browsing
from tests.gateway.conftest import Front, fronting

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
SCREENSHOTS = ROOT / "build" / "screenshots"
SEGMENT = "0192d3c4-0000-7000-8000-000000000009"
MEMBERS = [str(uuid5(UUID(int=0), str(number))) for number in range(5000)]
EXPORT = "scrm.tagging.v1.TaggingService.ExportSegment"

Using = Callable[[Callable[[Page], None]], None]

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        pass


@pytest.fixture(scope="module")
def built() -> Path:
    try:
        return typescript.build()
    except typescript.NoNode as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def site(built: Path) -> Iterator[str]:
    """The origin that the page is from, another than the gateway's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(built)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def front(
    site: str, loop: asyncio.AbstractEventLoop, credentials: Credentials, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    context = fronting(credentials, tmp_path_factory.mktemp("gateway"), origins=(site,))
    yield loop.run_until_complete(context.__aenter__())
    loop.run_until_complete(context.__aexit__(None, None, None))


@pytest.fixture
def page(
    front: Front, site: str, loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Using]:
    """`page(use)` lets the browser be used in a thread, since the gateway answers in this one."""
    front.parrot.answers.clear()
    front.parrot.streams.clear()
    front.parrot.heard.clear()
    with browsing(CHROMIUM, tmp_path_factory.mktemp("chromium")) as tab:

        def use(work: Any) -> None:
            def opened() -> None:
                tab.open(f"{site}/{Path(typescript.PAGE).name}")
                tab.until("document.getElementById('state').textContent === 'ready'")
                tab.fill("#gateway", f"http://{front.address}")
                tab.fill("#token", front.credentials.mint("acme", ["identity.read", "tagging.read"]))
                work(tab)

            loop.run_until_complete(asyncio.to_thread(opened))

        yield use


def portions(start: int, end: int) -> list[Any]:
    """Portions of 1000 members as a segment is exported in, of those from `start` to `end`."""
    return [
        tagging_service_pb2.ExportSegmentResponse(
            members=[segment_pb2.SnapshotMember(customer_id=it) for it in MEMBERS[place : place + 1000]],
            size=len(MEMBERS),
            next_page_token=str(place + 1000) if place + 1000 < len(MEMBERS) else "",
        )
        for place in range(start, end, 1000)
    ]


def test_a_customer_is_searched_and_a_segment_told_as_it_arrives(front: Front, page: Using) -> None:
    summary = customer_pb2.CustomerSummary(customer_id=MEMBERS[0])
    front.parrot.answers["scrm.identity.v1.ProfileService.SearchCustomers"] = (
        profile_service_pb2.SearchCustomersResponse(hits=[profile_pb2.SearchHit(customer=summary, matched="email")])
    )
    front.parrot.streams[EXPORT] = portions(0, 5000)

    def use(tab: Page) -> None:
        tab.click("#search")
        tab.until("document.getElementById('hits').textContent")
        assert tab.text("#hits") == MEMBERS[0]
        tab.fill("#segment", SEGMENT)
        tab.click("#export")
        tab.until("document.getElementById('state').textContent === 'complete'")
        assert tab.text("#progress") == "5000 of 5000"
        assert tab.text("#members").split() == MEMBERS
        tab.screenshot(SCREENSHOTS / "typescript-audience.png")
        assert tab.errors == []

    page(use)


def test_an_export_that_breaks_is_gone_on_with(front: Front, page: Using) -> None:
    class Breaking(list[Any]):
        """What is told the first time; the second time, the rest."""

        def __iter__(self) -> Iterator[Any]:
            front.parrot.streams[EXPORT] = portions(2000, 5000)
            return super().__iter__()

    front.parrot.streams[EXPORT] = Breaking([*portions(0, 2000), Interrupted()])

    def use(tab: Page) -> None:
        tab.fill("#segment", SEGMENT)
        tab.click("#export")
        tab.until("document.getElementById('state').textContent === 'complete'")
        assert tab.text("#members").split() == MEMBERS
        assert tab.errors == []

    page(use)
    asked = [getattr(it, "page_token", "") for it in front.parrot.heard]
    assert asked[-2:] == ["", "2000"]


def test_what_is_refused_is_said_by_its_reason(front: Front, page: Using) -> None:
    def use(tab: Page) -> None:
        tab.fill("#segment", "no id")
        tab.click("#export")
        tab.until("document.getElementById('refusal').textContent")
        assert tab.text("#refusal") == "BAD_FORMAT"

    page(use)
