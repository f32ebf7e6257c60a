"""Following tracked links (TR-7): where they lead, what of their addresses is believed, and which hits become clicks of whom."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from chassis.clock import ReplayClock
from services.tracking.adapters import link_door
from services.tracking.adapters.click_recorder import ClickRecorder
from services.tracking.adapters.hit_log import HitLog
from services.tracking.adapters.link_book import LinkBook, LinkName
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.application.channel_commands import CreateChannelCode
from services.tracking.application.link_commands import CreateTrackedLink, ListLinkHosts
from services.tracking.domain.channel_code import CodeDesign, CodeKind, CodeTerms
from services.tracking.domain.link import LinkDesign, LinkKind, landing
from services.tracking.domain.link_context import LinkContext
from services.tracking.domain.robots import is_robot
from services.tracking.read_models.link_stats import LinkHits, link_hits
from tests.tracking.audience import Audience
from tests.tracking.edge import Door, opened
from tests.tracking.touches import NOON

HUMAN = {
    "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 MicroMessenger/8.0.50"
}
SCANNER = {"user-agent": "Mozilla/5.0 (compatible; Barracuda Sentinel; URL check)"}
HOSTS = ListLinkHosts("acme", frozenset({"shop.example.com"}))
TARGET = "https://shop.example.com/spring?x=1#top"


def link(short_code: str = "spring", target: str = TARGET, staff: str = "G1") -> CreateTrackedLink:
    return CreateTrackedLink("acme", short_code, LinkDesign(target, LinkKind.EXTERNAL, "spring", staff))


class Street:
    """People and programs who follow the links of a brand."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.clock = ReplayClock(NOON)
        store = audience.store
        self.recorder = ClickRecorder(store.engine, PlanBook(store), self.clock)

    def run(self, check: Callable[[Door], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with opened(self.audience.store, self.clock) as door:
                door.given(HOSTS)
                door.given(link())
                await check(door)

        self.audience.loop.run_until_complete(served())

    def later(self, **duration: float) -> None:
        self.clock.set(self.clock.now() + timedelta(**duration))

    def recorded(self) -> int:
        """Record what is decided by now, all the way in; how many hits that were."""
        self.audience.tracking.now = self.clock.now()
        found = self.recorder.step_now()
        self.audience.settle()
        return found

    def stats(self, *codes: str) -> list[LinkHits]:
        start, end = NOON, NOON + timedelta(days=1)
        return self.audience.ask(lambda rows: link_hits(rows, codes or ["spring"], start, end))


@pytest.fixture
def street(audience: Audience) -> Street:
    return Street(audience)


async def follow(door: Door, path: str = "/l/acme.spring", method: str = "GET", **headers: str) -> str:
    """The hit of who follows a link and is led on."""
    answer = await door.client.request(method, door.url + path, headers=headers or HUMAN)
    assert answer.status_code == 302, answer.text
    assert answer.headers["cache-control"] == "no-store"
    location = urlsplit(answer.headers["location"])
    assert (location.scheme, location.netloc, location.path, location.fragment) == (
        "https", "shop.example.com", "/spring", "top",
    )  # fmt: skip
    query = parse_qs(location.query)
    assert query["x"] == ["1"]
    return query["scrm_hit"][0]


async def see(door: Door, hit: str, visitor: str = "ann") -> None:
    answer = await door.client.post(door.url + "/l/seen", json={"hit": hit, "visitor": visitor})
    assert answer.status_code == 204, answer.text


def test_ac26_a_mail_scanner_and_a_person_5_s_later_are_one_click_and_one_prefetch(street: Street) -> None:
    async def check(door: Door) -> None:
        await follow(door)  # a scanner that looks like a browser
        street.later(seconds=5)
        hit = await follow(door)
        street.later(seconds=2)
        await see(door, hit)
        assert (await asyncio.to_thread(street.recorder.step_now), door.counted()) == (1, 1)

    street.run(check)
    street.later(seconds=20)
    assert street.recorded() == 0, "for the first hit a beacon may still come"
    street.later(seconds=10)
    assert street.recorded() == 1
    assert street.stats() == [LinkHits("spring", 1, 1, 1)]
    assert street.recorded() == 0
    assert [street.audience.tracking.count(it) for it in ("link_hits", "link_beacons")] == [0, 0]


def test_ac26_who_says_that_it_is_a_program_or_asks_for_headers_only_is_no_person_whatever_follows(
    street: Street,
) -> None:
    async def check(door: Door) -> None:
        for hit in (
            await follow(door, **SCANNER),
            await follow(door, method="HEAD"),
            await follow(door, **{"user-agent": ""}),
        ):
            await see(door, hit)
        late, made_up = await follow(door), "acme." + "0" * 32
        street.later(seconds=31)
        await see(door, late)
        await see(door, made_up)

    street.run(check)
    assert street.recorded() == 4
    assert street.stats() == [LinkHits("spring", 0, 0, 4)]
    people = street.audience.tracking.rows("SELECT DISTINCT node FROM behaviours")
    assert people == [(street.audience.node("prefetch:spring"),)], "nobody becomes a customer for each of them"


def test_a_beacon_may_come_before_its_hit_is_written_and_twice(street: Street) -> None:
    hits: list[str] = []

    async def check(door: Door) -> None:
        hits.append(await follow(door))
        with door.store.engine.begin() as rows:
            kept = rows.execute(sa.text("DELETE FROM link_hits RETURNING *")).one()
        await see(door, hits[0])
        await see(door, hits[0], "eve")
        with door.store.engine.begin() as rows:
            names = [f":{it}" for it in kept._fields]
            rows.execute(sa.text(f"INSERT INTO link_hits VALUES ({', '.join(names)})"), kept._asdict())

    street.run(check)
    assert street.recorded() == 1
    assert street.audience.tracking.rows("SELECT node FROM behaviours") == [(street.audience.node("ann"),)]


def test_a_recorder_that_dies_before_it_cleans_up_records_nothing_twice(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(door: Door) -> None:
        await see(door, await follow(door))

    street.run(check)
    with monkeypatch.context() as patched:
        patched.setattr(ClickRecorder, "_remove", lambda *_: None)
        street.recorded()
    assert street.recorded() == 1
    assert street.stats() == [LinkHits("spring", 1, 1, 0)]
    assert street.audience.tracking.tallies() == {"ACCEPTED": 1, "DUPLICATE": 1}


CONTEXT = LinkContext("D-7", "S-1", "G9", "ST03", "WG1")


def test_what_the_brand_signed_is_kept_with_the_click_and_a_code_is_scanned(street: Street) -> None:
    async def check(door: Door) -> None:
        await see(door, await follow(door, door.signer.path("acme", "spring", CONTEXT)))

    street.run(check)
    street.recorded()
    columns = "event_type, channel, source_key, subject, delivery_id, share_id, staff_code, code_key, group_id"
    found = street.audience.tracking.rows(f"SELECT {columns} FROM behaviours ORDER BY event_type")
    assert found == [
        ("link_clicked", "link", "links", "spring", "D-7", "S-1", "G9", "ST03", "WG1"),
        ("qr_scanned", "link", "links", "", "", "", "", "ST03", ""),
    ]


def test_what_was_not_signed_or_for_another_link_says_nothing_and_leads_on(street: Street) -> None:
    async def check(door: Door) -> None:
        good = door.signer.path("acme", "spring", CONTEXT)
        for path in (
            good.replace("D-7", "D-8"),
            good.replace("k=1.", "k=2."),
            good[:-1],
            good.partition("&k=")[0],
            door.signer.path("acme", "other", CONTEXT).replace("other", "spring"),
            door.signer.path("globex", "spring", CONTEXT).replace("globex", "acme"),
            "/l/acme.spring?d=D-7&k=",
            "/l/acme.spring?d=D-7&k=1.é",
            "/l/acme.spring?k=1.x",
        ):
            await see(door, await follow(door, path))

    street.run(check)
    assert street.recorded() == 9
    found = street.audience.tracking.rows("SELECT DISTINCT delivery_id, share_id, staff_code, code_key FROM behaviours")
    assert found == [("", "", "G1", "")], "only the member of staff of the link itself"


def test_ac105_a_redirect_leads_nowhere_else(street: Street) -> None:
    async def check(door: Door) -> None:
        for path, status in {
            "/l/acme.nosuch": 404,
            "/l/globex.spring": 404,
            "/l/acme": 404,
            "/l/acme.spring.x": 404,
            "/l/acme.%00": 404,
            "/l/ACME.spring": 404,
            "/l/acme.spring/https://evil.example.org": 404,
        }.items():
            answer = await door.client.get(door.url + path, headers=HUMAN)
            assert (answer.status_code, answer.headers.get("location")) == (status, None), path
        assert (await door.client.post(door.url + "/l/acme.spring")).status_code == 405
        await follow(door, "/l/acme.spring?url=https://evil.example.org&target=//evil.example.org")
        assert door.rows("SELECT count(*)::int FROM link_hits")[0][0] == 1

    street.run(check)


def test_ac105_a_link_to_a_host_that_is_no_longer_listed_leads_nowhere(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.tracking.adapters.link_book.FRESH_SECONDS", 0.0)

    async def check(door: Door) -> None:
        await follow(door)
        door.given(ListLinkHosts("acme", frozenset({"other.example.com"})))
        refused = None
        for _ in range(50):
            refused = await door.client.get(door.url + "/l/acme.spring", headers=HUMAN)
            if refused.status_code != 302:
                break
        assert refused is not None
        assert (refused.status_code, refused.json()["code"]) == (400, "TARGET_NOT_ALLOWED")

    street.run(check)


def test_links_are_looked_up_once_and_lead_on_while_the_database_is_away(street: Street) -> None:
    store, now = street.audience.store, [100.0]
    street.run(lambda door: asyncio.sleep(0))
    asked: list[int] = []

    class Counting:
        is_away = False

        def load(self, ids: Any) -> Any:
            asked.append(1)
            if self.is_away:
                raise sa.exc.OperationalError("", {}, ConnectionError())
            return store.load(ids)

    counting = Counting()
    book = LinkBook(counting, lambda: now[0])  # type: ignore[arg-type]
    name = LinkName("acme", "spring")

    async def check() -> None:
        for _ in range(3):
            assert await book.find(name) is not None
            assert await book.find(LinkName("acme", "nosuch")) is None
            assert await book.hosts("acme") == {"shop.example.com"}
        assert len(asked) == 3
        counting.is_away = True
        now[0] += 3
        for _ in range(3):
            assert await book.find(name) is not None
            assert await book.hosts("acme") == {"shop.example.com"}
            await asyncio.sleep(0.01)
        with pytest.raises(sa.exc.OperationalError):
            await book.find(LinkName("acme", "nosuch"))
        with pytest.raises(sa.exc.OperationalError):
            await book.hosts("globex")

    street.audience.loop.run_until_complete(check())


def test_nobody_waits_for_a_database_that_is_away_and_the_hit_is_written_later(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_door, "ANSWER_SECONDS", 0.001)
    real, away = HitLog._is_written, [True]
    monkeypatch.setattr(HitLog, "_is_written", lambda self, *rows: not away[0] and real(self, *rows))
    monkeypatch.setattr("services.tracking.adapters.hit_log._RETRY_SECONDS", 0.01)

    async def check(door: Door) -> None:
        await see(door, await follow(door))
        assert door.rows("SELECT count(*)::int FROM link_hits")[0][0] == 0
        away[0] = False

    street.run(check)  # the end of the edge waits for what is to be written
    assert street.recorded() == 1


NO_BEACONS = (
    b"",
    b"{}",
    b"[]",
    b"7",
    b'{"hit": 7, "visitor": "ann"}',
    b'{"hit": "acme.x", "visitor": "ann"}',
    b'{"hit": "ACME.00000000000000000000000000000000", "visitor": "ann"}',
    b'{"hit": "acme.00000000000000000000000000000000", "visitor": ""}',
    b'{"hit": "acme.00000000000000000000000000000000", "visitor": "a\\u0000"}',
    b'{"hit": "acme.00000000000000000000000000000000"}',
    b"\xff",
)


def test_a_beacon_that_is_none_is_refused(street: Street) -> None:
    async def check(door: Door) -> None:
        for body in NO_BEACONS:
            answer = await door.client.post(door.url + "/l/seen", content=body)
            assert (answer.status_code, answer.json()["code"]) == (400, "BAD_FORMAT"), body
        assert door.rows("SELECT count(*)::int FROM link_beacons")[0][0] == 0

    street.run(check)


@pytest.mark.parametrize(
    ("agent", "robot"),
    [
        ("", True),
        ("Googlebot/2.1 (+http://www.google.com/bot.html)", True),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", True),
        ("WhatsApp/2.23.20.0", True),
        ("TelegramBot (like TwitterBot)", True),
        ("Slackbot-LinkExpanding 1.0", True),
        ("python-requests/2.31", True),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120", True),
        ("Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36", False),
        ("Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 MicroMessenger/8.0 WeChat/arm64", False),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) [FBAN/FBIOS]", False),
        (HUMAN["user-agent"], False),
    ],
)
def test_programs_are_known_by_what_they_say_of_themselves(agent: str, robot: bool) -> None:
    assert is_robot(agent) == robot


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("https://a.example.com", "https://a.example.com?scrm_hit=acme.1"),
        ("https://a.example.com/?", "https://a.example.com/?&scrm_hit=acme.1"),
        ("https://a.example.com/x?a=1#b?c", "https://a.example.com/x?a=1&scrm_hit=acme.1#b?c"),
    ],
)
def test_the_page_is_told_the_hit_and_keeps_the_rest_of_its_address(target: str, expected: str) -> None:
    assert landing(target, "acme.1") == expected


# Pictures.


def code(key: str = "ST03") -> CreateChannelCode:
    return CreateChannelCode("acme", key, CodeDesign(CodeKind.H5, "", "store", "", "S1", None), CodeTerms())


def test_links_and_channel_codes_are_drawn_as_svg_and_png(street: Street) -> None:
    async def check(door: Door) -> None:
        door.given(code())
        for path in (
            "/q/link/acme.spring.",
            "/q/code/acme.ST03.{}?link=spring",
            "/q/code/acme.ST03.{}?content=http://weixin.qq.com/q/02nIGPzvh8d7V10000M07F",
        ):
            for form, kind, begin in (("svg", "image/svg+xml", b"<?xml"), ("png", "image/png", b"\x89PNG")):
                url = door.url + (path.format(form) if "{}" in path else path + form)
                answer = await door.client.get(url)
                assert (answer.status_code, answer.headers["content-type"]) == (200, kind), answer.text
                assert answer.content.startswith(begin)
                assert "max-age" in answer.headers["cache-control"]

    street.run(check)


def test_a_drawn_code_leads_where_it_says(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def note(content: str, *_: object) -> bytes:
        shown.append(content)
        return b""

    monkeypatch.setattr("services.tracking.adapters.qr_door.drawn", note)

    async def check(door: Door) -> None:
        door.given(code())
        https = {"x-forwarded-proto": "https", "host": "go.example.com"}
        signed = door.signer.path("acme", "spring", LinkContext("D-7"))
        for path in (
            signed.replace("/l/acme.spring", "/q/link/acme.spring.svg"),
            "/q/link/acme.spring.svg?d=D-7&k=1.x",
            "/q/code/acme.ST03.png?link=spring",
        ):
            assert (await door.client.get(door.url + path, headers=https)).status_code == 200
        root = "https://go.example.com"
        assert shown[0] == root + signed
        assert shown[1] == root + "/l/acme.spring"
        await see(door, await follow(door, shown[2].removeprefix(root)))

    street.run(check)
    street.recorded()
    found = street.audience.tracking.rows("SELECT event_type, code_key FROM behaviours ORDER BY 1")
    assert found == [("link_clicked", "ST03"), ("qr_scanned", "ST03")]


def test_nothing_else_is_drawn(street: Street) -> None:
    async def check(door: Door) -> None:
        door.given(code())
        for path, status, reason in (
            ("/q/link/acme.nosuch.svg", 404, "LINK_NOT_FOUND"),
            ("/q/link/acme.spring.gif", 400, "BAD_FORMAT"),
            ("/q/link/acme.spring.svg?scale=0", 400, "OUT_OF_RANGE"),
            ("/q/link/acme.spring.svg?scale=41", 400, "OUT_OF_RANGE"),
            ("/q/link/acme.spring.svg?scale=x", 400, "OUT_OF_RANGE"),
            ("/q/code/acme.ST99.svg?link=spring", 404, "CHANNEL_CODE_NOT_FOUND"),
            ("/q/code/acme.ST03.svg?link=nosuch", 404, "LINK_NOT_FOUND"),
            ("/q/code/acme.ST03.svg", 400, "FIELD_REQUIRED"),
            ("/q/code/acme.ST03.svg?content=https://evil.example.org/", 400, "TARGET_NOT_ALLOWED"),
            ("/q/code/acme.ST03.svg?content=https://weixin.qq.com@evil.example.org/", 400, "TARGET_NOT_ALLOWED"),
            ("/q/code/acme.ST03.svg?content=https://weixin.qq.com.evil.example.org/", 400, "TARGET_NOT_ALLOWED"),
            ("/q/code/acme.ST03.svg?content=javascript:alert(1)", 400, "TARGET_NOT_ALLOWED"),
        ):
            answer = await door.client.get(door.url + path)
            assert (answer.status_code, answer.json()["code"]) == (status, reason), path

    street.run(check)


ODD = (
    "%00", "%ff", "..", "%2e%2e", "é", "😀", "a" * 3000, "acme.", ".spring", "acme.spring.svg", "acme.spring?k=%00.%ff&d=%00", "?", "%25",
)  # fmt: skip
DOORS = ("/l/", "/q/link/", "/q/code/", "/q/", "/scrm.js")


def test_nothing_that_is_asked_of_these_doors_is_an_error_of_ours(street: Street) -> None:
    async def check(door: Door) -> None:
        dice = random.Random(1)
        for number in range(400):
            path = dice.choice(DOORS) + "".join(dice.choices(ODD, k=dice.randrange(1, 4)))
            body = bytes(dice.choices(b'{}[]":,hit visor\x00\xff\\u0', k=dice.randrange(60)))
            if number % 3:
                host = dice.choice(("a", "a b", "a:1", "[::1]", "/"))
                answer = await door.client.get(door.url + path, headers={**HUMAN, "host": host})
            else:
                answer = await door.client.post(door.url + "/l/seen", content=body)
            assert answer.status_code < 500, (path, body)
        await follow(door)

    street.run(check)
