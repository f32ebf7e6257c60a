"""Memberships as a profile shows them. Membership follows merges itself and tells what each customer has afterwards."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from scrm.membership.v1 import events_pb2 as pb
from services.identity.read_models.profile.told import execute, instant, tables, uuid

members: Final = sa.Table(
    "told_members",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("customer", sa.Uuid, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("member_no", sa.Text, nullable=False),
    sa.Column("joined_at", sa.DateTime(timezone=True)),
    sa.Column("revoked_at", sa.DateTime(timezone=True)),
)

NONE: Final = "NONE"
ACTIVE: Final = "ACTIVE"
REVOKED: Final = "REVOKED"

_PUT: Final = (
    "INSERT INTO told_members (tenant, customer, state, member_no, joined_at, revoked_at)"
    " SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])"
    " ON CONFLICT (tenant, customer) DO UPDATE SET state = excluded.state, member_no = excluded.member_no,"
    " joined_at = excluded.joined_at, revoked_at = excluded.revoked_at"
)
_LOAD: Final = sa.text(
    "SELECT tenant, customer, state, member_no, joined_at, revoked_at FROM told_members WHERE (tenant, customer) IN"
    " (SELECT * FROM unnest(CAST(:tenants AS text[]), CAST(:customers AS uuid[])))"
)
_NOBODY: Final = (NONE, "", None, None)

Key = tuple[str, UUID]


class Members:
    """What a batch says about memberships, folded over what was known of each."""

    def __init__(self) -> None:
        self._told: list[tuple[Key, Any]] = []

    def take(self, tenant: str, message: Any) -> None:
        if isinstance(message, _READ):
            self._told.append(((tenant, uuid(message.customer_id)), message))

    def write(self, rows: sa.Connection) -> None:
        if not self._told:
            return
        keys = list({key for key, _ in self._told})
        known = rows.execute(_LOAD, {"tenants": [it[0] for it in keys], "customers": [it[1] for it in keys]})
        states: dict[Key, tuple[Any, ...]] = {(it.tenant, it.customer): tuple(it)[2:] for it in known}
        for key, message in self._told:
            states[key] = _after(states.get(key, _NOBODY), message)
        execute(rows, _PUT, [(*key, *state) for key, state in states.items()])


def member_of(rows: sa.Connection, customer: UUID, nodes: Sequence[UUID]) -> Any:
    """The membership of the customer of these nodes; until membership has followed a merge, the earliest in force of theirs."""
    query = sa.select(members).where(
        members.c.tenant == sa.func.current_setting("scrm.tenant"), members.c.customer.in_(nodes)
    )
    found = rows.execute(query).all()
    own = next((it for it in found if it.customer == customer), None)
    if own is not None and own.state != NONE:
        return own
    active = sorted((it for it in found if it.state == ACTIVE), key=lambda it: it.joined_at)
    return active[0] if active else own


_READ: Final = (
    pb.MemberJoined,
    pb.MemberJoinedEarlier,
    pb.MemberRevoked,
    pb.MembersMerged,
    pb.MembersUnmerged,
    pb.MemberRestored,
)


def _after(known: tuple[Any, ...], message: Any) -> tuple[Any, ...]:
    """State, number, when joined and when revoked, after a message."""
    state, member_no, joined_at, _ = known
    match message:
        case pb.MemberRevoked():
            return REVOKED, member_no, joined_at, instant(message.revoke_time)
        case pb.MembersMerged() | pb.MembersUnmerged() | pb.MemberRestored() if not message.member_no:
            return known if state == REVOKED else _NOBODY
    return ACTIVE, message.member_no, instant(message.join_time), None
