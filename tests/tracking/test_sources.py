"""Sources and their write keys (TR-1): registered once, known by digest, held to their rate."""

import asyncio
from dataclasses import replace

import pytest

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.key_file import KeyFile
from chassis.log import EventStore
from chassis.testing import recorded
from services.tracking.adapters.account_seal import AccountSeal, SealBroken
from services.tracking.adapters.source_book import FRESH_SECONDS, SourceBook
from services.tracking.adapters.write_keys import WriteKey, write_key
from services.tracking.application.handlers import HANDLERS
from services.tracking.application.source_commands import (
    RegisterSource,
    ReplaceWriteKey,
    SetWechatAccount,
    UpdateSource,
)
from services.tracking.domain.errors import SourceExists, SourceIsNoWebhook, SourceNotFound, SourceRateExceeded
from services.tracking.domain.source import IngestSource, SourceKind, Terms, WechatPlatform
from services.tracking.domain.wechat_crypto import Secrets
from tests.tracking.touches import NOON

MAKER = b"a secret of this service"
TERMS = Terms(enabled=True, rate_limit=0, user_namespace="external_id", user_scope="site")
KEY = write_key(MAKER, "acme", "site", "r1")


class Sources:
    """The sources of a brand on a store, and a book that looks into it by a clock set by hand."""

    def __init__(self, store: EventStore, loop: asyncio.AbstractEventLoop) -> None:
        self.bus = CommandBus(store, ReplayClock(NOON), HANDLERS)
        self.seconds = 0.0
        self.book = SourceBook(store, lambda: self.seconds)
        self._loop = loop

    def given(self, command: object, tenant: str = "acme") -> IngestSource:
        source: IngestSource = self.bus.execute_now(command, Context(tenant, "test"))
        return source

    def register(self, rate_limit: int = 0, kind: SourceKind = SourceKind.SDK) -> IngestSource:
        terms = Terms(True, rate_limit, "external_id", "site")
        return self.given(RegisterSource("acme", "site", kind, terms, KEY.digest))

    def opened_by(self, text: str) -> str | None:
        """The key of the source that a write key opens."""
        parsed = WriteKey.parse(text)
        found = self._loop.run_until_complete(self.book.opened_by(parsed)) if parsed else None
        return found.key if found else None

    def admit(self, count: int, tenant: str = "acme") -> list[str]:
        return sorted(self._loop.run_until_complete(self.book.admit(tenant, {"site": count, "other": 1})))


@pytest.fixture
def sources(store: EventStore, loop: asyncio.AbstractEventLoop) -> Sources:
    return Sources(store, loop)


def test_a_source_is_registered_once(sources: Sources) -> None:
    source = sources.register()
    assert (source.key, source.kind, source.terms) == ("site", SourceKind.SDK, TERMS)
    with pytest.raises(SourceExists):
        sources.register()
    with pytest.raises(SourceNotFound):
        sources.given(UpdateSource("globex", "site", {"enabled": False}), "globex")


def test_what_changes_nothing_records_nothing(sources: Sources) -> None:
    sources.register()
    before = len(recorded(sources.bus))
    sources.given(UpdateSource("acme", "site", {"enabled": True}))
    sources.given(ReplaceWriteKey("acme", "site", KEY.digest))
    assert len(recorded(sources.bus)) == before


def test_a_write_key_opens_its_source_and_nothing_else(sources: Sources) -> None:
    sources.register()
    assert sources.opened_by(str(KEY)) == "site"
    for wrong in (
        str(KEY)[:-1],
        str(KEY) + "x",
        str(KEY).replace("acme", "globex"),
        str(KEY).replace("site", "other"),
        "acme.site.",
        "site",
        "",
        "acme.site.\0",
        "A" * 10_000,
    ):
        assert sources.opened_by(wrong) is None, wrong


def test_a_key_that_was_replaced_opens_nothing_within_two_seconds(sources: Sources) -> None:
    sources.register()
    assert sources.opened_by(str(KEY)) == "site"
    other = write_key(MAKER, "acme", "site", "r2")
    sources.given(ReplaceWriteKey("acme", "site", other.digest))
    sources.seconds += FRESH_SECONDS + 0.1
    assert sources.opened_by(str(KEY)) is None
    assert sources.opened_by(str(other)) == "site"


def test_no_event_and_no_text_of_the_program_holds_a_write_key(sources: Sources) -> None:
    sources.register()
    assert KEY.secret not in repr([vars(it.event) for it in recorded(sources.bus)])
    assert KEY.secret not in repr(KEY)


def test_a_source_may_send_its_rate_on_average_and_a_batch_is_never_cut(sources: Sources) -> None:
    sources.register(rate_limit=100)
    assert sources.admit(100) == []
    with pytest.raises(SourceRateExceeded):
        sources.admit(1)
    sources.seconds += 0.5
    assert sources.admit(250) == [], "50 are left, and the batch is taken whole"
    sources.seconds += 1.9
    with pytest.raises(SourceRateExceeded):
        sources.admit(1)
    sources.seconds += 0.2
    assert sources.admit(1) == []


def test_a_source_that_is_switched_off_is_named_and_others_are_not(sources: Sources) -> None:
    sources.register()
    assert sources.admit(1) == []
    sources.given(UpdateSource("acme", "site", {"enabled": False}))
    sources.seconds += FRESH_SECONDS + 0.1
    assert sources.admit(1) == ["site"]
    assert sources.admit(1, "globex") == []


ROOTS = {"1": b"one root key of 32 bytes........", "2": b"another root key of 32 bytes...."}
SECRETS = Secrets("AtokenOfTheAccount", b"an AES key of 32 bytes, or so...")
WECOM = WechatPlatform.WECOM


def test_the_account_of_a_source_is_set_and_replaced_with_its_secrets_sealed(sources: Sources) -> None:
    sources.register(kind=SourceKind.WEBHOOK)
    seal = AccountSeal(KeyFile("1", ROOTS))
    first = seal.sealed("acme", "site", WECOM, "ww1", SECRETS)
    sources.given(SetWechatAccount("acme", "site", first))
    second = seal.sealed("acme", "site", WECOM, "ww2", Secrets("anotherToken", SECRETS.key))
    source = sources.given(SetWechatAccount("acme", "site", second))
    assert source.wechat == second
    assert seal.opened("acme", "site", second).token == "anotherToken"
    shown = repr([vars(it.event) for it in recorded(sources.bus)])
    assert SECRETS.token not in shown
    assert repr(SECRETS.key)[2:-1] not in shown


def test_only_a_webhook_that_is_registered_has_an_account(sources: Sources) -> None:
    account = AccountSeal(KeyFile("1", ROOTS)).sealed("acme", "site", WECOM, "ww1", SECRETS)
    with pytest.raises(SourceNotFound):
        sources.given(SetWechatAccount("acme", "site", account))
    sources.register(kind=SourceKind.SERVER)
    with pytest.raises(SourceIsNoWebhook):
        sources.given(SetWechatAccount("acme", "site", account))


def test_sealed_secrets_open_in_their_place_and_with_their_key_only() -> None:
    both = AccountSeal(KeyFile("2", ROOTS))
    old = AccountSeal(KeyFile("1", ROOTS)).sealed("acme", "site", WECOM, "ww1", SECRETS)
    new = both.sealed("acme", "site", WECOM, "ww1", SECRETS)
    assert (old.sealed_by, new.sealed_by) == ("1", "2")
    assert both.opened("acme", "site", old) == both.opened("acme", "site", new) == SECRETS
    only_new = AccountSeal(KeyFile("2", {"2": ROOTS["2"]}))
    wrong = [
        (only_new, "acme", "site", old),
        (both, "globex", "site", new),
        (both, "acme", "other", new),
        (both, "acme", "site", replace(new, account_id="ww2")),
        (both, "acme", "site", replace(new, platform=WechatPlatform.OFFICIAL_ACCOUNT)),
        (both, "acme", "site", replace(new, sealed_by="1")),
        (both, "acme", "site", replace(new, sealed=new.sealed[:-1] + bytes([new.sealed[-1] ^ 1]))),
    ]
    for seal, tenant, key, account in wrong:
        with pytest.raises(SealBroken):
            seal.opened(tenant, key, account)
