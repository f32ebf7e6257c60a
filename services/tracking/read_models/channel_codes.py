"""ChannelCodes: every code as it stands, for lists and for what its scans are added up by."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from chassis.log import Recorded
from chassis.projection import Source
from services.tracking.domain.channel_code import ChannelCode

tables: Final = sa.MetaData()

codes: Final = sa.Table(
    "channel_codes",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("code_key", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("store", sa.Text, nullable=False),
    sa.Column("staff", ARRAY(sa.Text), nullable=False),
    sa.Column("auto_tags", ARRAY(sa.Text), nullable=False),
    sa.Column("welcome_template", sa.Text, nullable=False),
    sa.Column("expires_at", sa.DateTime(timezone=True)),
    sa.Column("archived", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("channel_codes_by_channel", "tenant", "channel", "code_key"),
    sa.Index("channel_codes_by_store", "tenant", "store", "code_key"),
    sa.Index("channel_codes_by_campaign", "tenant", "campaign", "code_key"),
)


class ChannelCodesProjection:
    """Keeps the table: the new codes of a batch at once, then the changes."""

    name = "channel_codes"
    version = 1
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        created = [_row(it, it.event) for it in items if isinstance(it.event, ChannelCode.Created)]
        if created:
            rows.execute(insert(codes), created)
        for it in items:
            match it.event:
                case ChannelCode.Updated(code_key=key, terms=terms):
                    values = {"staff": list(terms.staff), "auto_tags": list(terms.auto_tags)}
                    welcome = terms.welcome_template
                    rows.execute(_of(it, key).values(changed_at=it.recorded_at, welcome_template=welcome, **values))
                case ChannelCode.Archived(code_key=key):
                    rows.execute(_of(it, key).values(changed_at=it.recorded_at, archived=True))


def list_codes(rows: sa.Connection, wanted: dict[str, str], with_archived: bool, after: str, limit: int) -> list[Any]:
    """Up to `limit` codes behind the key `after`, by their keys; `wanted` has the values of columns they must have."""
    query = sa.select(codes).where(codes.c.code_key > after, *(codes.c[name] == it for name, it in wanted.items()))
    if not with_archived:
        query = query.where(~codes.c.archived)
    return list(rows.execute(query.order_by(codes.c.code_key).limit(limit)))


def _row(recorded: Recorded, event: ChannelCode.Created) -> dict[str, Any]:
    design, terms = event.design, event.terms
    return {
        "tenant": recorded.tenant,
        "code_key": event.code_key,
        "kind": design.kind,
        "app": design.app,
        "channel": design.channel,
        "campaign": design.campaign,
        "store": design.store,
        "staff": list(terms.staff),
        "auto_tags": list(terms.auto_tags),
        "welcome_template": terms.welcome_template,
        "expires_at": design.expires_at,
        "archived": False,
        "created_at": recorded.recorded_at,
        "changed_at": recorded.recorded_at,
    }


def _of(recorded: Recorded, code_key: str) -> sa.Update:
    return sa.update(codes).where(codes.c.tenant == recorded.tenant, codes.c.code_key == code_key)
