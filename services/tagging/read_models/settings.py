"""What a tenant decided for all sets: the zone by which days are counted, and the currency in which orders are."""

import sqlalchemy as sa

from services.tagging.domain.tenant_settings import DEFAULT_CURRENCY, DEFAULT_ZONE
from services.tagging.read_models import sql

_KEEP = (
    "INSERT INTO tenant_settings (tenant, time_zone, currency) VALUES (%s, %s, %s)"
    " ON CONFLICT (tenant) DO UPDATE SET time_zone = excluded.time_zone, currency = excluded.currency"
)
GET = "SELECT time_zone, currency FROM tenant_settings WHERE tenant = %s"


def keep(rows: sa.Connection, tenant: str, time_zone: str, currency: str) -> None:
    sql.run(rows, _KEEP, tenant, time_zone, currency)


def get(rows: sa.Connection, tenant: str) -> tuple[str, str]:
    """Zone and currency."""
    return said(sql.fetch(rows, GET, tenant))


def said(found: list[sql.Row]) -> tuple[str, str]:
    """The same by what `GET` found."""
    return (found[0][0], found[0][1]) if found else (DEFAULT_ZONE, DEFAULT_CURRENCY)
