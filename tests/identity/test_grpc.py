"""Identity as its callers meet it: over gRPC, on PostgreSQL, with tokens."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.credentials import KeySet, Verifier
from chassis.event_store import PostgresEventStore
from chassis.grpc_server import Gate, GrpcServer
from chassis.projection import Projector
from chassis.read_models import ReadModels
from chassis.status import Refusal, refusal
from chassis.telemetry import Metrics, Tracing
from deploy.local.credentials import Credentials
from scrm.identity.v1 import consent_pb2, customer_pb2, erasure_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from scrm.identity.v1 import privacy_service_pb2 as privacy
from scrm.identity.v1.identity_service_pb2_grpc import (
    IdentityServiceStub,
    add_IdentityServiceServicer_to_server,
)
from scrm.identity.v1.privacy_service_pb2_grpc import PrivacyServiceStub, add_PrivacyServiceServicer_to_server
from services.identity.adapters.customer_export import SECTIONS
from services.identity.adapters.grpc_servicer import IdentityServicer
from services.identity.adapters.key_table import SqlKeyTable
from services.identity.adapters.matcher import Matcher
from services.identity.adapters.matching_servicer import MatchingParts
from services.identity.adapters.privacy_servicer import PrivacyServicer
from services.identity.adapters.uncredited_orders import SqlUncreditedOrders
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.handlers import handlers
from services.identity.application.vault import KeyWrap, Vault
from services.identity.domain.identifiers import IdentifierReader
from services.identity.read_models.contact_history import ContactHistoryProjection
from services.identity.read_models.leads import LeadsProjection
from services.identity.read_models.sent_messages import SentMessagesProjection
from tests.conftest import Migrated
from tests.identity.brand import MIGRATIONS, NOON, ROOT_KEY, SECRET
from tests.identity.test_read_models import PROJECTIONS

ENGAGEMENT = (ContactHistoryProjection(), SentMessagesProjection(), LeadsProjection())
SCOPES = ("identity.read", "identity.write", "identity.merge", "identity.configure", "identity.erase")


class Caller:
    """Calls identity for a tenant."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._credentials = credentials
        self._stubs = IdentityServiceStub(channel), PrivacyServiceStub(channel)
        self.position = ""

    async def call(
        self, name: str, request: Any, tenant: str = "acme", scopes: Sequence[str] = SCOPES, **metadata: str
    ) -> Any:
        headers = {"authorization": f"Bearer {self._credentials.mint(tenant, scopes)}"}
        headers |= {key.replace("_", "-"): value for key, value in metadata.items()}
        stub = next(it for it in self._stubs if hasattr(it, name))
        calling = getattr(stub, name)(request, metadata=tuple(headers.items()), timeout=20)
        answer = await calling
        self.position = dict(await calling.trailing_metadata()).get("scrm-position", self.position)
        return answer

    async def refused(self, name: str, request: Any, tenant: str = "acme") -> Refusal:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, request, tenant)
        return refusal(caught.value)


Serve = Callable[[Callable[[Caller], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def serve(migrated: Migrated, credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Serve:
    """`serve(check)` awaits `check(caller)` with a server and its projections running."""
    made = migrated("identity", MIGRATIONS)

    @asynccontextmanager
    async def serving() -> AsyncIterator[Caller]:
        store = PostgresEventStore(made.writer_dsn)
        clock = ReplayClock(NOON)
        wrap = KeyWrap(ROOT_KEY)
        bus = CommandBus(store, clock, handlers(Vault(wrap, SqlKeyTable), SqlUncreditedOrders))
        read_models = ReadModels(made.reader_dsn)
        parts = MatchingParts.on(store, read_models, wrap, SECRET)
        projector = Projector((*PROJECTIONS, *ENGAGEMENT), store.engine, store)
        projecting = asyncio.create_task(projector.run())
        while any(it.backlog for it in await projector.progress()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # until there are tables
        matching = asyncio.create_task(Matcher(parts.matching, bus, read_models, store.engine).run())
        verifier = Verifier(await KeySet.opened(str(credentials.jwks)), "scrm-local")
        servicer = IdentityServicer(bus, read_models, IdentifierReader(SECRET), clock, parts)
        server = GrpcServer(
            Gate("identity", verifier, Metrics(), Tracing(), wait_for=read_models.wait_for),
            [
                (add_IdentityServiceServicer_to_server, servicer),
                (add_PrivacyServiceServicer_to_server, PrivacyServicer(bus, read_models, Unsealer(wrap))),
            ],
        )
        bus.start()
        port = await server.start("127.0.0.1:0")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Caller(channel, credentials)
        await server.stop(0)
        for it in (projecting, matching):
            it.cancel()
        await asyncio.wait([projecting, matching])
        bus.stop()
        read_models.close()
        store.close()

    def run(check: Callable[[Caller], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with serving() as caller:
                await check(caller)

        loop.run_until_complete(served())

    return run


def identifier(namespace: str, value: str, **details: Any) -> customer_pb2.Identifier:
    return customer_pb2.Identifier(namespace=namespace, value=value, **details)


def phone(number: int) -> customer_pb2.Identifier:
    return identifier("phone", f"+86138{number:08}")


def resolve(*identifiers: customer_pb2.Identifier, **details: Any) -> pb.ResolveIdentityRequest:
    return pb.ResolveIdentityRequest(request_id=str(uuid4()), identifiers=identifiers, **details)


def test_a_resolved_customer_is_found_by_identifier_and_id(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        scoped = identifier("external_id", "42", scope="cdnow", verified=True)
        made = await caller.call("ResolveIdentity", resolve(phone(1), scoped, assignment_key="cdnow:42"))
        assert (made.outcome, made.state) == (pb.OUTCOME_CREATED, customer_pb2.CUSTOMER_STATE_KNOWN)

        found = await caller.call("LookupCustomer", pb.LookupCustomerRequest(identifier=phone(1)))
        assert (found.customer.customer_id, found.node_id) == (made.customer_id, made.node_id)

        got = await caller.call("GetCustomer", pb.GetCustomerRequest(customer_id=made.customer_id))
        assert got.customer == found.customer
        assert got.customer.name == f"customers/{made.customer_id}"
        assert got.customer.assignment_key == "cdnow:42"
        assert [(it.namespace, it.scope, it.verified) for it in got.customer.identifiers] == [
            ("phone", "", False),
            ("external_id", "cdnow", True),
        ]

    serve(check)


def test_a_merged_customers_id_leads_to_the_survivor(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        visitor = await caller.call("ResolveIdentity", resolve(identifier("anonymous_id", "a")))
        known = await caller.call("ResolveIdentity", resolve(phone(1)))
        await caller.call("ResolveIdentity", resolve(phone(1), identifier("anonymous_id", "a")))

        got = await caller.call("GetCustomer", pb.GetCustomerRequest(customer_id=visitor.customer_id))
        assert got.customer.customer_id == known.customer_id
        assert list(got.customer.node_ids) == [known.customer_id, visitor.customer_id]
        found = await caller.call(
            "LookupCustomer", pb.LookupCustomerRequest(identifier=identifier("anonymous_id", "a"))
        )
        assert (found.customer.customer_id, found.node_id) == (known.customer_id, visitor.customer_id)

    serve(check)


def test_a_repeated_request_gets_the_same_answer_and_another_one_under_its_id_is_refused(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        request = resolve(phone(1))
        first = await caller.call("ResolveIdentity", request)
        assert await caller.call("ResolveIdentity", request) == first

        other = resolve(phone(2))
        other.request_id = request.request_id
        assert (await caller.refused("ResolveIdentity", other)).reason == "REQUEST_ID_REUSED"

    serve(check)


def test_a_batch_answers_each_item(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        items = [
            pb.ResolveItem(identifiers=[phone(1)]),
            pb.ResolveItem(identifiers=[identifier("phone", "12")]),
            pb.ResolveItem(identifiers=[identifier("anonymous_id", "null")]),
            pb.ResolveItem(identifiers=[phone(1), identifier("device_id", "undefined")]),
            pb.ResolveItem(identifiers=[phone(2)], create_if_missing=False),
            pb.ResolveItem(identifiers=[phone(3)] * 21),
            pb.ResolveItem(identifiers=[identifier("shoe_size", "42")]),
            pb.ResolveItem(identifiers=[phone(4)], occur_time=Timestamp(seconds=10**15)),
            pb.ResolveItem(identifiers=[phone(4)], occur_time=Timestamp(seconds=-1)),
        ]

        answer = await caller.call("BatchResolve", pb.BatchResolveRequest(request_id=str(uuid4()), items=items))

        assert [_reason(it.status) for it in answer.results] == [
            "", "BAD_IDENTIFIER", "NO_USABLE_IDENTIFIER", "", "CUSTOMER_NOT_FOUND", "TOO_MANY_IDENTIFIERS",
            "UNKNOWN_NAMESPACE", "OUT_OF_RANGE", "OUT_OF_RANGE",
        ]  # fmt: skip
        created, matched = answer.results[0], answer.results[3]
        assert (created.outcome, matched.outcome) == (pb.OUTCOME_CREATED, pb.OUTCOME_MATCHED)
        assert created.customer_id == matched.customer_id == matched.node_id
        (dropped,) = matched.dropped
        assert (dropped.index, dropped.namespace, dropped.reason) == (1, "device_id", pb.DROP_REASON_BLOCKED)

    serve(check)


def test_the_lists_show_a_write_whose_position_the_reader_names(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        ids = [(await caller.call("ResolveIdentity", resolve(phone(it)))).customer_id for it in range(5)]
        visitor = await caller.call("ResolveIdentity", resolve(identifier("anonymous_id", "a")))
        seen: list[str] = []
        token = ""
        while True:
            request = pb.ListCustomersRequest(page_size=2, page_token=token)
            page = await caller.call("ListCustomers", request, scrm_position=caller.position)
            seen += [it.customer_id for it in page.customers]
            token = page.next_page_token
            if not token:
                break
        assert seen == sorted([*ids, visitor.customer_id])

        anonymous = pb.ListCustomersRequest(state=customer_pb2.CUSTOMER_STATE_ANONYMOUS)
        (shown,) = (await caller.call("ListCustomers", anonymous)).customers
        assert (shown.customer_id, dict(shown.identifier_counts)) == (visitor.customer_id, {"anonymous_id": 1})

        counts = await caller.call("GetIdentityStatistics", pb.GetIdentityStatisticsRequest())
        assert (counts.known_created, counts.anonymous_created, counts.known_customers) == (5, 1, 5)

    serve(check)


def test_another_tenants_customer_is_not_found(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        made = await caller.call("ResolveIdentity", resolve(phone(1)))
        theirs = pb.GetCustomerRequest(customer_id=made.customer_id)

        for found in (
            await caller.refused("GetCustomer", theirs, "other"),
            await caller.refused("GetCustomer", pb.GetCustomerRequest(customer_id=str(uuid4()))),
            await caller.refused("LookupCustomer", pb.LookupCustomerRequest(identifier=phone(1)), "other"),
            await caller.refused("ResolveIdentity", resolve(phone(1), customer_id=made.customer_id), "other"),
        ):
            assert (found.code, found.reason) == ("NOT_FOUND", "CUSTOMER_NOT_FOUND")
        listed = await caller.call("ListCustomers", pb.ListCustomersRequest(), "other")
        assert not listed.customers

    serve(check)


def test_refusals_name_the_field_and_never_the_value(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        found = await caller.refused("ResolveIdentity", resolve(phone(1), identifier("email", "jane(at)x.com")))

        assert (found.code, found.reason, found.domain) == ("INVALID_ARGUMENT", "BAD_IDENTIFIER", "identity.scrm")
        assert (found.fields, found.metadata) == (("identifiers[1].value",), {"ns": "email"})
        assert "jane" not in found.message
        for value in ("null", "1" * 2000):
            await caller.refused("LookupCustomer", pb.LookupCustomerRequest(identifier=identifier("phone", value)))

    serve(check)


def _reason(status: Any) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        detail.Unpack(info)
    return info.reason


def test_a_steward_merges_two_customers_and_takes_it_back(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        a = (await caller.call("ResolveIdentity", resolve(phone(1)))).customer_id
        b = (await caller.call("ResolveIdentity", resolve(phone(2), identifier("email", "b@example.com")))).customer_id
        before = [await caller.call("GetCustomer", pb.GetCustomerRequest(customer_id=it)) for it in (a, b)]

        preview = await caller.call("PreviewMerge", pb.PreviewMergeRequest(survivor_id=a, loser_id=b))
        assert (preview.refusal, list(preview.node_ids), preview.customer.etag) == ("", [b], "")
        merge = await caller.call("MergeCustomers", merging(a, b))
        assert list(merge.customer.node_ids) == list(preview.customer.node_ids) == [a, b]
        assert merge.customer.identifiers == preview.customer.identifiers
        undoing = pb.UnmergeCustomerRequest(request_id=str(uuid4()), merge_id=merge.merge_id, reason="TWO_PERSONS")
        undone = await caller.call("UnmergeCustomer", undoing)
        assert (undone.survivor.customer_id, undone.restored.customer_id) == (a, b)

        after = [await caller.call("GetCustomer", pb.GetCustomerRequest(customer_id=it)) for it in (a, b)]
        for one, other in zip(before, after, strict=True):
            one.customer.etag = other.customer.etag = ""
        assert after == before
        again = await caller.refused("UnmergeCustomer", pb.UnmergeCustomerRequest(
            request_id=str(uuid4()), merge_id=merge.merge_id, reason="TWO_PERSONS"
        ))  # fmt: skip
        assert again.reason == "ALREADY_UNMERGED"
        shown = await caller.call(
            "GetMergeHistory", pb.GetMergeHistoryRequest(customer_id=b), scrm_position=caller.position
        )
        assert [(it.merge_id, it.undo_reason) for it in shown.merges] == [(merge.merge_id, "TWO_PERSONS")]

    serve(check)


def test_a_preview_says_what_is_too_much_and_why_it_would_be_refused(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        a = (await caller.call("ResolveIdentity", resolve(phone(1), phone(2)))).customer_id
        b = (await caller.call("ResolveIdentity", resolve(phone(3)))).customer_id
        preview = await caller.call("PreviewMerge", pb.PreviewMergeRequest(survivor_id=a, loser_id=b))
        assert [(it.namespace, it.count, it.limit) for it in preview.exceeded_limits] == [("phone", 3, 2)]

        apart = pb.SetNeverMergeRequest(request_id=str(uuid4()), customer_id=a, other_customer_id=b)
        await caller.call("SetNeverMerge", apart)
        preview = await caller.call("PreviewMerge", pb.PreviewMergeRequest(survivor_id=a, loser_id=b))
        assert (preview.refusal, list(preview.node_ids)) == ("NEVER_MERGE", [])
        assert (await caller.refused("MergeCustomers", merging(a, b))).reason == "NEVER_MERGE"

        revoked = pb.RevokeNeverMergeRequest(request_id=str(uuid4()), customer_id=b, other_customer_id=a)
        await caller.call("RevokeNeverMerge", revoked)
        assert (await caller.call("MergeCustomers", merging(a, b))).merge_id

    serve(check)


def test_an_identifier_is_linked_and_unlinked_on_request(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        a = (await caller.call("ResolveIdentity", resolve(phone(1)))).customer_id
        email = identifier("email", "a@example.com")

        linked = await caller.call(
            "LinkIdentifier", pb.LinkIdentifierRequest(request_id=str(uuid4()), customer_id=a, identifier=email)
        )
        assert [it.namespace for it in linked.customer.identifiers] == ["phone", "email"]
        asked = pb.UnlinkIdentifierRequest(request_id=str(uuid4()), customer_id=a, identifier=email)
        unlinked = await caller.call("UnlinkIdentifier", asked)
        assert [it.namespace for it in unlinked.customer.identifiers] == ["phone"]
        assert await caller.call("UnlinkIdentifier", asked) == unlinked, "the same request has one effect"
        asked.request_id = str(uuid4())
        assert (await caller.refused("UnlinkIdentifier", asked)).reason == "IDENTIFIER_NOT_FOUND"

    serve(check)


def merging(survivor: str, loser: str) -> pb.MergeCustomersRequest:
    return pb.MergeCustomersRequest(
        request_id=str(uuid4()), survivor_id=survivor, loser_id=loser, reason="SAME_PERSON",
        evidence=pb.MERGE_EVIDENCE_STEWARD,
    )  # fmt: skip


def test_it_can_be_explained_why_two_traces_are_one_person(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        visitor = await caller.call("ResolveIdentity", resolve(identifier("anonymous_id", "a")))
        known = await caller.call("ResolveIdentity", resolve(phone(1)))
        login = resolve(phone(1), identifier("anonymous_id", "a"))
        await caller.call("ResolveIdentity", login)

        found = await caller.call("ExplainIdentity", pb.ExplainIdentityRequest(
            one=pb.Trace(identifier=identifier("anonymous_id", "a")), other=pb.Trace(customer_id=known.customer_id)
        ))  # fmt: skip

        assert found.customer_id == found.other_customer_id == known.customer_id
        kinds = [pb.ExplanationStep.Kind.Name(it.kind) for it in found.steps]
        assert kinds == ["KIND_CREATED", "KIND_CREATED", "KIND_MERGED"]
        merged = found.steps[-1]
        assert (merged.customer_id, merged.other_customer_id) == (known.customer_id, visitor.customer_id)
        assert (merged.call_id, merged.reason) == (login.request_id, "RESOLUTION")
        assert [(it.namespace, it.node_id) for it in merged.identifiers] == [
            ("phone", known.node_id),
            ("anonymous_id", visitor.node_id),
        ]

    serve(check)


def test_it_can_be_explained_why_two_traces_are_two_persons(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        a = (await caller.call("ResolveIdentity", resolve(phone(1)))).customer_id
        b = (await caller.call("ResolveIdentity", resolve(phone(2)))).customer_id
        await caller.call("ResolveIdentity", resolve(phone(1), phone(2)))
        merge = await caller.call("MergeCustomers", merging(a, b))
        await caller.call("UnmergeCustomer", pb.UnmergeCustomerRequest(
            request_id=str(uuid4()), merge_id=merge.merge_id, reason="TWO_PERSONS"
        ))  # fmt: skip

        found = await caller.call("ExplainIdentity", pb.ExplainIdentityRequest(
            one=pb.Trace(identifier=phone(1)), other=pb.Trace(identifier=phone(2))
        ))  # fmt: skip

        assert (found.customer_id, found.other_customer_id) == (a, b)
        told = [(pb.ExplanationStep.Kind.Name(it.kind).removeprefix("KIND_"), it.reason) for it in found.steps]
        assert told[:4] == [
            ("CREATED", ""), ("CREATED", ""), ("CONFLICT", "KNOWN_MEETS_KNOWN"), ("MERGED", "SAME_PERSON"),
        ]  # fmt: skip
        assert sorted(told[4:]) == [("KEPT_APART", ""), ("KEPT_APART", ""), ("UNMERGED", "TWO_PERSONS")]

        nobody = pb.ExplainIdentityRequest(one=pb.Trace(identifier=phone(1)), other=pb.Trace(identifier=phone(9)))
        refused = await caller.refused("ExplainIdentity", nobody)
        assert refused.reason == "CUSTOMER_NOT_FOUND"

    serve(check)


def test_consents_and_channels_are_read_as_they_were_said(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        a = (await caller.call("ResolveIdentity", resolve(phone(1)))).customer_id
        marketing: dict[str, Any] = {"customer_id": a, "purpose": consent_pb2.CONSENT_PURPOSE_MARKETING}
        granted: dict[str, Any] = {"state": consent_pb2.CONSENT_STATE_GRANTED, "policy_version": "v1", "source": "FORM"}
        await caller.call(
            "RecordConsent", privacy.RecordConsentRequest(request_id=str(uuid4()), **marketing, **granted)
        )
        stop: dict[str, Any] = {"channel": "SMS", "source": "SMS_REPLY"}
        await caller.call(
            "WithdrawConsent", privacy.WithdrawConsentRequest(request_id=str(uuid4()), **marketing, **stop)
        )
        oa: dict[str, Any] = {"customer_id": a, "channel": "OA", "reachable": True, "reason": "FOLLOWED"}
        await caller.call(
            "SetChannelReachability", privacy.SetChannelReachabilityRequest(request_id=str(uuid4()), **oa)
        )

        found = await caller.call("GetPermissions", privacy.GetPermissionsRequest(customer_id=a))
        said = [(it.channel, it.state, it.policy_version, it.source) for it in found.consents]
        assert said == [
            ("", consent_pb2.CONSENT_STATE_GRANTED, "v1", "FORM"),
            ("SMS", consent_pb2.CONSENT_STATE_WITHDRAWN, "", "SMS_REPLY"),
        ]
        assert [(it.channel, it.reachable, it.reason) for it in found.channels] == [("OA", True, "FOLLOWED")]

        unproven = privacy.RecordConsentRequest(
            request_id=str(uuid4()), **marketing, **granted | {"policy_version": ""}
        )
        refused = await caller.refused("RecordConsent", unproven)
        assert (refused.reason, refused.fields) == ("FIELD_REQUIRED", ("policy_version",))

    serve(check)


def test_what_was_decided_inside_another_customer_is_explained_too(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        a, b, c = [(await caller.call("ResolveIdentity", resolve(phone(it)))).customer_id for it in range(3)]
        inner = (await caller.call("MergeCustomers", merging(b, c))).merge_id
        await caller.call("MergeCustomers", merging(a, b))
        await caller.call("UnmergeCustomer", pb.UnmergeCustomerRequest(
            request_id=str(uuid4()), merge_id=inner, reason="TWO_PERSONS"
        ))  # fmt: skip

        found = await caller.call("ExplainIdentity", pb.ExplainIdentityRequest(
            one=pb.Trace(customer_id=a), other=pb.Trace(customer_id=c)
        ))  # fmt: skip

        told = [(pb.ExplanationStep.Kind.Name(it.kind).removeprefix("KIND_"), it.merge_id) for it in found.steps]
        assert ("MERGED", inner) in told
        assert ("UNMERGED", inner) in told
        assert [kind for kind, _ in told].count("KEPT_APART") >= 1

    serve(check)


def test_an_erasure_case_is_requested_listed_and_cancelled(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        made = await caller.call("ResolveIdentity", resolve(phone(1)))
        asked = {"customer_id": made.customer_id, "legal_basis": "PIPL_47"}
        unverified = privacy.RequestErasureRequest(request_id=str(uuid4()), **asked)
        found = await caller.refused("RequestErasure", unverified)
        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "VERIFICATION_REQUIRED")

        verified = privacy.RequestErasureRequest(request_id=str(uuid4()), verified_by="staff/7", **asked)
        case = (await caller.call("RequestErasure", verified)).case
        assert (case.customer_id, case.state) == (made.customer_id, erasure_pb2.ERASURE_STATE_VERIFIED)
        again = privacy.RequestErasureRequest(request_id=str(uuid4()), verified_by="staff/7", **asked)
        assert (await caller.refused("RequestErasure", again)).reason == "ERASURE_OPEN"
        certificate = privacy.GetErasureCertificateRequest(case_id=case.case_id)
        assert (await caller.refused("GetErasureCertificate", certificate)).reason == "ERASURE_UNFINISHED"
        foreign = await caller.refused("GetErasureCase", privacy.GetErasureCaseRequest(case_id=case.case_id), "globex")
        assert foreign.reason == "ERASURE_CASE_NOT_FOUND"

        cancelled = privacy.CancelErasureRequest(request_id=str(uuid4()), case_id=case.case_id)
        assert (await caller.call("CancelErasure", cancelled)).case.closing_reason == "CANCELLED"
        listed = await caller.call("ListErasureCases", privacy.ListErasureCasesRequest(), scrm_position=caller.position)
        assert [(it.case_id, it.state) for it in listed.cases] == [(case.case_id, erasure_pb2.ERASURE_STATE_REJECTED)]
        none = privacy.ListErasureCasesRequest(state=erasure_pb2.ERASURE_STATE_ERASED)
        assert not (await caller.call("ListErasureCases", none)).cases

    serve(check)


def test_a_customer_gets_all_that_is_known_and_that_it_was_read_is_recorded(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        made = await caller.call("ResolveIdentity", resolve(phone(1), identifier("email", "ann@x.com")))
        other = await caller.call("ResolveIdentity", resolve(phone(2)))
        await caller.call("MergeCustomers", merging(made.customer_id, other.customer_id))
        await caller.call(
            "RecordConsent",
            privacy.RecordConsentRequest(
                request_id=str(uuid4()),
                customer_id=other.customer_id,
                purpose=consent_pb2.CONSENT_PURPOSE_MARKETING,
                channel="SMS",
                state=consent_pb2.CONSENT_STATE_GRANTED,
                policy_version="v7",
                source="REGISTRATION_FORM",
            ),
        )
        asked = privacy.ExportCustomerRequest(customer_id=other.customer_id, purpose="ACCESS_REQUEST")
        assert (await caller.refused("ExportCustomer", asked)).reason == "MISSING_SCOPE"
        told: dict[str, list[Any]] = {}
        pages = 0
        while True:
            page = await caller.call(
                "ExportCustomer", asked, scopes=(*SCOPES, "identity.pii"), scrm_position=caller.position
            )
            pages += 1
            for record in map(json.loads, page.lines):
                told.setdefault(record.pop("section"), []).append(record)
            if not page.next_page_token:
                break
            asked.page_token = page.next_page_token
        assert pages == len(SECTIONS)
        assert {it["value"] for it in told["identifiers"]} == {"+8613800000001", "+8613800000002", "ann@x.com"}
        assert told["customer"][0]["node_ids"] == [made.customer_id, other.customer_id]
        assert [(it["node_id"], it["policy_version"]) for it in told["consents"]] == [(other.customer_id, "v7")]
        assert [it["loser_id"] for it in told["merges"]] == [other.customer_id]

    serve(check)
