"""What the customer did in the last year: visits, attention, touchpoints, and hours of the day."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import orjson
import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.section import Asked, Section, timestamp
from services.identity.domain.visits import Engagement, Seen, visits
from services.identity.read_models.profile.timeline import behaviours_since

WINDOW: Final = timedelta(days=365)
MOST_CHANNELS: Final = 5
MOST_CONTENTS: Final = 10


def read(rows: sa.Connection, asked: Asked) -> pb.BehaviourSection:
    found = visits(
        _seen(behaviours_since(rows, asked.nodes, asked.at - WINDOW)), lambda at: at.astimezone(asked.zone).hour
    )
    newest = sorted(found.channels.items(), key=lambda it: (it[1], it[0]), reverse=True)
    return pb.BehaviourSection(
        behaviours=found.behaviours,
        opens=found.opens,
        dwell_seconds=found.dwell_seconds,
        first_time=timestamp(found.first),
        last_time=timestamp(found.last),
        last_channels=[pb.ChannelUse(channel=it, last_time=timestamp(at)) for it, at in newest[:MOST_CHANNELS]],
        contents=[
            pb.ContentUse(content_id=id, opens=it.opens, dwell_seconds=it.dwell_seconds)
            for id, it in sorted(found.contents.items(), key=_by_attention)[:MOST_CONTENTS]
        ],
        active_hours=found.hours,
        time_zone=asked.zone.key,
    )


def _by_attention(content: tuple[str, Engagement]) -> tuple[int, int, str]:
    id, it = content
    return -it.dwell_seconds, -it.opens, id


def _seen(rows: Any) -> Iterator[Seen]:
    for kind, at, page_view, text in rows:
        facts = orjson.loads(text)
        yield Seen(
            kind,
            at,
            facts.get("channel", ""),
            facts.get("content_id", ""),
            page_view,
            facts.get("active_buckets", ()),
            facts.get("wall_ms"),
        )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_BEHAVIOUR, "behaviour", ("tracking_behaviours",), read)
