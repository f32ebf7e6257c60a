"""StewardQueue: the pairs of customers who may be one person, with the evidence, and what was said of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.match_candidate import CandidateState, MatchCandidate, MatchRule
from services.identity.domain.match_model import Band, Step
from services.identity.read_models.concerned import concerning

tables: Final = sa.MetaData()

queue: Final = sa.Table(
    "steward_queue",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("candidate", sa.Uuid, primary_key=True),
    sa.Column("a", sa.Uuid, nullable=False),
    sa.Column("b", sa.Uuid, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("band", sa.Text, nullable=False),
    sa.Column("weight", sa.Double),
    sa.Column("probability", sa.Double),
    sa.Column("steps", JSONB, nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    sa.Column("decided_by", sa.Text),
    sa.Column("merge_id", sa.Uuid),
    sa.Column("expiry_reason", sa.Text),
    sa.Column("note", sa.LargeBinary),
    sa.Index("steward_queue_by_state", "tenant", "state", "found_at", "candidate"),
    sa.Index("steward_queue_open_a", "tenant", "a", postgresql_where=sa.text("state = 'OPEN'")),
    sa.Index("steward_queue_open_b", "tenant", "b", postgresql_where=sa.text("state = 'OPEN'")),
)


_EVENTS: Final = frozenset(
    {MatchCandidate.Found, MatchCandidate.FoundAgain, MatchCandidate.Decided, MatchCandidate.Expired}
)


class StewardQueueProjection:
    """One row per pair, as of its last event."""

    name = "steward_queue"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        found: dict[tuple[str, UUID], dict[str, Any]] = {}
        closed: dict[tuple[str, UUID], dict[str, Any]] = {}
        for it in items:
            key = it.tenant, it.event.originator_id
            match it.event:
                case MatchCandidate.Found() | MatchCandidate.FoundAgain():
                    found[key] = _found(it.tenant, it.event)
                    closed.pop(key, None)
                case MatchCandidate.Decided() | MatchCandidate.Expired():
                    closed[key] = _closed(it)
        if found:
            rows.execute(_FIND, {"rows": orjson.dumps(list(found.values())).decode()})
        if closed:
            rows.execute(_CLOSE, {"rows": orjson.dumps(list(closed.values())).decode()})


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One pair; `note` is sealed for the customer `a`."""

    candidate: UUID
    a: UUID
    b: UUID
    state: CandidateState
    rule: MatchRule
    band: Band
    weight: float | None
    probability: float | None
    steps: tuple[Step, ...]
    model_version: int
    found_at: datetime
    closed_at: datetime | None
    decided_by: str | None
    merge_id: UUID | None
    expiry_reason: str | None
    note: bytes | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which pairs; `before` is the end of the previous page: when its last pair was found, and that pair."""

    state: CandidateState = CandidateState.OPEN
    band: Band | None = None
    before: tuple[datetime, UUID] | None = None


def list_candidates(rows: sa.Connection, wanted: Wanted, limit: int) -> list[CandidateRow]:
    """Up to `limit` of the pairs that are wanted, those found last first."""
    columns = [queue.c[it] for it in CandidateRow.__slots__]
    query = (
        sa.select(*columns)
        .where(queue.c.state == wanted.state)
        .order_by(queue.c.found_at.desc(), queue.c.candidate.desc())
        .limit(limit)
    )
    if wanted.band is not None:
        query = query.where(queue.c.band == wanted.band)
    if wanted.before is not None:
        query = query.where(sa.tuple_(queue.c.found_at, queue.c.candidate) < sa.tuple_(*wanted.before))
    return [_row(it) for it in rows.execute(query).mappings()]


def open_candidates_of(rows: sa.Connection, customers: Collection[UUID]) -> dict[UUID, tuple[UUID, UUID]]:
    """The open candidates in whose pair one of `customers` is, with the pair."""
    wanted = list(customers)
    query = sa.select(queue.c.candidate, queue.c.a, queue.c.b).where(
        queue.c.state == CandidateState.OPEN, queue.c.a.in_(wanted) | queue.c.b.in_(wanted)
    )
    return {it.candidate: (it.a, it.b) for it in rows.execute(query)}


def accepted_steps(rows: sa.Connection, limit: int) -> list[tuple[Step, ...]]:
    """The accounts of up to `limit` pairs that were accepted last and had been weighed."""
    query = (
        sa.select(queue.c.steps)
        .where(queue.c.state == CandidateState.ACCEPTED, queue.c.weight.is_not(None))
        .order_by(queue.c.found_at.desc(), queue.c.candidate.desc())
        .limit(limit)
    )
    return [_steps(it) for it in rows.scalars(query)]


def _found(tenant: str, event: MatchCandidate.Found | MatchCandidate.FoundAgain) -> dict[str, Any]:
    finding = event.finding
    return {
        "tenant": tenant,
        "candidate": event.originator_id,
        "a": event.a,
        "b": event.b,
        "state": CandidateState.OPEN,
        "rule": finding.rule,
        "band": finding.band,
        "weight": finding.weight,
        "probability": finding.probability,
        "steps": finding.steps,
        "model_version": finding.model_version,
        "found_at": event.found_at,
    }


def _closed(recorded: Recorded) -> dict[str, Any]:
    event = recorded.event
    row = {"tenant": recorded.tenant, "candidate": event.originator_id, "note": None}
    match event:
        case MatchCandidate.Decided(decision=decision, merge_id=merge_id, note=note, decided_at=at):
            by = recorded.context.actor
            return row | {
                "state": decision,
                "closed_at": at,
                "decided_by": by,
                "merge_id": merge_id,
                "note": note.hex(),
            }
        case MatchCandidate.Expired(reason=reason, expired_at=at):
            return row | {"state": CandidateState.EXPIRED, "closed_at": at, "expiry_reason": reason}
    raise ValueError(f"{type(event).__qualname__} closes nothing")


def _row(found: Any) -> CandidateRow:
    typed = {
        "state": CandidateState(found["state"]),
        "rule": MatchRule(found["rule"]),
        "band": Band(found["band"]),
        "steps": _steps(found["steps"]),
    }
    return CandidateRow(**{**found, **typed})


def _steps(found: Sequence[dict[str, Any]]) -> tuple[Step, ...]:
    return tuple(Step(**it) for it in found)


_FOUND_COLUMNS: Final = (
    "tenant text, candidate uuid, a uuid, b uuid, state text, rule text, band text, weight float8, probability float8,"
    " steps jsonb, model_version int, found_at timestamptz"
)
_FIND: Final = sa.text(
    "INSERT INTO steward_queue (tenant, candidate, a, b, state, rule, band, weight, probability, steps, model_version,"  # noqa: S608
    f" found_at) SELECT v.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS v({_FOUND_COLUMNS})"
    " ON CONFLICT (tenant, candidate) DO UPDATE SET state = excluded.state, rule = excluded.rule, band = excluded.band,"
    " weight = excluded.weight, probability = excluded.probability, steps = excluded.steps,"
    " model_version = excluded.model_version, found_at = excluded.found_at,"
    " closed_at = NULL, decided_by = NULL, merge_id = NULL, expiry_reason = NULL, note = NULL"
)
_CLOSE: Final = sa.text(
    "UPDATE steward_queue q SET state = v.state, closed_at = v.closed_at, decided_by = v.decided_by,"
    " merge_id = v.merge_id, expiry_reason = v.expiry_reason, note = decode(nullif(v.note, ''), 'hex')"
    " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS v(tenant text, candidate uuid, state text, closed_at timestamptz,"
    " decided_by text, merge_id uuid, expiry_reason text, note text)"
    " WHERE (q.tenant, q.candidate) = (v.tenant, v.candidate)"
)
