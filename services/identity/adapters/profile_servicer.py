"""Profiles over gRPC: who is meant, what is known of them section by section, and what happened to them."""

from collections.abc import Collection, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import current
from chassis.grpc_server import ServicerContext
from chassis.paging import Keyset
from chassis.read_models import ReadModels
from scrm.identity.v1 import profile_pb2
from scrm.identity.v1 import profile_service_pb2 as pb
from scrm.identity.v1.profile_service_pb2_grpc import ProfileServiceServicer
from services.identity.adapters import wire
from services.identity.adapters.profile_search import Question, search
from services.identity.adapters.profile_sections.registry import SECTIONS
from services.identity.adapters.profile_sections.section import Asked, Section, facts_of, timestamp
from services.identity.adapters.source_watch import SourceWatch
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.org_queries import get_settings, guide_of, require_own_customer
from services.identity.application.pii_views import may_see, record_view
from services.identity.application.queries import get_customer, lookup_customer, permissions_of
from services.identity.application.searching import exact_matches
from services.identity.application.tenant_rules import TenantRules
from services.identity.domain.availability import SourceStates, Status, availability
from services.identity.domain.customer import Customer
from services.identity.domain.errors import CustomerNotFound
from services.identity.domain.identifiers import IdentifierReader
from services.identity.domain.name_index import NameHashes, words_of
from services.identity.read_models.customer_directory import customers
from services.identity.read_models.customer_guides import within
from services.identity.read_models.profile.sources import told_until
from services.identity.read_models.profile.timeline import Place, Wanted, page_of

BY_PLACE: Final = Keyset(datetime, str)
BY_MATCH: Final = Keyset(int, str, UUID)

_KINDS: Final = {number: name.removeprefix("TIMELINE_KIND_") for name, number in profile_pb2.TimelineKind.items()}
_NUMBERS: Final = {name: number for number, name in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class ProfileParts:
    """What profiles are made with: what reads, opens and hashes personal values, and how far sources are."""

    reader: IdentifierReader
    hashes: NameHashes
    unsealer: Unsealer
    watch: SourceWatch


class ProfileServicer(ProfileServiceServicer):
    """One method per RPC; refusals are raised, and answered by the steps around."""

    def __init__(self, bus: CommandBus, read_models: ReadModels, clock: Clock, parts: ProfileParts) -> None:
        self._bus = bus
        self._read_models = read_models
        self._clock = clock
        self._reader = parts.reader
        self._rules = TenantRules(bus, parts.reader)
        self._hashes = parts.hashes
        self._unsealer = parts.unsealer
        self._watch = parts.watch

    async def GetProfile360(
        self, request: pb.GetProfile360Request, context: ServicerContext
    ) -> pb.GetProfile360Response:
        customer = await self._meant(request)
        sections = [it for kind, it in SECTIONS.items() if not request.sections or kind in request.sections]
        states = await self._watch.states()
        asked = await self._asked(customer, {it.field for it in sections}, request.purpose)
        here = copy_context()  # queries run in threads of their own, which know of no call
        found = await self._read_models.query(lambda rows: here.run(_read, rows, asked, sections, states))
        await record_view(self._bus, customer.id, asked.viewed, request.purpose)
        return pb.GetProfile360Response(customer_id=str(customer.id), sections=found)

    async def GetTimeline(self, request: pb.GetTimelineRequest, context: ServicerContext) -> pb.GetTimelineResponse:
        page, wanted = BY_PLACE.page(request), _wanted(request)
        after: Place | None = (page.after[0], page.after[1]) if page.after else None
        await require_own_customer(self._bus, UUID(request.customer_id), self._clock.now())
        customer = (await get_customer(self._bus, UUID(request.customer_id))).customer
        nodes = list(customer.nodes)
        rows = await self._read_models.query(lambda rows: page_of(rows, nodes, wanted, after, page.limit))
        shown, token = BY_PLACE.cut(request, rows, lambda it: [it.occurred_at, it.event_id])
        return pb.GetTimelineResponse(
            customer_id=str(customer.id), entries=[_entry(it) for it in shown], next_page_token=token
        )

    async def SearchCustomers(
        self, request: pb.SearchCustomersRequest, context: ServicerContext
    ) -> pb.SearchCustomersResponse:
        page, query = BY_MATCH.page(request), request.query.strip()
        after = (page.after[0], page.after[1], page.after[2]) if page.after else None
        tenant = current().tenant
        await self._rules.refresh()
        exact = await exact_matches(self._bus, self._reader, tenant, query)
        stores, now = current().stores, self._clock.now()
        only = None if stores is None else within(customers.c.customer, stores, now)
        question = Question(exact, self._hashes.of(tenant, words_of(query)), query, only)
        found = await self._read_models.query(lambda rows: search(rows, question, after, page.limit))
        shown, token = BY_MATCH.cut(request, found, lambda it: [it[0][0], it[0][1], str(it[0][2])])
        return pb.SearchCustomersResponse(hits=[hit for _, hit in shown if hit], next_page_token=token)

    async def _asked(self, customer: Customer, fields: Collection[str], purpose: str) -> Asked:
        """With what sections show that is read from the event store."""
        now = self._clock.now()
        return Asked(
            customer=customer,
            permissions=await permissions_of(self._bus, customer) if "permissions" in fields else [],
            guide=await guide_of(self._bus, customer, now) if "guide" in fields else None,
            at=now,
            zone=ZoneInfo((await get_settings(self._bus)).time_zone),
            unsealer=self._unsealer,
            unmasked=may_see(purpose),
        )

    async def _meant(self, request: pb.GetProfile360Request) -> Customer:
        """Raises StoreScope and CustomerNotFound."""
        now = self._clock.now()
        if request.HasField("customer_id"):
            await require_own_customer(self._bus, UUID(request.customer_id), now)
            return (await get_customer(self._bus, UUID(request.customer_id))).customer
        await self._rules.refresh()
        identifier = self._reader.read_one(current().tenant, wire.given(request.identifier))
        try:
            found = await lookup_customer(self._bus, identifier)
        except CustomerNotFound:
            current().require_store(None)
            raise
        await require_own_customer(self._bus, found.node_id, now)
        return found.customer


def _read(
    rows: sa.Connection, asked: Asked, sections: Sequence[Section], states: SourceStates
) -> list[profile_pb2.ProfileSection]:
    """All sections as of one moment; those that cannot be relied on are not even read."""
    has_read = any(it.is_read for it in states.streams.values())  # before that there may be no table to ask
    told = told_until(rows) if has_read else {}
    return [_section(rows, asked, it, states, told) for it in sections]


def _section(
    rows: sa.Connection, asked: Asked, section: Section, states: SourceStates, told: Mapping[str, datetime]
) -> profile_pb2.ProfileSection:
    found = availability(section.streams, states, told, asked.at)
    answer = profile_pb2.ProfileSection(
        kind=section.kind,
        status=profile_pb2.SectionStatus.Value(f"SECTION_STATUS_{found.status}"),
        cause=profile_pb2.SectionCause.Value(f"SECTION_CAUSE_{found.cause or 'UNSPECIFIED'}"),
        as_of_time=timestamp(found.as_of),
    )
    if found.status is not Status.UNAVAILABLE:
        getattr(answer, section.field).CopyFrom(section.read(rows, asked))
        getattr(answer, section.field).SetInParent()
    return answer


def _wanted(request: pb.GetTimelineRequest) -> Wanted:
    return Wanted(
        kinds=[_KINDS[it] for it in request.kinds],
        types=list(request.types),
        start=wire.given_instant(request, "start_time"),
        end=wire.given_instant(request, "end_time"),
    )


def _entry(row: Any) -> profile_pb2.TimelineEntry:
    return profile_pb2.TimelineEntry(
        event_id=row.event_id,
        kind=_NUMBERS[row.kind],
        type=row.type,
        service=row.service,
        occur_time=timestamp(row.occurred_at),
        node_id=str(row.node),
        ref=row.ref,
        facts={key: _text(it) for key, it in facts_of(row).items()},
    )


def _text(fact: Any) -> str:
    return ",".join(map(str, fact)) if isinstance(fact, list) else str(fact)
