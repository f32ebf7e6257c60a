"""Where models of layers put the customer, and since when. Scores of RFM are told by nobody for a single customer."""

from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp
from services.identity.read_models.profile.layers import layers_of

MISSING: Final = ("RFM",)


def read(rows: sa.Connection, asked: Asked) -> pb.LayersSection:
    return pb.LayersSection(
        layers=[
            pb.LayerLook(
                model_id=it.model,
                kind=it.kind,
                layer=it.layer or "",
                model_version=it.version or 0,
                since_time=timestamp(it.since),
            )
            for it in layers_of(rows, asked.customer.id, asked.nodes)
        ],
        missing_models=MISSING,
    )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_LAYERS, "layers", ("tagging",), read)
