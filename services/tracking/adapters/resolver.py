"""The resolver: gives every accepted event its identity node, in the order in which they were accepted.

`Resolver(engine, identity)` is a `Loop`. It reads what is accepted behind its cursor, asks identity in batches, and
appends behaviours and moves the cursor in one transaction. While identity does not answer it waits; nothing is lost.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid4

import orjson
import sqlalchemy as sa

from chassis.context import Context
from chassis.leadership import leading, persevere
from chassis.loops import Progress
from chassis.postgres import driver_cursor, reading
from chassis.pulse import News, Pulse
from chassis.quick_look import QuickLook
from chassis.threads import in_thread
from scrm.tracking.v1 import behaviour_pb2
from services.tracking.adapters import binary_copy as pg
from services.tracking.adapters.identity_client import Asked
from services.tracking.adapters.ingest_rows import QUARANTINE_COLUMNS, Tallies, aside_row, microseconds
from services.tracking.adapters.ingest_writer import LOCK_CLASS
from services.tracking.application.resolving import Identity, questions
from services.tracking.domain.errors import CustomerErased
from services.tracking.domain.event_types import CODES, SUBJECTS
from services.tracking.domain.identifiers import is_blocked
from services.tracking.domain.intake import Outcome, Reason, quarantined
from services.tracking.domain.plan import PRESET_PLAN, Plan

BEHAVIOUR_COLUMNS: Final = (
    "position", "tenant", "node", "occurred_at", "received_at", "message_id", "source_key", "event_type", "category",
    "late", "channel", "app", "page", "content_id", "page_view_id", "code_key", "delivery_id", "share_id", "staff_code",
    "tz_offset_minutes", "properties", "traceparent", "subject", "group_id",
)  # fmt: skip

NO_PLANS: Final[Mapping[str, Plan]] = {}

_CURSOR: Final = sa.text("SELECT position FROM resolver_cursor WHERE name = 'resolve'")
_READ: Final = sa.text(
    "SELECT position, tenant, received_at, occurred_at, source_key, message_id, event_type, late, payload, traceparent"
    " FROM accepted WHERE position > :after ORDER BY position LIMIT :limit"
)
_HEAD: Final = "SELECT coalesce(max(position), 0) FROM accepted"
_WAITING: Final = f"SELECT ({_HEAD}) > ({_CURSOR.text})"
_MOVE: Final = sa.text("UPDATE resolver_cursor SET position = :now WHERE name = 'resolve' AND position = :was")
_TURN: Final = sa.text("SELECT pg_advisory_xact_lock(:lock, hashtext('behaviours'))")
_DROP: Final = (
    "DELETE FROM accepted a USING unnest(%s::bigint[], %s::timestamptz[]) AS k(position, received_at)"
    " WHERE (a.position, a.received_at) = (k.position, k.received_at)"
)
_TALLY_TURN: Final = "SELECT pg_advisory_xact_lock(%s, hashtext('accepted'))"


class CursorMoved(Exception):
    """Somebody else resolved these events meanwhile."""


class Plans(Protocol):
    """Who knows the tracking plans."""

    async def covering(self, tenant: str, names: Collection[str]) -> Plan: ...


class Nodes(Protocol):
    """Who knows the nodes of identities."""

    async def nodes(self, asked: Sequence[Asked], context: Context, request: UUID) -> list[UUID | str]: ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that waits for its node."""

    position: int
    tenant: str
    received_at: datetime
    occurred_at: datetime
    source_key: str
    message_id: str
    event_type: str
    late: bool
    payload: bytes
    traceparent: str | None
    event: behaviour_pb2.TrackedEvent


class Resolver:
    """`resolved` counts events, `batches` the transactions they took."""

    name = "resolve"

    def __init__(
        self,
        engine: sa.Engine,
        identity: Nodes,
        *,
        plans: Plans | None = None,
        poll: float = 0.05,
        pulse: Pulse | None = None,
        batch_limit: int = 2000,
    ) -> None:
        self.resolved = 0
        self.batches = 0
        self._engine = engine
        self._identity = identity
        self._plans = plans
        self._poll = poll
        self._pulse = pulse or Pulse()
        self._news = self._pulse.listener(News.BESIDE)
        self._batch_limit = batch_limit

    async def run(self) -> None:
        """Resolve whenever this resolver leads, until cancelled."""
        await persevere(self.name, self._lead)

    async def progress(self) -> list[Progress]:
        """`position` is the last event resolved, `head` the last one accepted."""
        look = QuickLook.of(self._engine)  # the cursor first: rather too much backlog is told than too little
        asked = look.ask_scalar(_CURSOR.text), look.ask_scalar(_HEAD)
        position, head = await asked[0] or 0, await asked[1]
        return [Progress("loop", self.name, position, max(0, head - position), head)]

    async def step(self) -> int:
        """Resolve the next events; how many there were. Raises Unavailable while identity does not answer."""
        if not await QuickLook.of(self._engine).ask_scalar(_WAITING):
            return 0
        accepted = await in_thread(self._read)
        if accepted:
            nodes: dict[int, UUID | str] = {}
            plans: dict[str, Plan] = {}
            for tenant in sorted({it.tenant for it in accepted}):
                mine = [it for it in accepted if it.tenant == tenant]
                nodes |= await self._nodes(tenant, mine)
                plans[tenant] = await self._plan(tenant, mine)
            await in_thread(self._write, accepted, nodes, plans)
            self.resolved += len(accepted)
            self.batches += 1
            self._pulse.beat(News.BESIDE)
        return len(accepted)

    async def _lead(self) -> None:
        async with leading(self._engine, "tracking/resolve") as leadership:
            await leadership.work(self.step, lambda: self._news.wait(self._poll))

    async def _nodes(self, tenant: str, accepted: Sequence[Accepted]) -> dict[int, UUID | str]:
        """The node of each event by its position, or the reason why there is none; asking again gives the same nodes."""
        asked = questions([_identity(it.event) for it in accepted])
        firsts = [accepted[it.events[0]] for it in asked]
        answers = await self._identity.nodes(
            [Asked(it.identity, first.occurred_at) for it, first in zip(asked, firsts, strict=True)],
            Context.system(tenant, self.name),
            uuid4(),
        )
        return {
            accepted[place].position: answer
            for question, answer in zip(asked, answers, strict=True)
            for place in question.events
        }

    async def _plan(self, tenant: str, accepted: Sequence[Accepted]) -> Plan:
        """The plan of the tenant that knows the types of what was accepted."""
        if self._plans is None:
            return PRESET_PLAN
        return await self._plans.covering(tenant, {it.event_type for it in accepted})

    def _read(self) -> list[Accepted]:
        with reading(self._engine) as rows:
            after = rows.scalar(_CURSOR)
            found = rows.execute(_READ, {"after": after, "limit": self._batch_limit}).mappings().all()
        parse = behaviour_pb2.TrackedEvent.FromString
        return [Accepted(**it, event=parse(it["payload"])) for it in found]

    def _write(
        self, accepted: Sequence[Accepted], nodes: dict[int, UUID | str], plans: Mapping[str, Plan] = NO_PLANS
    ) -> None:
        """Append behaviours; an event that identity refuses is put aside, and counted so after all.

        Of one about somebody who is being erased nothing is kept but the count.
        """
        behaviours: list[bytes] = []
        quarantine: list[bytes] = []
        dropped: list[Accepted] = []
        tallies = Tallies()
        for it in accepted:
            node = nodes[it.position]
            if isinstance(node, UUID):
                behaviours.append(_row(it, node, plans.get(it.tenant, PRESET_PLAN)))
            elif node == CustomerErased.reason:
                dropped.append(it)
                _count_refused(it, Reason.CUSTOMER_ERASED, tallies)
            else:
                quarantine.append(_put_aside(it, node, tallies))
        with self._engine.begin() as rows:
            rows.execute(_TURN, {"lock": LOCK_CLASS})
            was = rows.scalar(_CURSOR)
            if was is None or was >= accepted[0].position:
                raise CursorMoved
            if rows.execute(_MOVE, {"was": was, "now": accepted[-1].position}).rowcount != 1:
                raise CursorMoved
            with driver_cursor(rows) as cursor:
                if behaviours:
                    pg.copy_rows(cursor, "behaviours", BEHAVIOUR_COLUMNS, behaviours)
                if dropped:
                    cursor.execute(_DROP, [[it.position for it in dropped], [it.received_at for it in dropped]])
                if quarantine or dropped:
                    cursor.execute(_TALLY_TURN, [LOCK_CLASS])
                    tallies.write(cursor)
                if quarantine:
                    pg.copy_rows(cursor, "quarantine", QUARANTINE_COLUMNS, quarantine)


def _identity(event: behaviour_pb2.TrackedEvent) -> Identity:
    """What identity can be asked with: identifiers that are none are left out."""
    usable = [(it.namespace, it.scope, it.value, it.verified) for it in event.identifiers if not is_blocked(it.value)]
    return tuple(usable), event.authenticated


def _row(accepted: Accepted, node: UUID, plan: Plan) -> bytes:
    event, event_type = accepted.event, plan.find(accepted.event_type)
    context, campaign, text = event.context, event.context.campaign, pg.text
    properties = event.properties_json.decode() or "{}"
    given: dict[str, Any] = orjson.loads(properties)
    code_key = campaign.code_key or _given(given, CODES.get(accepted.event_type, "code_key"))
    columns = (
        pg.int8(accepted.position),
        text(accepted.tenant),
        pg.uuid(node.bytes),
        pg.instant(microseconds(accepted.occurred_at)),
        pg.instant(microseconds(accepted.received_at)),
        text(accepted.message_id),
        text(accepted.source_key),
        text(accepted.event_type),
        text(event_type.category if event_type else ""),
        pg.TRUE if accepted.late else pg.FALSE,
        text(context.channel or _given(given, "channel")),
        text(context.app or _given(given, "appid")),
        text(context.page or _given(given, "page")),
        text(context.content_id or _given(given, "content_id")),
        text(context.page_view_id or _given(given, "page_view_id")),
        text(code_key),
        text(campaign.delivery_id),
        text(campaign.share_id or _given(given, "share_id")),
        text(campaign.staff_code or _given(given, "staff")),
        pg.int4(event.tz_offset_minutes) if event.HasField("tz_offset_minutes") else pg.NULL,
        text(properties),
        pg.optional_text(accepted.traceparent),
        text(_given(given, SUBJECTS.get(accepted.event_type, ""))),
        text(_given(given, "group_id")),
    )
    return pg.columns_in_row(len(columns)) + b"".join(columns)


def _given(properties: dict[str, Any], name: str) -> str:
    value = properties.get(name)
    return value if isinstance(value, str) else ""


def _put_aside(accepted: Accepted, reason: str, tallies: Tallies) -> bytes:
    verdict = quarantined(Reason.NO_IDENTITY, f"identifiers: {reason}")
    received = microseconds(accepted.received_at)
    _count_refused(accepted, verdict.reason, tallies)
    names_in_row = (accepted.source_key, accepted.message_id, accepted.event_type)
    return aside_row(accepted.tenant, received, names_in_row, verdict, accepted.payload)


def _count_refused(accepted: Accepted, reason: Reason, tallies: Tallies) -> None:
    """It was counted as accepted."""
    received, late = microseconds(accepted.received_at), 1 if accepted.late else 0
    names = (accepted.source_key, accepted.event_type)
    tallies.add(accepted.tenant, received, (*names, Outcome.ACCEPTED.value, ""), -1, -late)
    tallies.add(accepted.tenant, received, (*names, Outcome.QUARANTINED.value, reason.value), 1, late)
