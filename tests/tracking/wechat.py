"""WeChat in tests: a platform that signs, encrypts, repeats itself, and can be made to do each of it wrong.

It has its own hand at the protocol, after the description of the platform, and shares none with the service.
"""

import base64
import hashlib
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from services.tracking.application.source_commands import RegisterSource, SetWechatAccount
from services.tracking.domain.source import SourceKind, Terms, WechatPlatform
from services.tracking.domain.wechat_crypto import Secrets
from tests.tracking.edge import Door
from tests.tracking.touches import NOON

SENT = int(NOON.timestamp())
OPENID = "oLVPpjqs9BhvzwPj5A-vTYAX3GLc"
EXTERNAL = "woAJ2GCAAAXtWyujaWJHDDGi0mACH71w"
TOKEN = "AtokenOfTheAccount"
ENCODING_KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


def oa_xml(**fields: Any) -> bytes:
    """A callback of an official account, about the same person in the same second but for what `fields` say."""
    return xml(
        {"ToUserName": "gh_7f083739789a", "FromUserName": OPENID, "CreateTime": SENT, "MsgType": "event", **fields}
    )


def wecom_xml(change: str, event: str = "change_external_contact", **fields: Any) -> bytes:
    head = {"ToUserName": "ww4asffe99e54c0f4c", "FromUserName": "sys", "CreateTime": SENT, "MsgType": "event"}
    return xml({**head, "Event": event, "ChangeType": change, **fields})


def xml(fields: dict[str, Any]) -> bytes:
    """A list is written as items."""
    parts = "".join(f"<{name}>{_written(it)}</{name}>" for name, it in fields.items())
    return f"<xml>{parts}</xml>".encode()


def _written(value: Any) -> str:
    match value:
        case list():
            return "".join(f"<Item>{escape(it)}</Item>" for it in value)
        case int():
            return str(value)
    return f"<![CDATA[{value}]]>"


@dataclass
class Fake:
    """The platform of one account. What it does wrong is said by call."""

    door: Door
    platform: WechatPlatform
    source: str
    account_id: str
    encoding_key: str = ENCODING_KEY
    token: str = TOKEN

    @property
    def url(self) -> str:
        name = "wecom" if self.platform is WechatPlatform.WECOM else "oa"
        return f"{self.door.url}/wechat/{name}/acme.{self.source}"

    def register(self) -> "Fake":
        self.door.given(
            RegisterSource("acme", self.source, SourceKind.WEBHOOK, Terms(True, 0, "external_id", self.source), b"-")
        )
        return self.set_up()

    def set_up(self) -> "Fake":
        """Give the service the secrets that the platform has now."""
        key = base64.b64decode(self.encoding_key + "=") if self.encoding_key else b""
        account = self.door.seal.sealed("acme", self.source, self.platform, self.account_id, Secrets(self.token, key))
        self.door.given(SetWechatAccount("acme", self.source, account))
        self.door.book.forget("acme", self.source)
        return self

    async def deliver(self, content: bytes, **wrong: Any) -> httpx.Response:
        """One delivery of a callback; `wrong` are `asked`'s and `body`."""
        if not self.encoding_key:
            return await self.door.client.post(self.url, params=self.asked("", **wrong), content=content)
        hidden = self.encrypted(content, wrong.pop("receiver", self.account_id))
        body = wrong.pop("body", xml({"ToUserName": self.account_id, "Encrypt": hidden, "AgentID": ""}))
        return await self.door.client.post(self.url, params=self.asked(hidden, **wrong), content=body)

    async def verify(self, echo: str = "4375120948345356249", **wrong: Any) -> httpx.Response:
        """What is sent when the URL is entered in the console."""
        if self.platform is WechatPlatform.WECOM:
            hidden = self.encrypted(echo.encode(), wrong.pop("receiver", self.account_id))
            params = {**self.asked(hidden, **wrong), "echostr": hidden}
        else:
            params = {**self.asked("", **wrong), "echostr": echo}
        return await self.door.client.get(self.url, params=params)

    def asked(self, hidden: str, token: str = "", at: datetime = NOON, **replaced: str) -> dict[str, str]:
        """The query: the signatures of what is sent, made with `token` at `at`."""
        timestamp, nonce = str(int(at.timestamp())), "1372623149"

        def sign(*parts: str) -> str:
            return hashlib.sha1("".join(sorted([token or self.token, timestamp, nonce, *parts])).encode()).hexdigest()

        found = {"timestamp": timestamp, "nonce": nonce, "openid": OPENID}
        if self.platform is WechatPlatform.OFFICIAL_ACCOUNT:
            found["signature"] = sign()
        if hidden:
            found |= {"encrypt_type": "aes", "msg_signature": sign(hidden)}
        return {**found, **replaced}

    def encrypted(self, content: bytes, receiver: str) -> str:
        key = base64.b64decode(self.encoding_key + "=")
        plain = b"0123456789abcdef" + struct.pack(">I", len(content)) + content + receiver.encode()
        padding = 32 - len(plain) % 32
        encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        return base64.b64encode(encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()).decode()


def official(door: Door) -> Fake:
    return Fake(door, WechatPlatform.OFFICIAL_ACCOUNT, "oa", "wxb11529c136998cb6").register()


def plain(door: Door) -> Fake:
    return Fake(door, WechatPlatform.OFFICIAL_ACCOUNT, "plain", "wx0000000000000001", encoding_key="").register()


def wecom(door: Door) -> Fake:
    return Fake(door, WechatPlatform.WECOM, "wecom", "ww4asffe99e54c0f4c").register()


LONG_AGO = NOON - timedelta(seconds=301)
"""Just too long ago for a callback to be fresh."""


def tallied(door: Door) -> dict[str, int]:
    """How many events there are, by what became of them."""
    return {
        f"{it.outcome} {it.reason}".strip(): it.count
        for it in door.rows("SELECT outcome, reason, sum(count)::int AS count FROM tallies GROUP BY outcome, reason")
    }


def accounts(door: Door) -> list[Fake]:
    return [official(door), plain(door), wecom(door)]
