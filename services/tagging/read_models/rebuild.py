"""Everything DERIVED made again from the two logs, and the live tables brought in line with it.

The new tables grow as temporary ones of the same names, which hide the live ones from the functions that write them.
When they have caught up, intake and commands are held for a moment, and what differs is changed in one transaction: a
reader sees the tables as before or as after. Where all is well nothing differs; what does is returned, as a measure of
drift.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis import inbox
from chassis.aggregate import Event
from chassis.consumer import Incoming
from chassis.event_store import EventStore, Recorded
from services.tagging.application.fact_messages import facts_of
from services.tagging.application.layer_review import decide
from services.tagging.application.ports import RuleState
from services.tagging.domain.asset_alerts import AssetAlert
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.claims import GIVEN, GIVING, Assignment, said, sets_of
from services.tagging.domain.clusterings import Clustering
from services.tagging.domain.history import Reads
from services.tagging.domain.layer_models import LayerModel
from services.tagging.domain.layers.view import NONE, View
from services.tagging.domain.lookalikes import Lookalike
from services.tagging.domain.memberships import MembershipCause, MembershipChange
from services.tagging.domain.rules import RULES, follow
from services.tagging.domain.segments import Segment, SegmentKind
from services.tagging.domain.sessions import sessions
from services.tagging.domain.tags import BY_FACTS, EXITS, CustomerTags
from services.tagging.domain.tenant_settings import DEFAULT_ZONE, TenantSettings
from services.tagging.read_models import (
    analyses,
    audiences,
    bitmaps,
    directory,
    erasure,
    histories,
    layers,
    memberships,
    rule_states,
    segments,
    settings,
    sql,
    tag_holders,
    visits,
)
from services.tagging.read_models.intake import take_in
from services.tagging.read_models.live_segments import LiveSegments
from services.tagging.read_models.memberships import Moves
from services.tagging.read_models.schema import DERIVED

_CHUNK: Final = 2000
_BEGINNING: Final = datetime.fromisoformat("0001-01-02T00:00:00+00:00")
_AS_OF: Final = (
    "INSERT INTO intake SELECT tenant, 0, as_of FROM public.intake WHERE tenant = %s"
    " ON CONFLICT (tenant) DO UPDATE SET as_of = excluded.as_of"
)
_LISTED: Final = (
    "SELECT m.segment, c.ordinal FROM static_members m"
    " JOIN nodes n ON n.tenant = m.tenant AND n.node = m.node"
    " JOIN nodes c ON c.tenant = n.tenant AND c.node = n.customer WHERE m.tenant = %s"
)


class Drift(NamedTuple):
    """Rows of a live table that should not have been there, and rows that were missing."""

    removed: int
    added: int


def rebuild(engine: sa.Engine, store: EventStore) -> dict[str, Drift]:
    """Make all derived tables again; how each of the live ones differed."""
    with engine.connect() as rows:
        try:
            return _rebuilt(rows, store)
        finally:
            rows.invalidate()  # closed for good, and the temporary tables with it


def _rebuilt(rows: sa.Connection, store: EventStore) -> dict[str, Drift]:
    with rows.begin():
        for table in DERIVED.tables:
            sql.run(rows, f"CREATE TEMPORARY TABLE {table} (LIKE public.{table} INCLUDING ALL)")
        position = _catch_up(rows, 0)
    with rows.begin():
        sql.run(rows, "LOCK TABLE public.intake IN EXCLUSIVE MODE")
        _catch_up(rows, position)
        _decisions(rows, store)
        return {table: _bring_in_line(rows, table) for table in DERIVED.tables}


def fingerprint(rows: sa.Connection) -> str:
    """SHA-256 (hex) over all rows of all derived tables, in the order of their text."""
    digest = hashlib.sha256()
    sql.run(rows, "SET LOCAL TimeZone = 'UTC'")
    for table in sorted(DERIVED.tables):
        columns = ", ".join(it.name for it in DERIVED.tables[table].columns if it.name != "as_of")
        digest.update(f"\x1e{table}\n".encode())
        query = sa.text(f'SELECT ROW({columns})::text COLLATE "C" FROM {table} ORDER BY 1')  # noqa: S608
        for chunk in rows.execution_options(yield_per=5000).scalars(query).partitions():
            digest.update("\n".join(chunk).encode() + b"\n")
    return digest.hexdigest()


def _catch_up(rows: sa.Connection, position: int) -> int:
    """Take in the inbox after `position`; the position reached."""
    while kept := inbox.read(rows, position, _CHUNK):
        position = kept[-1][0]
        for tenant, messages in _by_tenant(message for _, message in kept).items():
            audiences.lock(rows, tenant, _BEGINNING, len(messages))
            take_in(rows, tenant, facts_of(messages))
    return position


def _by_tenant(messages: Iterable[Incoming]) -> Mapping[str, list[Incoming]]:
    found: dict[str, list[Incoming]] = {}
    for message in messages:
        found.setdefault(message.tenant, []).append(message)
    return found


@dataclass(slots=True)
class _Decided:
    """What a tenant's own events say: its zone, its segments, and who has which tag."""

    zone: str = DEFAULT_ZONE
    currency: str | None = None
    segments: dict[UUID, Segment] = field(default_factory=dict)
    models: dict[UUID, LayerModel] = field(default_factory=dict)
    tagged: dict[UUID, dict[str, Assignment]] = field(default_factory=dict)
    holders: set[tuple[str, UUID]] = field(default_factory=set)
    said: dict[UUID, dict[tuple[str, str], Assignment]] = field(default_factory=dict)
    """What rules and facts say, by slot and origin."""

    def hear(self, customer: UUID, it: Assignment) -> None:
        if it.origin in BY_FACTS:
            self.said.setdefault(customer, {})[it.key, it.origin] = it

    def follow(self, event: Event) -> None:
        """Bring a model of layers up to date."""
        model = event.mutate(self.models.get(event.originator_id))
        if isinstance(model, LayerModel):
            self.models[event.originator_id] = model


def _decisions(rows: sa.Connection, store: EventStore) -> None:
    """Take in the service's own events, and find out what follows from them and the facts together."""
    decided: dict[str, _Decided] = {}
    for it in _events(store):
        _decision(rows, decided.setdefault(it.tenant, _Decided()), it)
    tenants = {tenant for (tenant,) in sql.fetch(rows, "SELECT tenant FROM public.intake")}
    for tenant in sorted(tenants):
        own = decided.get(tenant, _Decided())
        sql.run(rows, _AS_OF, tenant)
        if own.currency is not None:
            settings.keep(rows, tenant, own.zone, own.currency)
        tag_holders.note(rows, tenant, own.holders)
        erasure.unlist(rows, tenant)
        _tags(rows, tenant, own)
        _layers(rows, tenant, Calendar.of(own.zone), own.models.values())
        _sets(rows, tenant, own)
        _states(rows, tenant, Calendar.of(own.zone))


def _events(store: EventStore) -> Iterator[Recorded]:
    position = 0
    while found := store.read_log(position, _CHUNK):
        position = found[-1].position
        yield from found


def _decision(rows: sa.Connection, decided: _Decided, recorded: Recorded) -> None:
    event = recorded.event
    _tag_decision(decided, event)
    match event:
        case TenantSettings.Updated(time_zone=zone, currency=currency):
            decided.zone, decided.currency = zone, currency
        case MembershipChange.Happened(segment=segment) as happened if happened.cause is not MembershipCause.ERASURE:
            moves = Moves(segment, happened.number, happened.at, happened.cause, happened.entered, happened.exited)
            memberships.keep(rows, recorded.tenant, [moves])
        case Segment.Defined() | Segment.Updated() | Segment.Archived():
            id = event.originator_id
            changed = event.mutate(decided.segments.get(id))
            if isinstance(changed, Segment):
                decided.segments[id] = changed
        case AssetAlert.Defined() | AssetAlert.Read() | AssetAlert.Raised() | Lookalike.Built() | Clustering.Built():
            analyses.keep_again(rows, recorded.tenant, event)
        case LayerModel.Defined() | LayerModel.Updated() | LayerModel.Activated():
            decided.follow(event)
        case Segment.MembersAdded(nodes=nodes):
            segments.list_nodes(rows, recorded.tenant, event.originator_id, nodes)
        case Segment.MembersRemoved(nodes=nodes):
            segments.unlist_nodes(rows, recorded.tenant, event.originator_id, nodes)


def _tag_decision(decided: _Decided, event: object) -> None:
    match event:
        case CustomerTags.Assigned(customer=customer, assignment=it, cause=cause):
            decided.tagged.setdefault(customer, {})[it.key] = it
            if cause in GIVING.values():
                decided.holders.add((it.tag, it.node))
            decided.hear(customer, it)
        case CustomerTags.Removed(customer=customer, tag=tag, slot=slot, source=source, cause=cause):
            del decided.tagged[customer][slot or tag]
            if cause in EXITS:
                decided.said.get(customer, {}).pop((slot or tag, source.partition(":")[0]), None)
        case CustomerTags.Offered(customer=customer, assignment=it):
            if it.origin in GIVEN:
                decided.holders.add((it.tag, it.node))
            decided.hear(customer, it)
        case CustomerTags.Withdrawn(customer=customer, tag=key, origin=origin):
            decided.said.get(customer, {}).pop((key, origin), None)
        case CustomerTags.Repointed(customer=customer, into=into):
            decided.holders.add((into, customer))


def _tags(rows: sa.Connection, tenant: str, decided: _Decided) -> None:
    tagged: dict[str, BitMap] = {}
    names: dict[UUID, set[str]] = {it: sets_of(theirs.values()) for it, theirs in decided.tagged.items() if theirs}
    for customer, told in decided.said.items():
        if told:
            names.setdefault(customer, set()).update(said(it.tag, it.value) for it in told.values())
    found = directory.canonical(rows, tenant, names)
    for customer, theirs in names.items():
        for name in theirs:
            tagged.setdefault(name, BitMap()).add(found[customer].ordinal)
    for name, customers in tagged.items():
        bitmaps.replace(rows, tenant, bitmaps.of_tag(name), customers)


def _sets(rows: sa.Connection, tenant: str, decided: _Decided) -> None:
    listed: dict[UUID, BitMap] = {}
    for segment, ordinal in sql.fetch(rows, _LISTED, tenant):
        listed.setdefault(segment, BitMap()).add(ordinal)
    for id, it in decided.segments.items():
        segments.keep(rows, tenant, id, it)
    for id, it in decided.segments.items():
        if it.definition.kind is SegmentKind.STATIC and not it.archived:
            bitmaps.replace(rows, tenant, bitmaps.of_segment(id), listed.get(id, BitMap()))
    for one in LiveSegments().of(rows, tenant):
        if one.realtime:
            now = segments.Sets(rows, tenant).of(one.listing.definition, one.listing.universe)
        else:  # as it was found last
            now = memberships.members(rows, tenant, one.listing.id)
        bitmaps.replace(rows, tenant, bitmaps.of_segment(one.listing.id), now)


def _states(rows: sa.Connection, tenant: str, calendar: Calendar) -> None:
    ((as_of,),) = sql.fetch(rows, "SELECT as_of FROM intake WHERE tenant = %s", tenant)
    after = -1
    while page := visits.customers_with_visits(rows, tenant, after, _CHUNK):
        after = page[-1][1]
        by_customer = visits.of_customers(rows, tenant, [row[0] for row in page])
        for rule in RULES:
            states = {}
            for customer, theirs in by_customer.items():
                course = follow(rule, sessions(theirs), calendar, as_of)
                states[customer] = RuleState(course.assigned, course.first, course.next_change)
            rule_states.keep(rows, tenant, rule.tag, states)


def _layers(rows: sa.Connection, tenant: str, calendar: Calendar, models: Iterable[LayerModel]) -> None:
    """Put all customers into the layers of the active models."""
    ((as_of,),) = sql.fetch(rows, "SELECT as_of FROM intake WHERE tenant = %s", tenant)
    for model in models:
        layers.keep_model(rows, tenant, model)
    for it in layers.active(rows, tenant):
        members: dict[str, BitMap] = {}
        for page in layers.pages(rows, tenant, it.universe):
            found = histories.histories(rows, tenant, list(page), Reads())
            states = {who: decide(it, View.of(history, calendar, as_of)) for who, history in found.items()}
            layers.keep_states(rows, tenant, it.key, states)
            for who, state in states.items():
                members.setdefault(state.layer, BitMap()).add(page[who])
        members.pop(NONE, None)
        for layer, ordinals in members.items():
            bitmaps.replace(rows, tenant, bitmaps.of_layer(it.key, layer), ordinals)


def _bring_in_line(rows: sa.Connection, table: str) -> Drift:
    """Make a live table equal to the new one."""
    key = ", ".join(it.name for it in DERIVED.tables[table].primary_key)
    columns = ", ".join(it.name for it in DERIVED.tables[table].columns if it.computed is None)
    removed = sql.run(
        rows,
        f"DELETE FROM public.{table} WHERE ({key}) IN (SELECT {key} FROM"  # noqa: S608
        f" (SELECT {columns} FROM public.{table} EXCEPT SELECT {columns} FROM pg_temp.{table}) AS wrong)",
    )
    added = sql.run(
        rows,
        f"INSERT INTO public.{table} ({columns}) SELECT {columns} FROM pg_temp.{table} EXCEPT SELECT {columns} FROM public.{table}",  # noqa: S608
    )
    return Drift(removed, added)
