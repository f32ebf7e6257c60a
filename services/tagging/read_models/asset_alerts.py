"""Which alerts there are, and what each period said to them."""

from datetime import date
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tagging.domain.asset_alerts import AlertReading
from services.tagging.read_models import sql

_KEEP: Final = "INSERT INTO asset_alerts (tenant, alert) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_LIST: Final = "SELECT alert FROM asset_alerts WHERE tenant = %s AND alert > %s ORDER BY alert LIMIT %s"
_COLUMNS: Final = (
    "version, period_start, period_end, hits, n, baseline, baseline_n, relative_change, z, p_value, raised, segment"
)
_KEEP_READING: Final = (
    f"INSERT INTO alert_readings (tenant, alert, {_COLUMNS})"  # noqa: S608
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_READINGS: Final = (
    f"SELECT {_COLUMNS} FROM alert_readings WHERE tenant = %s AND alert = %s"  # noqa: S608
    " AND (period_end, version) < (%s, %s) AND (raised OR NOT %s) ORDER BY period_end DESC, version DESC LIMIT %s"
)


def keep(rows: sa.Connection, tenant: str, alert: str) -> None:
    sql.run(rows, _KEEP, tenant, alert)


def after(rows: sa.Connection, tenant: str, alert: str, limit: int) -> list[str]:
    """Up to `limit` keys of alerts behind `alert`, in order."""
    return [key for (key,) in sql.fetch(rows, _LIST, tenant, alert, limit)]


def keep_reading(rows: sa.Connection, tenant: str, alert: str, it: AlertReading, segment: UUID | None) -> None:
    figures = (it.hits, it.n, it.baseline, it.baseline_n, it.relative, it.z, it.p_value, it.raised)
    sql.run(rows, _KEEP_READING, tenant, alert, it.version, it.start, it.end, *figures, segment)


def readings(
    rows: sa.Connection, tenant: str, alert: str, before: tuple[date, int], raised: bool, limit: int
) -> list[tuple[AlertReading, UUID | None]]:
    """Up to `limit` readings before a period and version, or of those only the ones that raised it, latest first."""
    found = sql.fetch(rows, _READINGS, tenant, alert, *before, raised, limit)
    return [(AlertReading(*figures), segment) for *figures, segment in found]
