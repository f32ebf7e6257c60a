"""How the customer is recognised: every identifier of every node, with what may be seen of its value."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.explanation import linked_identifier
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.domain.identifier_masking import masked_identifier
from services.identity.domain.identifiers import LinkedIdentifier
from services.identity.domain.sealing import SealedValue


def read(rows: sa.Connection, asked: Asked) -> pb.IdentifiersSection:
    linked = list(asked.customer.identifiers.values())
    kept = [it for it in linked if it.sealed]
    opened = asked.unsealer.open(rows, [SealedValue(it.node, it.sealed_as, it.sealed) for it in kept])
    values = dict(zip((it.key for it in kept), opened, strict=True))
    return pb.IdentifiersSection(identifiers=[_look(it, values.get(it.key), asked) for it in linked])


def _look(it: LinkedIdentifier, value: str | None, asked: Asked) -> pb.IdentifierLook:
    look = pb.IdentifierLook(identifier=linked_identifier(it))
    if value is not None and asked.unmasked:
        asked.viewed.add(it.sealed_as)
        look.value = value
    elif value is not None:
        look.value, look.masked = masked_identifier(it.namespace, value), True
    return look


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_IDENTIFIERS, "identifiers", (), read)
