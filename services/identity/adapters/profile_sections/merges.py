"""Whom the customer turned out to be: the last merges, also those taken back."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.adapters.wire import merge
from services.identity.read_models.merge_history import merge_history

MOST: Final = 20


def read(rows: sa.Connection, asked: Asked) -> pb.MergesSection:
    return pb.MergesSection(merges=[merge(it) for it in merge_history(rows, asked.nodes, None, MOST)])


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_MERGES, "merges", (), read)
