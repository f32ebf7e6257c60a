"""Sources: who may report, by key, for the list of them."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.log import Recorded
from chassis.projection import Source
from services.tracking.domain.source import IngestSource, WechatAccount

tables: Final = sa.MetaData()

sources: Final = sa.Table(
    "sources",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("id", sa.Uuid, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("rate_limit", sa.Integer, nullable=False),
    sa.Column("user_namespace", sa.Text, nullable=False),
    sa.Column("user_scope", sa.Text, nullable=False),
    sa.Column("wechat_platform", sa.Text, nullable=False, server_default=""),
    sa.Column("wechat_account_id", sa.Text, nullable=False, server_default=""),
    sa.Column("wechat_encrypted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("sources_by_id", "tenant", "id"),
)


class SourcesProjection:
    """Keeps the table; a handful of rows, changed a few times a year."""

    name = "sources"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        for it in items:
            match it.event:
                case IngestSource.Registered(key=key, kind=kind, terms=terms):
                    values = {"key": key, "kind": kind, **_terms(terms), "registered_at": it.event.timestamp}
                    rows.execute(
                        insert(sources).values(
                            tenant=it.tenant, id=it.event.originator_id, changed_at=it.event.timestamp, **values
                        )
                    )
                case IngestSource.Updated(terms=terms):
                    rows.execute(_of(it).values(changed_at=it.event.timestamp, **_terms(terms)))
                case IngestSource.WechatAccountSet(account=account):
                    rows.execute(_of(it).values(changed_at=it.event.timestamp, **_account(account)))
                case IngestSource.WriteKeyReplaced():
                    rows.execute(_of(it).values(changed_at=it.event.timestamp))


def list_sources(rows: sa.Connection, after: str, limit: int) -> list[Any]:
    """Up to `limit` sources behind the key `after`, by their keys."""
    found = sa.select(sources).where(sources.c.key > after).order_by(sources.c.key).limit(limit)
    return list(rows.execute(found))


def _of(recorded: Recorded) -> sa.Update:
    mine = sa.and_(sources.c.tenant == recorded.tenant, sources.c.id == recorded.event.originator_id)
    return sa.update(sources).where(mine)


def _terms(terms: Any) -> dict[str, Any]:
    return {name: getattr(terms, name) for name in ("enabled", "rate_limit", "user_namespace", "user_scope")}


def _account(account: WechatAccount) -> dict[str, Any]:
    return {
        "wechat_platform": account.platform,
        "wechat_account_id": account.account_id,
        "wechat_encrypted": account.encrypted,
    }
