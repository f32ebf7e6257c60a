"""Menus: what each item stood for at each time, and the clicks on it, counted out of behaviours for customers as they are known now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.log import Recorded
from chassis.projection import Source
from services.tracking.domain.menu import Menu

tables: Final = sa.MetaData()

items: Final = sa.Table(
    "menu_items",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("menu_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("parent", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("is_opener", sa.Boolean, nullable=False),
    sa.Column("active_from", sa.DateTime(timezone=True), nullable=False),
    sa.Column("active_to", sa.DateTime(timezone=True)),
)

# A click belongs to the version that was shown when it happened. Opening a sub-menu is no click of its own: an item with others
# below it has theirs.
_CLICKS: Final = sa.text("""
WITH shown AS (
  SELECT * FROM menu_items i WHERE i.tenant = current_setting('scrm.tenant') AND i.app = :app AND i.menu_id = :menu_id
    AND i.active_from < :end AND (i.active_to IS NULL OR i.active_to > :start)
), clicks AS (
  SELECT i.version, i.key, i.parent, coalesce(n.customer, b.node) AS customer
  FROM shown i
  JOIN behaviours b ON b.tenant = i.tenant AND b.event_type = 'menu_clicked' AND b.subject = i.key AND b.subject <> ''
    AND b.app = i.app AND b.occurred_at >= greatest(i.active_from, :start)
    AND b.occurred_at < least(coalesce(i.active_to, 'infinity'), :end)
  LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
  WHERE NOT i.is_opener AND coalesce(b.properties::jsonb ->> 'menu_id', '') = i.menu_id
), counted AS (
  SELECT version, key, count(*) AS clicks, count(DISTINCT customer) AS people FROM (
    SELECT version, key, customer FROM clicks UNION ALL SELECT version, parent, customer FROM clicks WHERE parent <> ''
  ) c GROUP BY version, key
)
SELECT i.version, i.key, i.name, i.parent, coalesce(c.clicks, 0) AS clicks, coalesce(c.people, 0) AS people
FROM shown i LEFT JOIN counted c ON (c.version, c.key) = (i.version, i.key) ORDER BY i.version, i.place
""")


class MenusProjection:
    """Keeps the table: a version is shown until the next one is."""

    name = "menus"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, found: Sequence[Recorded], rows: sa.Connection) -> None:
        for it in found:
            if not isinstance(it.event, Menu.Published):
                continue
            event = it.event
            before = sa.and_(
                items.c.tenant == it.tenant,
                items.c.app == event.app,
                items.c.menu_id == event.menu_id,
                items.c.version == event.version - 1,
            )
            rows.execute(sa.update(items).where(before).values(active_to=event.active_from))
            rows.execute(insert(items), _rows(it.tenant, event))


@dataclass(frozen=True, slots=True)
class ItemClicks:
    """Clicks on one item of one version, and how many people they are of."""

    version: int
    key: str
    name: str
    parent: str
    clicks: int
    people: int


def menu_clicks(rows: sa.Connection, app: str, menu_id: str, start: datetime, end: datetime) -> list[ItemClicks]:
    """By version and item, in the order of the menu."""
    found = rows.execute(_CLICKS, {"app": app, "menu_id": menu_id, "start": start, "end": end})
    return [ItemClicks(*it) for it in found]


def _rows(tenant: str, event: Menu.Published) -> list[dict[str, Any]]:
    openers = {it.parent for it in event.items}
    return [
        {
            "tenant": tenant,
            "app": event.app,
            "menu_id": event.menu_id,
            "version": event.version,
            "key": it.key,
            "place": place,
            "parent": it.parent,
            "name": it.name,
            "is_opener": it.key in openers,
            "active_from": event.active_from,
            "active_to": None,
        }
        for place, it in enumerate(event.items)
    ]
