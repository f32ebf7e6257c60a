"""A brand's namespaces and blocked values as callers meet them: over gRPC, on PostgreSQL."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from chassis import context as contexts
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.event_store import MemoryEventStore
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1 import namespace_pb2 as ns
from services.identity.application.tenant_rules import FRESH_SECONDS, TenantRules
from services.identity.domain.errors import UnknownNamespace
from services.identity.domain.identifiers import GivenIdentifier, IdentifierReader
from tests.identity import test_grpc
from tests.identity.brand import SECRET, Brand
from tests.identity.settings import CARD, configure
from tests.identity.test_grpc import Caller, Serve, identifier, phone, resolve

serve = test_grpc.serve


def setting(config: ns.Namespace, etag: str = "") -> ns.SetNamespaceConfigRequest:
    return ns.SetNamespaceConfigRequest(request_id=str(uuid4()), config=config, etag=etag)


def card(**changes: Any) -> ns.Namespace:
    rules: dict[str, Any] = {
        "priority": 4,
        "form": ns.IDENTIFIER_FORM_TRIMMED,
        "limit": ns.NamespaceLimit(count=2),
        "strong": True,
    }
    return ns.Namespace(namespace="loyalty_card", **(rules | changes))


def test_a_namespace_is_read_changed_and_read_again(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        before = await caller.call("GetNamespaceConfig", ns.GetNamespaceConfigRequest(namespace="phone"))
        assert (before.config.limit.count, before.config.version, before.config.preset) == (2, 0, True)
        assert (before.config.form, before.etag) == (ns.IDENTIFIER_FORM_PHONE, "0")

        before.config.limit.count = 3
        made = await caller.call("SetNamespaceConfig", setting(before.config, before.etag))
        assert (made.config.limit.count, made.config.version, made.etag) == (3, 1, "1")
        assert (await caller.refused("SetNamespaceConfig", setting(before.config, "0"))).reason == "VERSION_CONFLICT"
        assert (await caller.refused("SetNamespaceConfig", setting(before.config, "x"))).reason == "BAD_FORMAT"

        after = await caller.call("GetNamespaceConfig", ns.GetNamespaceConfigRequest(namespace="phone"))
        assert (after.config, after.etag) == (made.config, "1")
        other = await caller.call("GetNamespaceConfig", ns.GetNamespaceConfigRequest(namespace="phone"), "globex")
        assert other.config.limit.count == 2

    serve(check)


def test_a_namespace_of_ones_own_is_read_at_once_and_listed(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        mine = identifier("loyalty_card", "1")
        assert (await caller.refused("ResolveIdentity", resolve(mine))).reason == "UNKNOWN_NAMESPACE"
        asked = ns.GetNamespaceConfigRequest(namespace="loyalty_card")
        assert (await caller.refused("GetNamespaceConfig", asked)).reason == "UNKNOWN_NAMESPACE"

        await caller.call("SetNamespaceConfig", setting(card()))
        made = await caller.call("ResolveIdentity", resolve(mine))
        assert made.outcome == pb.OUTCOME_CREATED

        names: list[str] = []
        token = ""
        while True:
            page = await caller.call("ListNamespaces", ns.ListNamespacesRequest(page_size=5, page_token=token))
            names += [it.namespace for it in page.namespaces]
            if not (token := page.next_page_token):
                break
        assert names[3:5] == ["email", "loyalty_card"]
        assert len(names) == len(set(names)) == 13

    serve(check)


def test_rules_that_make_no_sense_are_refused_with_a_reason(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        for wanted, reason in (
            (card(limit=ns.NamespaceLimit(count=0)), "OUT_OF_RANGE"),
            (card(limit=ns.NamespaceLimit(count=51)), "OUT_OF_RANGE"),
            (card(form=0), "UNKNOWN_ENUM"),
            (card(strong=False), "NAMESPACE_PRIORITY_CLASH"),
            (card(limit=ns.NamespaceLimit(count=1, ever=True, window_days=3)), "OUT_OF_RANGE"),
        ):
            assert (await caller.refused("SetNamespaceConfig", setting(wanted))).reason == reason, wanted
        await caller.call("SetNamespaceConfig", setting(card()))
        changed = card(form=ns.IDENTIFIER_FORM_AS_IS)
        assert (await caller.refused("SetNamespaceConfig", setting(changed))).reason == "NAMESPACE_FIXED"

    serve(check)


def test_what_is_blocked_is_listed_and_can_be_taken_back(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        def blocking(pattern: str, namespace: str = "phone", scope: str = "") -> ns.BlockIdentifierValueRequest:
            return ns.BlockIdentifierValueRequest(
                request_id=str(uuid4()), namespace=namespace, pattern=pattern, scope=scope
            )

        value = (await caller.call("BlockIdentifierValue", blocking("13800000001"))).blocked
        pattern = (await caller.call("BlockIdentifierValue", blocking("+86170*"))).blocked
        card = (await caller.call("BlockIdentifierValue", blocking("42", "external_id", "cdnow"))).blocked
        assert (value.pattern, pattern.pattern, card.scope) == ("", "+86170*", "cdnow")
        refusal = await caller.refused("BlockIdentifierValue", blocking("42*", "external_id", "cdnow"))
        assert refusal.reason == "BAD_FORMAT"

        found = await caller.call("ResolveIdentity", resolve(phone(1), identifier("phone", "17012345678"), phone(2)))
        assert [it.reason for it in found.dropped] == [pb.DROP_REASON_BLOCKED] * 2

        page = await caller.call("ListBlockedIdentifierValues", ns.ListBlockedIdentifierValuesRequest(page_size=2))
        rest = ns.ListBlockedIdentifierValuesRequest(page_size=2, page_token=page.next_page_token)
        listed = [*page.blocked, *(await caller.call("ListBlockedIdentifierValues", rest)).blocked]
        assert listed == sorted([value, pattern, card], key=lambda it: it.block_id)
        phones = ns.ListBlockedIdentifierValuesRequest(namespace="phone")
        found = await caller.call("ListBlockedIdentifierValues", phones)
        assert {it.block_id for it in found.blocked} == {value.block_id, pattern.block_id}

        taken_back = ns.UnblockIdentifierValueRequest(request_id=str(uuid4()), block_id=value.block_id)
        assert (
            await caller.refused("UnblockIdentifierValue", taken_back, "globex")
        ).reason == "BLOCKED_VALUE_NOT_FOUND"
        await caller.call("UnblockIdentifierValue", taken_back)
        assert not (await caller.call("ResolveIdentity", resolve(phone(1)))).dropped

    serve(check)


def test_another_replica_reads_by_the_new_rules_within_five_seconds(loop: asyncio.AbstractEventLoop) -> None:
    store = MemoryEventStore()
    brand, now = Brand(store), [0.0]
    reader = IdentifierReader(SECRET)
    rules = TenantRules(CommandBus(store, brand.clock, []), reader, seconds=lambda: now[0])

    async def read() -> int:
        with contexts.entered(Context("acme", "test")):
            await asyncio.gather(*(rules.refresh() for _ in range(3)))
        return len(reader.read("acme", [GivenIdentifier("loyalty_card", "1")]).identifiers)

    with pytest.raises(UnknownNamespace):
        loop.run_until_complete(read())
    configure(brand, CARD)
    now[0] = FRESH_SECONDS - 0.1
    with pytest.raises(UnknownNamespace):
        loop.run_until_complete(read())
    now[0] = FRESH_SECONDS
    assert loop.run_until_complete(read()) == 1
