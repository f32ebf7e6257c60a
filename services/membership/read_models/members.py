"""Members: everybody who is or was one, with number and dates, for lists and counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.membership.domain.member import Member, MemberState
from services.membership.domain.standing import Membership, Standing
from services.membership.read_models.points_writing import put

tables: Final = sa.MetaData()

members: Final = sa.Table(
    "members",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("member_no", sa.Text, nullable=False),
    sa.Column("via", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Integer, nullable=False),
    sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
)

Key = tuple[str, UUID]
Row = dict[str, Any]


class MembersProjection:
    """Keeps the table; of each customer only what the batch leaves behind is written."""

    name = "members"
    version = 3
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        written: dict[Key, Row | None] = {}
        for it in items:
            match it.event:
                case Member.Joined(customer=customer, membership=membership):
                    written[it.tenant, customer] = _row(it.tenant, customer, membership)
                case Member.JoinedEarlier(customer=customer, membership=membership):
                    written[it.tenant, customer] = _row(it.tenant, customer, membership)
                case Member.Absorbed(customer=customer, standing=standing):
                    written[it.tenant, customer] = _standing_row(it.tenant, customer, standing)
                case (
                    Member.Released(customer=customer, record=record)
                    | Member.Restored(customer=customer, record=record)
                ):
                    written[it.tenant, customer] = _standing_row(it.tenant, customer, record.standing)
                case Member.MergedInto(customer=customer) | Member.Erased(customer=customer):
                    written[it.tenant, customer] = None
                case Member.Revoked(customer=customer, revoked_at=at):
                    _write(rows, written)
                    written = {}
                    rows.execute(_REVOKE, {"t": it.tenant, "c": customer, "at": at})
        _write(rows, written)


@dataclass(frozen=True, slots=True)
class MemberCounts:
    """Members by state."""

    active: int
    revoked: int


def list_members(rows: sa.Connection, states: Sequence[MemberState], after: UUID | None, limit: int) -> list[Any]:
    """Up to `limit` members behind the customer `after`, by customer."""
    query = sa.select(members).where(members.c.state.in_(states)).order_by(members.c.customer).limit(limit)
    if after is not None:
        query = query.where(members.c.customer > after)
    return list(rows.execute(query))


def count_members(rows: sa.Connection, joined_before: datetime | None) -> MemberCounts:
    """Who is a member and whose membership was taken back, of those who joined before the instant."""
    query = sa.select(members.c.state, sa.func.count()).group_by(members.c.state)
    if joined_before is not None:
        query = query.where(members.c.joined_at < joined_before)
    counts = {state: int(count) for state, count in rows.execute(query)}
    return MemberCounts(counts.get(MemberState.ACTIVE, 0), counts.get(MemberState.REVOKED, 0))


_UPSERT: Final = (
    "INSERT INTO members (tenant, customer, state, member_no, via, policy_version, joined_at, revoked_at) SELECT *"
    " FROM unnest(%b::text[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::int[], %b::timestamptz[], %b::timestamptz[])"
    " ON CONFLICT (tenant, customer) DO UPDATE SET state = excluded.state, member_no = excluded.member_no, via = excluded.via,"
    " policy_version = excluded.policy_version, joined_at = excluded.joined_at, revoked_at = excluded.revoked_at"
)
_DELETE: Final = (
    "DELETE FROM members m USING unnest(%b::text[], %b::uuid[]) AS k(tenant, customer)"
    " WHERE (m.tenant, m.customer) = (k.tenant, k.customer)"
)
_THIS: Final = (members.c.tenant == sa.bindparam("t")) & (members.c.customer == sa.bindparam("c"))
_REVOKE: Final = sa.update(members).where(_THIS).values(state=MemberState.REVOKED.value, revoked_at=sa.bindparam("at"))


def _write(rows: sa.Connection, written: dict[Key, Row | None]) -> None:
    gone = [key for key, row in written.items() if row is None]
    kept = [tuple(row.values()) for row in written.values() if row is not None]
    if gone:
        put(rows, _DELETE, gone)
    if kept:
        put(rows, _UPSERT, kept)


def _row(tenant: str, customer: UUID, membership: Membership) -> Row:
    return {
        "tenant": tenant,
        "customer": customer,
        "state": MemberState.ACTIVE.value,
        "member_no": membership.member_no,
        "via": membership.via.value,
        "policy_version": membership.policy_version,
        "joined_at": membership.joined_at,
        "revoked_at": None,
    }


def _standing_row(tenant: str, customer: UUID, standing: Standing) -> Row | None:
    """The row of somebody of whom all is told at once; None for who is no member and never was."""
    if standing.membership is not None:
        return _row(tenant, customer, standing.membership)
    if standing.former is None:
        return None
    revoked = {"state": MemberState.REVOKED.value, "revoked_at": standing.revoked_at}
    return _row(tenant, customer, standing.former) | revoked
