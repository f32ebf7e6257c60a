"""Whatever is sent to the door for WeChat, it answers without a defect of its own and accounts for everything that is signed.

SCRM_EDGE_FUZZ says how many inputs there are.
"""

import asyncio
import os
from random import Random
from typing import Any

import pytest

from chassis.clock import ReplayClock
from chassis.event_store import PostgresEventStore
from services.tracking.adapters import wechat_door
from services.tracking.domain.source import WechatPlatform
from tests.tracking.edge import Door, opened
from tests.tracking.touches import NOON
from tests.tracking.wechat import EXTERNAL, Fake, accounts, oa_xml, tallied, wecom_xml, xml

INPUTS = int(os.environ.get("SCRM_EDGE_FUZZ", "2000"))


def test_nothing_that_is_sent_breaks_the_door_or_gets_lost(
    postgres_store: PostgresEventStore, loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Malformed XML behind a good signature, damaged ciphertexts and envelopes, nonsense in the query."""
    monkeypatch.setattr(wechat_door, "ANSWER_SECONDS", 60.0)  # a slow machine is no defect

    async def check() -> None:
        async with opened(postgres_store, ReplayClock(NOON)) as door:
            await _fuzzed(door)

    loop.run_until_complete(check())


async def _fuzzed(door: Door) -> None:
    random = Random(7)
    fakes = accounts(door)
    turn = asyncio.Semaphore(16)

    async def one(number: int) -> tuple[int, bool]:
        fake = fakes[number % 3]
        content, wrong = _spoilt(random, fake, number)
        async with turn:
            answer = await fake.deliver(content, **wrong)
        return answer.status_code, answer.text == "success"

    answered = await asyncio.gather(*(one(number) for number in range(INPUTS)))
    assert {status for status, _ in answered} == {200, 400, 401}
    taken = sum(is_taken for _, is_taken in answered)
    assert taken == sum(status == 200 for status, _ in answered)
    assert taken > INPUTS / 4, "not everything was nonsense"
    counted = tallied(door)
    assert _answers(door) == INPUTS
    # A callback that is taken is at least one event; one with a scene is two, and groups have members.
    assert taken <= sum(counted.values()) <= 2 * taken
    assert {"ACCEPTED", "REJECTED FIELD_REQUIRED", "QUARANTINED NO_IDENTITY"} <= counted.keys()
    assert (await fakes[0].deliver(oa_xml(Event="CLICK", EventKey="after all that"))).text == "success"


def _answers(door: Door) -> int:
    """How many calls of WeChat were answered, by the metrics."""
    [calls] = [it for it in door.metrics.registry.collect() if it.name == "scrm_http_seconds"]
    counts = (it for it in calls.samples if it.name.endswith("_count") and it.labels["route"].startswith("/wechat/"))
    return int(sum(it.value for it in counts))


def _spoilt(random: Random, fake: Fake, number: int) -> tuple[bytes, dict[str, Any]]:
    """A callback and what is wrong with its delivery, more wrong than right."""
    start = (
        wecom_xml("add_external_contact", UserID="li", ExternalUserID=EXTERNAL, State=str(number))
        if fake.platform is WechatPlatform.WECOM
        else oa_xml(Event="subscribe", EventKey=f"qrscene_{number}")
    )
    content = bytearray(start)
    match random.randrange(6):
        case 0:
            for _ in range(random.randrange(1, 6)):
                content[random.randrange(len(content))] = random.randrange(256)
        case 1:
            del content[random.randrange(len(content)) :]
        case 2:
            at = random.randrange(len(content))
            content[at:at] = random.choice(
                [b"<!DOCTYPE a>", b"&a;", b"]]>", b"<a>" * 50, b"\0", b"\xff\xfe", b"<Item>x</Item>", "é".encode()]
            )
        case 3:
            name = random.choice(["msg_signature", "signature", "timestamp", "nonce", "encrypt_type"])
            return bytes(content), {
                name: random.choice(["", "0", "\0", "é" * 40, "9" * 500, "-1", "&=?", "1777636800"])
            }
        case 4 if fake.encoding_key:
            hidden = fake.encrypted(bytes(content), fake.account_id)
            at = random.randrange(len(hidden))
            spoilt = hidden[:at] + random.choice(["", "A", "!", "\n", "===", "é"]) + hidden[at + random.randrange(3) :]
            return bytes(content), {
                "body": xml({"Encrypt": spoilt}) if random.random() < 0.8 else random.randbytes(200)
            }
    return bytes(content), {}
