"""What the customer is tagged with, and since when."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp
from services.identity.read_models.profile.tags import tags_of


def read(rows: sa.Connection, asked: Asked) -> pb.TagsSection:
    return pb.TagsSection(
        tags=[
            pb.TagLook(tag_key=it.tag_key, value=it.value, source=it.source, since_time=timestamp(it.since))
            for it in tags_of(rows, asked.nodes)
        ]
    )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_TAGS, "tags", ("tagging",), read)
