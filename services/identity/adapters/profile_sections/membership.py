"""Where the customer stands in the program, and the points."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp
from services.identity.read_models.profile.members import NONE, member_of
from services.identity.read_models.profile.points import balance_of


def read(rows: sa.Connection, asked: Asked) -> pb.MembershipSection:
    member = member_of(rows, asked.customer.id, asked.nodes)
    points = balance_of(rows, asked.nodes, asked.at)
    return pb.MembershipSection(
        state=member.state if member else NONE,
        member_no=member.member_no if member else "",
        join_time=timestamp(member.joined_at) if member else None,
        revoke_time=timestamp(member.revoked_at) if member else None,
        balance=points.available - points.debt,
        pending=points.pending,
        debt=points.debt,
        next_expire_time=timestamp(points.expires_at),
        next_expiring=points.expiring,
    )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_MEMBERSHIP, "membership", ("membership",), read)
