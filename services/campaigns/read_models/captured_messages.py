"""The messages that the capture channel keeps, as pages."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

_PAGE = sa.text(
    "SELECT delivery, arm, customer, body, channel, captured_at FROM captured_messages"
    " WHERE broadcast = :broadcast AND delivery > :after ORDER BY delivery LIMIT :limit"
)


def page(rows: sa.Connection, broadcast: UUID, after: UUID | None, limit: int) -> list[Any]:
    """Up to `limit` messages of the broadcast by delivery id, after the one given."""
    arguments = {"broadcast": broadcast, "after": after or UUID(int=0), "limit": limit}
    return list(rows.execute(_PAGE, arguments))
