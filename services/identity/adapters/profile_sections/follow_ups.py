"""What staff wrote down about the customer; the words only for those who may see personal values."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.engagement_wire import entry, words_of_entry
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.domain.follow_up import CONTENT
from services.identity.read_models.contact_history import EntryKind, EntryRow, contact_history

MOST: Final = 10


def read(rows: sa.Connection, asked: Asked) -> pb.FollowUpsSection:
    found = contact_history(rows, asked.nodes, (EntryKind.FOLLOW_UP,), None, MOST)
    words = _words(rows, asked, found) if asked.unmasked else {}
    return pb.FollowUpsSection(follow_ups=[entry(it, words.get(it.entry)) for it in found])


def _words(rows: sa.Connection, asked: Asked, found: Sequence[EntryRow]) -> dict[UUID, str | None]:
    sealed = [(it.entry, words) for it in found for words in words_of_entry(it)]
    opened = asked.unsealer.open(rows, [words for _, words in sealed])
    if any(opened):
        asked.viewed.add(CONTENT)
    return {it: text for (it, _), text in zip(sealed, opened, strict=True)}


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_FOLLOW_UPS, "follow_ups", (), read)
