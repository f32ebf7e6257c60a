"""Who came through the customer, through whom the customer came, and in which groups the customer is."""

from typing import Any, Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp
from services.identity.read_models.profile.relations import brought_by, groups_of, shares_of, visitors_of

MOST_SHARES: Final = 10
MOST_GROUPS: Final = 20


def read(rows: sa.Connection, asked: Asked) -> pb.RelationsSection:
    shares, nodes = shares_of(rows, asked.nodes), asked.nodes
    return pb.RelationsSection(
        shares_made=len(shares),
        visitors=visitors_of(rows, nodes),
        shares=[_share(it) for it in shares[:MOST_SHARES]],
        brought_by=_brought_by(brought_by(rows, nodes)),
        groups=[
            pb.GroupLook(group_id=it.group_id, join_time=timestamp(it.joined_at), inferred=it.inferred)
            for it in groups_of(rows, nodes, MOST_GROUPS)
        ],
    )


def _share(row: Any) -> pb.ShareLook:
    return pb.ShareLook(
        share_id=row.share_id,
        content_id=row.content_id,
        activity_id=row.activity_id,
        depth=row.depth,
        visitors=row.visitors,
        share_time=timestamp(row.shared_at),
    )


def _brought_by(row: Any) -> pb.BroughtBy | None:
    if row is None:
        return None
    return pb.BroughtBy(share_id=row.share_id, node_id=str(row.node), visit_time=timestamp(row.visited_at))


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_RELATIONS, "relations", ("tracking",), read)
