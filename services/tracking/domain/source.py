"""Ingest sources (TR-1): who may report behaviours, by which key, how much, and whom their user ids stand for."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from hmac import compare_digest
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tracking.domain.errors import SourceIsNoWebhook

DEFAULT_NAMESPACE: Final = "external_id"

_KEY: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class SourceKind(StrEnum):
    """What runs at the other end, and so how far it is trusted.

    The key of an SDK is in every page or app it is used in: whoever reads it there can report whatever they like.
    """

    SDK = "SDK"
    SERVER = "SERVER"
    WEBHOOK = "WEBHOOK"
    IMPORT = "IMPORT"

    @property
    def is_trusted(self) -> bool:
        """Whether what it says of money and of who is logged in counts."""
        return self is not SourceKind.SDK


@dataclass(frozen=True, slots=True)
class Terms:
    """What can be changed of a source.

    `rate_limit` is in events per second and process, 0 for none; `user_namespace` and `user_scope` say what kind of
    identifier the user ids of the source are.
    """

    enabled: bool
    rate_limit: int
    user_namespace: str
    user_scope: str


class WechatPlatform(StrEnum):
    """Which of the two kinds of WeChat accounts calls back."""

    OFFICIAL_ACCOUNT = "OFFICIAL_ACCOUNT"
    WECOM = "WECOM"


@dataclass(frozen=True, slots=True)
class WechatAccount:
    """The account of a platform whose callbacks a source is.

    `account_id` is the appid of an official account or the corpid of a WeCom; the identifiers of people are unique within it.
    `encrypted` says whether the platform encrypts what it sends. `sealed` are the secrets that prove it, sealed with the key `sealed_by`.
    """

    platform: WechatPlatform
    account_id: str
    encrypted: bool
    sealed_by: str
    sealed: bytes = field(repr=False)


class IngestSource(Aggregate):
    """One system, site or app that reports behaviours."""

    TOPIC = "tracking.IngestSource"

    class Registered(InitialEvent):
        TOPIC = "tracking.SourceRegistered"
        tenant: str
        key: str
        kind: SourceKind
        terms: Terms
        write_key_digest: bytes

    class Updated(Event):
        TOPIC = "tracking.SourceUpdated"
        terms: Terms

    class WriteKeyReplaced(Event):
        """The write key before is worth nothing from now on."""

        TOPIC = "tracking.SourceWriteKeyReplaced"
        write_key_digest: bytes

    class WechatAccountSet(Event):
        """The account before, if any, and its secrets are worth nothing from now on."""

        TOPIC = "tracking.SourceWechatAccountSet"
        account: WechatAccount

    @event(Registered)
    def __init__(
        self, id: UUID, tenant: str, key: str, kind: SourceKind, terms: Terms, write_key_digest: bytes
    ) -> None:
        self.tenant = tenant
        self.key = key
        self.kind = SourceKind(kind)
        self.terms = terms
        self.write_key_digest = write_key_digest
        self.wechat: WechatAccount | None = None

    def opens_with(self, digest: bytes) -> bool:
        """Whether `digest` is that of the write key; takes as long for a wrong one as for the right one."""
        return compare_digest(self.write_key_digest, digest)

    def update(self, terms: Terms) -> None:
        if terms != self.terms:
            self._updated(terms)

    def replace_write_key(self, digest: bytes) -> None:
        if digest != self.write_key_digest:
            self._write_key_replaced(digest)

    def set_wechat_account(self, account: WechatAccount) -> None:
        """Raises SourceIsNoWebhook."""
        if self.kind is not SourceKind.WEBHOOK:
            raise SourceIsNoWebhook
        self._wechat_account_set(account)

    @event(Updated)
    def _updated(self, terms: Terms) -> None:
        self.terms = terms

    @event(WriteKeyReplaced)
    def _write_key_replaced(self, write_key_digest: bytes) -> None:
        self.write_key_digest = write_key_digest

    @event(WechatAccountSet)
    def _wechat_account_set(self, account: WechatAccount) -> None:
        self.wechat = account


def source_id(tenant: str, key: str) -> UUID:
    """The id of the one source with this key."""
    return natural_id(tenant, "ingest_source", key)


def is_source_key(text: str) -> bool:
    """Whether a source can be registered under `text`: 1 to 64 of a-z, 0-9, _ and -."""
    return _KEY.fullmatch(text) is not None
