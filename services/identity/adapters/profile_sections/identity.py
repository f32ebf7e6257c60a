"""Who it is: state, nodes, and since when."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp


def read(rows: sa.Connection, asked: Asked) -> pb.IdentitySection:
    customer = asked.customer
    return pb.IdentitySection(
        state=customer_pb2.CustomerState.Value(f"CUSTOMER_STATE_{customer.state}"),
        assignment_key=customer.assignment_key,
        create_time=timestamp(customer.registered_at),
        node_ids=[str(it) for it in asked.nodes],
    )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_IDENTITY, "identity", (), read)
