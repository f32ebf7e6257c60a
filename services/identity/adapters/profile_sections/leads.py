"""What the customer may buy."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.engagement_wire import listed_lead
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.read_models.leads import LeadFilter, list_leads

MOST: Final = 10


def read(rows: sa.Connection, asked: Asked) -> pb.LeadsSection:
    found = list_leads(rows, LeadFilter(None, None, asked.nodes), None, MOST)
    return pb.LeadsSection(leads=[listed_lead(it) for it in found])


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_LEADS, "leads", (), read)
