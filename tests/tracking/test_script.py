"""Our script in a real browser: what it tells of a visit, and that it tells it again until it is heard. Needs Chromium."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from chassis.clock import SystemClock
from faults.bad_network import unreliable
from services.tracking.adapters.script_door import shortened
from tests.chassis.streams import until
from tests.tracking.edge import KEYS, Door, opened

BROWSER: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120 Safari/537.36"
LARGEST: Final = 8_000

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="there is no Chromium on this machine: the script was NOT tried in a browser"
)

PAGE = """<!doctype html><html><head><script src="{edge}/scrm.js" data-key="{key}" {options}></script></head><body>
<button id="buy">Buy now</button><a href="#x" data-scrm-button="more">More</a><p data-scrm-off><button id="secret">No</button></p>
<form id="F1"><input name="phone" value="13800000001"><input name="empty"><input type="password" name="pin" value="1234"></form>
<script>
const after = (seconds, act) => setTimeout(act, seconds * 1000);
document.getElementById("F1").addEventListener("submit", event => event.preventDefault());
{script}
</script></body></html>"""
"""A page of a brand; `script` is what its visitor does."""


AROUND = """<!doctype html><iframe id="frame" src="{page}" width="800" height="600"></iframe>
<script>setTimeout(() => frame.remove(), {seconds} * 1000);</script>"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"


class Site:
    """A web site that serves one page with our script on all its paths, and a browser that looks at it."""

    def __init__(self, door: Door, folder: Path) -> None:
        self.door = door
        self.folder = folder
        self.url = ""
        self.page = self.around = ""

    def shows(self, script: str, options: str = "", edge: str = "") -> None:
        key = str(KEYS["site"])
        found = PAGE.replace("{edge}", edge or self.door.url).replace("{key}", key).replace("{options}", options)
        self.page = found.replace("{script}", script)

    async def visit(self, path: str = "/spring", seconds: int = 60) -> None:
        """Look at the page for so many seconds of the browser's time, which runs as fast as it can, and leave it 5 s before the end.

        The page is in a frame of another one, because that time stands still when the whole window goes elsewhere.
        """
        self.around = AROUND.replace("{page}", path).replace("{seconds}", str(seconds - 5))
        browser = await asyncio.create_subprocess_exec(
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={self.folder}",
            f"--user-agent={AGENT}", f"--virtual-time-budget={seconds * 1000}", "--dump-dom", self.url + "/around",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await asyncio.wait_for(browser.wait(), 60)
        finally:
            if browser.returncode is None:
                browser.kill()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # a connection that was opened in case
            head = await reader.readuntil(b"\r\n\r\n")
            body = (self.around if head.startswith(b"GET /around") else self.page).encode()
            writer.write(HEAD % len(body) + body)
            await writer.drain()
        writer.close()

    def told(self, *types: str) -> list[dict[str, Any]]:
        """The properties of what came in, of these types or of all."""
        events = sorted(self.door.accepted(), key=lambda it: it.original_time.ToMicroseconds())
        return [
            {"type": it.event_type, **orjson.loads(it.properties_json or b"{}")}
            for it in events
            if not types or it.event_type in types
        ]


@asynccontextmanager
async def site(door: Door, folder: Path) -> AsyncIterator[Site]:
    found = Site(door, folder)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()


Run = Callable[[Callable[[Site], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def run(postgres_store: Any, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Run:
    """`run(check)` awaits `check(site)`."""

    def running(check: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with opened(postgres_store, SystemClock()) as door, site(door, tmp_path) as found:
                await check(found)

        loop.run_until_complete(served())

    return running


def test_the_script_is_small_and_served_to_pages_of_any_site(run: Run) -> None:
    async def check(site: Site) -> None:
        answer = await site.door.client.get(site.door.url + "/scrm.js", headers={"origin": "https://shop.example.com"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"
        assert 4_000 < len(answer.content) < LARGEST

    run(check)


def test_shortening_takes_comments_and_indentation_and_nothing_else() -> None:
    assert shortened('/* a */\nvar x = "a  b";  /* c */\n\n  y();\n') == 'var x = "a  b";\ny();\n'


@needs_browser
def test_a_visit_is_told_as_page_view_time_buttons_form_and_leaving(run: Run) -> None:
    async def check(site: Site) -> None:
        site.shows("""
            after(2, () => buy.click());
            after(3, () => document.querySelector("[data-scrm-button]").click());
            after(4, () => secret.click());
            after(5, () => F1.requestSubmit());
            after(28, () => document.dispatchEvent(new Event("keydown", {bubbles: true})));
        """)
        await site.visit("/spring?utm_source=mail&utm_campaign=may&scrm_code=ST03", 100)
        await until(lambda: bool(site.told("content_left")), "the page told that it was left")
        viewed, *_ = site.told("content_viewed")
        view = viewed["page_view_id"]
        assert viewed["content_id"] == "/spring"
        assert viewed["extra"]["utm"] == {"source": "mail", "name": "may"}
        assert [it["button_id"] for it in site.told("button_clicked")] == ["buy", "more"]
        assert [(it["form_id"], it["fields"]) for it in site.told("form_submitted")] == [("F1", ["phone"])]
        engaged = [it for it in site.told("content_engaged") if it["page_view_id"] == view]
        buckets = [bucket for it in engaged for bucket in it["active_buckets"]]
        assert buckets == [0, 1, 2, 3, 4, 5], "active until 30 s after the last input, at 28 s"
        [left] = [it for it in site.told("content_left") if it["page_view_id"] == view]
        assert 94_000 <= left["duration_ms"] <= 97_000
        assert left["scroll_pct"] == 100
        assert "13800000001" not in str([it.payload for it in site.door.rows("SELECT payload FROM accepted")])
        events = site.door.accepted()
        assert len({it.identifiers[0].value for it in events}) == 1
        assert {(it.context.channel, it.context.page) for it in events if it.event_type == "button_clicked"} == {
            ("web", "/spring")
        }
        assert [it.context.campaign.code_key for it in events if it.event_type == "content_viewed"] == ["ST03"]

    run(check)


@needs_browser
def test_a_share_is_followed_and_who_it_is_is_said(run: Run) -> None:
    async def check(site: Site) -> None:
        site.shows("""
            after(1, () => scrm.identify("M-1"));
            after(2, () => scrm.share("friend"));
        """)
        await site.visit(seconds=20)
        await until(lambda: bool(site.told("content_shared")), "the page told that it was shared")
        await site.visit(f"/spring?scrm_share={site.told('content_shared')[0]['share_id']}", 20)
        await until(lambda: len(site.told("content_shared")) > 1, "the page was shared again")
        shared, again = site.told("content_shared")
        assert shared["target"] == "friend"
        views = [it for it in site.door.accepted() if it.event_type == "content_viewed"]
        assert [it.context.campaign.share_id for it in views] == ["", shared["share_id"]]
        parents = [it.context.campaign.share_id for it in site.door.accepted() if it.event_type == "content_shared"]
        assert parents == ["", shared["share_id"]], "a share of a shared page hangs below the one it came through"
        assert again["share_id"] != shared["share_id"]
        told = next(it for it in site.door.accepted() if it.event_type == "custom.identify")
        assert (told.identifiers[0].namespace, told.identifiers[0].value) == ("external_id", "M-1")

    run(check)


@needs_browser
def test_ac26_a_page_that_is_seen_tells_the_link_that_led_there(run: Run) -> None:
    async def check(site: Site) -> None:
        site.shows('after(1, () => scrm.track("address", {asked: location.search}));')
        hit = "acme." + "0" * 31 + "1"
        await site.visit(f"/spring?x=1&scrm_hit={hit}", 12)
        await until(lambda: bool(site.told("custom.address")), "the page told its address")
        [(tenant, id, visitor)] = site.door.rows("SELECT tenant, hit_id, visitor FROM link_beacons")
        assert (tenant, id.int) == ("acme", 1)
        assert visitor == site.door.accepted()[0].identifiers[0].value
        assert site.told("custom.address")[0]["asked"] == "?x=1", "who copies the address does not copy the hit"

    run(check)


@needs_browser
def test_nothing_is_sent_before_the_visitor_agrees(run: Run) -> None:
    async def check(site: Site) -> None:
        site.shows("after(8, () => buy.click());", "data-wait")
        await site.visit(seconds=30)
        assert site.door.counted() == 0
        site.shows("after(8, () => { scrm.start(); buy.click(); });", "data-wait")
        await site.visit(seconds=30)
        await until(lambda: len(site.told("button_clicked")) == 1, "what came after it was told")

    run(check)


@needs_browser
def test_what_was_not_heard_is_said_again_and_counts_once(run: Run) -> None:
    async def check(site: Site) -> None:
        fates = ["", "busy", "down", "lost", ""]  # the script itself comes first
        async with unreliable(site.door.url, lambda n: fates[n] if n < len(fates) else "") as (edge, happened):
            site.shows("after(1, () => buy.click());", edge=edge)
            await site.visit(seconds=90)
            await until(lambda: site.door.counted() > 0, "something was heard")
        assert happened[:4] == fates[:4]
        assert len(site.told("content_viewed")) == len(site.told("button_clicked")) == 1

    run(check)
