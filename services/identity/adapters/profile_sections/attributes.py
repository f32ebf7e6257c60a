"""What is known of the person, from whom, and whether it is a child."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.attribute_reading import Shown, resolved_attributes, shown
from services.identity.adapters.attribute_wire import attribute
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.application.attribute_upsert import sealed_as
from services.identity.read_models.attribute_values import minors_among


def read(rows: sa.Connection, asked: Asked) -> pb.AttributesSection:
    found = [shown(it, asked.unmasked) for it in resolved_attributes(rows, asked.unsealer, asked.nodes)]
    asked.viewed.update(sealed_as(it.resolved.definition.key) for it in found if _is_in_clear(it))
    return pb.AttributesSection(attributes=[attribute(it) for it in found], minor=bool(minors_among(rows, asked.nodes)))


def _is_in_clear(it: Shown) -> bool:
    return it.resolved.definition.pii and not it.is_masked


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_ATTRIBUTES, "attributes", (), read)
