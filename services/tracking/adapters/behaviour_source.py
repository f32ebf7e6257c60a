"""The table of behaviours as a log that read models are made of."""

from collections.abc import Awaitable
from typing import Any, Final

import sqlalchemy as sa

from chassis.pulse import News
from chassis.quick_look import QuickLook
from services.tracking.read_models.boards import BehaviourRow

_READ: Final = (
    "SELECT position, tenant, node, occurred_at, event_type, app, content_id, code_key, staff_code, properties"
    " FROM behaviours WHERE position > %(after)s ORDER BY position LIMIT %(limit)s"
)
_HEAD: Final = "SELECT coalesce(max(position), 0) FROM behaviours"


class BehaviourSource:
    """Behaviours in the order in which they were resolved."""

    news = News.BESIDE

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._look = QuickLook(engine)

    def read(self, after: int, limit: int) -> list[tuple[int, Any]]:
        found = self._look.rows(_READ, {"after": after, "limit": limit})
        return [(it[0], BehaviourRow(*it[1:])) for it in found]

    def head_now(self) -> Awaitable[int]:
        return QuickLook.of(self._engine).ask_scalar(_HEAD)
