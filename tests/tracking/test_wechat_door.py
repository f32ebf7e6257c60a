"""Callbacks of WeChat as the platform delivers them: signed, encrypted, repeated, and done wrong in every way there is."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from chassis.clock import ReplayClock
from chassis.event_store import PostgresEventStore
from services.tracking.adapters import wechat_door
from services.tracking.application.source_commands import UpdateSource
from services.tracking.domain.source import WechatPlatform
from tests.tracking.edge import Door, opened
from tests.tracking.touches import NOON
from tests.tracking.wechat import (
    ENCODING_KEY,
    EXTERNAL,
    LONG_AGO,
    Fake,
    accounts,
    oa_xml,
    official,
    plain,
    tallied,
    wecom,
    wecom_xml,
    xml,
)

Run = Callable[[Callable[[Door], Coroutine[Any, Any, None]]], None]

CLICK = oa_xml(Event="CLICK", EventKey="P1")
OTHER_KEY = ENCODING_KEY[::-1]


@pytest.fixture
def run(postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop) -> Run:
    """`run(check)` awaits `check(door)` at noon."""

    def running(check: Callable[[Door], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with opened(postgres_store, ReplayClock(NOON)) as door:
                await check(door)

        loop.run_until_complete(served())

    return running


def test_a_url_is_verified_in_every_mode(run: Run) -> None:
    async def check(door: Door) -> None:
        fakes = accounts(door)
        for fake in fakes:
            answer = await fake.verify()
            assert (answer.status_code, answer.text) == (200, "4375120948345356249"), fake
            assert answer.headers["content-type"].startswith("text/plain")
            for wrong in ({"token": "another"}, {"at": LONG_AGO}, {"nonce": "1"}, {"timestamp": "x"}):
                assert (await fake.verify(**wrong)).status_code == 401, wrong
        assert (await fakes[2].verify(receiver="ww0")).status_code == 400
        assert (await fakes[0].verify("x" * 5000)).status_code == 400
        assert door.counted() == 0

    run(check)


def test_a_callback_is_durable_before_it_is_answered_and_counts_once_however_often_it_comes(run: Run) -> None:
    async def check(door: Door) -> None:
        for fake in accounts(door):
            content = (
                CLICK if fake.source != "wecom" else wecom_xml("del_follow_user", UserID="li", ExternalUserID=EXTERNAL)
            )
            for n in range(3):
                answer = await fake.deliver(content, at=NOON + timedelta(seconds=5 * n))
                assert (answer.status_code, answer.text) == (200, "success"), fake
        assert [(it.source_key, it.event_type) for it in door.accepted()] == [
            ("oa", "menu_clicked"),
            ("plain", "menu_clicked"),
            ("wecom", "wecom_friend_deleted"),
        ]
        assert tallied(door) == {"ACCEPTED": 3, "DUPLICATE": 6}

    run(check)


def test_deliveries_at_once_count_once(run: Run) -> None:
    async def check(door: Door) -> None:
        fake = official(door)
        subscribe = oa_xml(Event="subscribe", EventKey="qrscene_ST03")
        answers = await asyncio.gather(*(fake.deliver(subscribe) for _ in range(20)))
        assert {it.text for it in answers} == {"success"}
        assert [it.event_type for it in door.accepted()] == ["qr_scanned", "oa_subscribed"]
        assert tallied(door) == {"ACCEPTED": 2, "DUPLICATE": 38}

    run(check)


def test_what_is_not_from_the_platform_or_too_old_is_refused(run: Run) -> None:
    async def check(door: Door) -> None:
        wrong: list[dict[str, Any]] = [
            {"token": "another"},
            {"at": LONG_AGO},
            {"at": NOON + timedelta(seconds=301)},
            {"nonce": "1"},
            {"timestamp": "1777636801"},
        ]
        for fake in accounts(door):
            mine = "msg_signature" if fake.encoding_key else "signature"
            for it in [*wrong, {mine: ""}, {mine: "0" * 40}, {mine: "é"}]:
                answer = await fake.deliver(CLICK, **it)
                assert (answer.status_code, answer.json()["code"]) == (401, "INVALID_SIGNATURE"), (fake.source, it)
        assert door.counted() == 0

    run(check)


def test_nobody_is_told_which_accounts_there_are(run: Run) -> None:
    async def check(door: Door) -> None:
        fake = official(door)
        for path in (
            "oa/acme.nowhere",
            "oa/globex.oa",
            "oa/acme",
            "oa/acme.oa.x",
            "wecom/acme.oa",
            "oa/acme.site",
            "oa/%00",
        ):
            for method in ("GET", "POST"):
                answer = await door.client.request(
                    method, f"{door.url}/wechat/{path}", params=fake.asked("x"), content=b"x"
                )
                assert answer.status_code == 401, path
        assert (await door.client.post(door.url + "/wechat/oa")).status_code == 404
        assert (await door.client.put(fake.url)).status_code == 405

    run(check)


def test_a_callback_for_another_key_or_account_or_without_encryption_is_refused(run: Run) -> None:
    async def check(door: Door) -> None:
        fake = official(door)
        assert (await fake.deliver(CLICK, receiver="wx0")).json()["code"] == "ENCRYPTION_MISMATCH"
        assert (await fake.deliver(CLICK, body=CLICK)).json()["code"] == "ENCRYPTION_MISMATCH", (
            "no way round the cipher"
        )
        fake.encoding_key = OTHER_KEY
        assert (await fake.deliver(CLICK)).status_code == 400
        assert door.counted() == 0
        fake.set_up()
        assert (await fake.deliver(CLICK)).text == "success", "as soon as the account is set anew"
        fake.encoding_key = ENCODING_KEY
        assert (await fake.deliver(CLICK)).status_code == 400

    run(check)


def test_in_compatible_mode_what_is_encrypted_counts(run: Run) -> None:
    async def check(door: Door) -> None:
        fake = official(door)
        hidden = fake.encrypted(CLICK, fake.account_id)
        both = xml({"Event": "CLICK", "MsgType": "event", "EventKey": "forged", "Encrypt": hidden})
        answer = await door.client.post(fake.url, params=fake.asked(hidden), content=both)
        assert answer.text == "success"
        [event] = door.accepted()
        assert event.properties_json == b'{"menu_key":"P1","extra":{"kind":"CLICK"}}'

    run(check)


def test_what_is_signed_is_always_taken_and_counted(run: Run) -> None:
    async def check(door: Door) -> None:
        fake = official(door)
        contents = {
            oa_xml(Event="never_heard_of"): "ACCEPTED",
            oa_xml(MsgType="telepathy", Content="secret"): "ACCEPTED",
            oa_xml(Event="MASSSENDJOBFINISH", FromUserName="mphelper"): "QUARANTINED NO_IDENTITY",
            oa_xml(Event="SCAN", EventKey=""): "QUARANTINED SCHEMA",
            oa_xml(Event="CLICK", EventKey="x", CreateTime=int(NOON.timestamp()) + 400): "QUARANTINED FUTURE_TIMESTAMP",
            oa_xml(Event="CLICK", EventKey="x", CreateTime="soon"): "REJECTED FIELD_REQUIRED",
            b"<!DOCTYPE xml [<!ENTITY a 'a'>]><xml>&a;</xml>": "REJECTED FIELD_REQUIRED",
            b"": "REJECTED FIELD_REQUIRED",
            b"\xff": "REJECTED FIELD_REQUIRED",
        }
        for content in contents:
            assert (await fake.deliver(content)).text == "success", content
        expected = list(contents.values())
        assert tallied(door) == {it: expected.count(it) for it in expected}
        assert not any(b"secret" in it.SerializeToString() for it in door.accepted())

    run(check)


def test_too_much_is_refused(run: Run) -> None:
    async def check(door: Door) -> None:
        for fake in (official(door), plain(door)):
            assert (await fake.deliver(oa_xml(MsgType="text", Content="x" * 300_000))).status_code == 400
            assert (await fake.deliver(oa_xml(MsgType="text", Content="x" * 100_000))).text == "success"

    run(check)


def test_a_source_that_is_off_or_over_its_rate(run: Run) -> None:
    async def check(door: Door) -> None:
        fake = wecom(door)
        door.given(UpdateSource("acme", "wecom", {"rate_limit": 1}))
        door.book.forget("acme", "wecom")
        many = [f"{EXTERNAL[:-2]}{n}" for n in range(10, 60)]
        joined = wecom_xml("update", "change_external_chat", ChatId="G", UpdateDetail="add_member", MemChangeList=many)
        assert (await fake.deliver(joined)).text == "success"
        left = wecom_xml("del_follow_user", UserID="li", ExternalUserID=EXTERNAL)
        assert (await fake.deliver(left)).status_code == 429
        door.given(UpdateSource("acme", "wecom", {"enabled": False, "rate_limit": 0}))
        door.book.forget("acme", "wecom")
        assert (await fake.deliver(left)).text == "success"
        assert tallied(door) == {"ACCEPTED": 50, "REJECTED SOURCE_DISABLED": 1}

    run(check)


def test_while_nothing_can_become_durable_the_platform_is_told_to_come_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wechat_door, "ANSWER_SECONDS", 0.3)

    async def check(door: Door) -> None:
        fake = official(door)
        with door.store.engine.connect() as lock:
            lock.exec_driver_sql("LOCK TABLE message_keys")
            answer = await fake.deliver(CLICK)
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
            lock.rollback()
        assert (await fake.deliver(CLICK)).text == "success"
        assert len(door.accepted()) == 1, "whether or not the first delivery took effect after all"

    run(check)


def test_secrets_that_do_not_open_are_no_defect_and_do_not_show(run: Run) -> None:
    async def check(door: Door) -> None:
        fake = official(door)
        other = Fake(door, WechatPlatform.OFFICIAL_ACCOUNT, "other", "wxother").register()
        sealed = door.seal.sealed
        door.seal.sealed = lambda tenant, source, *more: sealed(tenant, "other", *more)  # type: ignore[method-assign]
        answer = await fake.set_up().deliver(CLICK)
        assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
        assert (await other.set_up().deliver(CLICK)).text == "success"
        kept = b"".join(bytes(it.state) for it in door.rows("SELECT state FROM stored_events"))
        assert other.account_id.encode() in kept
        for secret in (other.token, other.encoding_key):
            assert secret.encode() not in kept
            assert secret.encode().hex().encode() not in kept

    run(check)
