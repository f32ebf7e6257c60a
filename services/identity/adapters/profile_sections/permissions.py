"""What the customer may be told, and where."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.application.published_events import channel, consent
from services.identity.domain.consent import reachable, strictest


def read(rows: sa.Connection, asked: Asked) -> pb.PermissionsSection:
    return pb.PermissionsSection(
        consents=[consent(it) for _, it in sorted(strictest(asked.permissions).items())],
        channels=[channel(it) for _, it in sorted(reachable(asked.permissions).items())],
    )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_PERMISSIONS, "permissions", (), read)
