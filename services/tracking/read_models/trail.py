"""What a customer did, read from the behaviours of the nodes the customer consists of now."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tracking.domain.trail import Behaviour, Trail

_OF_NODES: Final = sa.text(
    "SELECT message_id, source_key, event_type, category, node, occurred_at, received_at, channel, app, page,"
    " content_id, page_view_id, properties FROM behaviours"
    " WHERE tenant = current_setting('scrm.tenant') AND node = ANY(:nodes)"
)


def trail_of(rows: sa.Connection, nodes: Sequence[UUID]) -> Trail:
    """The whole trail: opens and sessions are counted from its beginning."""
    return Trail(Behaviour(*it) for it in rows.execute(_OF_NODES, {"nodes": list(nodes)}))
