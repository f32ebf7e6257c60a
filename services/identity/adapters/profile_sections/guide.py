"""Who looks after the customer, and in which store."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.guide_methods import guidance_message
from services.identity.adapters.profile_sections.section import Asked, Section


def read(rows: sa.Connection, asked: Asked) -> pb.GuideSection:
    guide = asked.guide
    return pb.GuideSection(guidance=guidance_message(guide.guidance, guide.store) if guide else None)


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_GUIDE, "guide", (), read)
