"""When the brand and the customer were in touch: calls, chats and visits."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.engagement_wire import entry
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.read_models.contact_history import EntryKind, contact_history

MOST: Final = 10


def read(rows: sa.Connection, asked: Asked) -> pb.ContactsSection:
    found = contact_history(rows, asked.nodes, (EntryKind.CONTACT,), None, MOST)
    return pb.ContactsSection(contacts=[entry(it, None) for it in found])


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_CONTACTS, "contacts", (), read)
