"""A WeCom that calls back through the gateway: set up by calls, verified, and its contacts known as customers."""

import asyncio
import base64
import hashlib
import struct
import time
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack
from tests.chassis.streams import until

TENANT = "globex"
CORP = "ww4asffe99e54c0f4c"
EXTERNAL = "woAJ2GCAAAXtWyujaWJHDDGi0mACH71w"
TOKEN = "AtokenOfTheAccount"
ENCODING_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


@pytest.fixture
def stack(intake_stack: LocalStack) -> LocalStack:
    return intake_stack


def test_a_contact_who_was_added_is_a_customer_with_a_trail(stack: LocalStack, loop: asyncio.AbstractEventLoop) -> None:
    headers = {"authorization": f"Bearer {stack.credentials.mint(TENANT, scopes())}"}
    address = f"http://127.0.0.1:{stack.ports.gateway}/v1/tracking"

    async def run() -> None:
        async with httpx.AsyncClient(base_url=address, headers=headers) as gateway, httpx.AsyncClient() as platform:
            url = f"http://{stack.envoy.address}{await _set_up(gateway)}"
            hidden = _encrypted(b"1616140317555161061")
            assert (
                await platform.get(url, params={**_signed(hidden), "echostr": hidden})
            ).text == "1616140317555161061"
            added = _encrypted(_added())
            for _ in range(3):
                body = f"<xml><Encrypt><![CDATA[{added}]]></Encrypt></xml>"
                assert (await platform.post(url, params=_signed(added), content=body)).text == "success"
            forged = {**_signed(added), "nonce": "other"}
            assert (await platform.post(url, params=forged, content=body)).status_code == 401
            await until(lambda: bool(_node(stack)), "the contact is known")
            trail = (await gateway.get(f"/customers/{_node(stack)}/trail")).raise_for_status().json()["entries"]
            assert [(it["eventType"], it["channel"]) for it in trail] == [("wecom_friend_added", "wecom")]

    loop.run_until_complete(run())
    for log in ("tracking", "identity", "access"):
        said = stack.log_of(log).read_text()
        assert not any(it in said for it in (TOKEN, ENCODING_KEY, EXTERNAL)), log


async def _set_up(gateway: httpx.AsyncClient) -> str:
    """Register the source and its account; the path to call back at."""
    source = {"requestId": str(uuid4()), "key": "corp", "kind": "SOURCE_KIND_WEBHOOK"}
    (await gateway.post("/sources:register", json=source)).raise_for_status()
    account = {"platform": "WECHAT_PLATFORM_WECOM", "accountId": CORP, "token": TOKEN, "encodingAesKey": ENCODING_KEY}
    answer = await gateway.post("/sources/corp:setWechatAccount", json={"requestId": str(uuid4()), **account})
    path: str = answer.raise_for_status().json()["source"]["wechat"]["callbackPath"]
    return path


def _added() -> bytes:
    fields: dict[str, Any] = {
        "ToUserName": CORP,
        "FromUserName": "sys",
        "CreateTime": int(time.time()),
        "MsgType": "event",
        "Event": "change_external_contact",
        "ChangeType": "add_external_contact",
        "UserID": "li",
        "ExternalUserID": EXTERNAL,
        "State": "ST03",
    }
    return f"<xml>{''.join(f'<{name}>{it}</{name}>' for name, it in fields.items())}</xml>".encode()


def _encrypted(content: bytes) -> str:
    key = base64.b64decode(ENCODING_KEY + "=")
    plain = b"0123456789abcdef" + struct.pack(">I", len(content)) + content + CORP.encode()
    padding = 32 - len(plain) % 32
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()).decode()


def _signed(hidden: str) -> dict[str, str]:
    timestamp, nonce = str(int(time.time())), "1372623149"
    parts = "".join(sorted([TOKEN, timestamp, nonce, hidden]))
    return {"timestamp": timestamp, "nonce": nonce, "msg_signature": hashlib.sha1(parts.encode()).hexdigest()}


def _node(stack: LocalStack) -> str:
    """The node of the one behaviour of the brand; empty before it is resolved."""
    with psycopg.connect(stack.postgres.database("tracking").writer_dsn) as rows:
        found = rows.execute("SELECT node FROM behaviours WHERE tenant = %s", [TENANT]).fetchall()
    return str(found[0][0]) if found else ""
