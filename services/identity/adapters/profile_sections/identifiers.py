"""How the customer is recognised: every identifier of every node. Values are not told."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.explanation import linked_identifier
from services.identity.adapters.profile_sections.section import Asked, Section


def read(rows: sa.Connection, asked: Asked) -> pb.IdentifiersSection:
    return pb.IdentifiersSection(identifiers=[linked_identifier(it) for it in asked.customer.identifiers.values()])


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_IDENTIFIERS, "identifiers", (), read)
