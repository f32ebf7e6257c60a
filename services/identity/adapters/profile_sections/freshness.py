"""When the customer was last heard of: the last thing they did or ordered."""

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp
from services.identity.read_models.profile.entries import BEHAVIOUR, ORDER
from services.identity.read_models.profile.timeline import last_of

STALE_AFTER: Final = timedelta(days=90)


def read(rows: sa.Connection, asked: Asked) -> pb.FreshnessSection:
    last = last_of(rows, asked.nodes, (BEHAVIOUR, ORDER))
    heard = last or asked.customer.registered_at
    return pb.FreshnessSection(last_event_time=timestamp(last), stale=asked.at - heard > STALE_AFTER)


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_FRESHNESS, "freshness", ("tracking", "tracking_behaviours"), read)
