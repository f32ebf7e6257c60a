"""What came of channel codes (TR-4), counted out of behaviours and orders for the customers as they are known now.

Nothing is stored for it: behaviours are facts of nodes, and whoever turned out to be one person, or two after all, is counted so.
"""

# ruff: noqa: S608
# The SQL is made of constants of this module.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

DIMENSIONS: Final[Mapping[str, str]] = {
    "CODE": "c.code_key",
    "CHANNEL": "c.channel",
    "STORE": "c.store",
    "CAMPAIGN": "c.campaign",
    "STAFF": "b.staff_code",
}
"""The column that scans are added up by."""

_CONTACTS: Final = "'oa_subscribed', 'oa_unsubscribed', 'qr_scanned', 'wecom_friend_added', 'wecom_friend_deleted'"
_TENANT: Final = "current_setting('scrm.tenant')"

_SCANS: Final = f"""
WITH scans AS MATERIALIZED (
  SELECT {{key}} AS key, b.code_key, b.occurred_at, b.event_type, coalesce(n.customer, b.node) AS customer
  FROM channel_codes c
  JOIN behaviours b ON (b.tenant, b.code_key) = (c.tenant, c.code_key) AND b.code_key <> ''
    AND b.occurred_at >= :start AND b.occurred_at < :end AND b.event_type IN ('qr_scanned', 'wecom_friend_added')
  LEFT JOIN customer_nodes n ON (n.tenant, n.node) = (b.tenant, b.node)
  WHERE c.tenant = {_TENANT} AND (:keys IS NULL OR c.code_key = ANY(:keys)) AND (:channel = '' OR c.channel = :channel)
    AND (:store = '' OR c.store = :store) AND (:campaign = '' OR c.campaign = :campaign)
), nodes AS MATERIALIZED (
  SELECT DISTINCT s.customer, coalesce(n.node, s.customer) AS node
  FROM scans s LEFT JOIN customer_nodes n ON n.tenant = {_TENANT} AND n.customer = s.customer
)
"""

_COUNTS: Final = _SCANS + "SELECT key, count(*), count(DISTINCT customer) FROM scans GROUP BY key"

# A customer's contacts with one account in order; an episode begins with a follow that is the first, or comes after the end
# of the one before. It belongs to the code that was scanned as it began.
_FOLLOWS: Final = (
    _SCANS
    + f""", contacts AS (
  SELECT o.customer, b.app, b.occurred_at, b.position, b.code_key, b.staff_code,
    b.event_type IN ('oa_unsubscribed', 'wecom_friend_deleted') AS leaves
  FROM nodes o JOIN behaviours b ON b.tenant = {_TENANT} AND b.node = o.node AND b.event_type IN ({_CONTACTS})
  WHERE b.event_type <> 'qr_scanned' OR b.properties::jsonb -> 'is_new_follow' = 'true'::jsonb
), marked AS (
  SELECT *, NOT leaves AND coalesce(lag(leaves) OVER w, true) AS begins FROM contacts
  WINDOW w AS (PARTITION BY customer, app ORDER BY occurred_at, leaves, position)
), numbered AS (
  SELECT *, count(*) FILTER (WHERE begins) OVER w AS episode,
    max(occurred_at) FILTER (WHERE begins) OVER w AS begun FROM marked
  WINDOW w AS (PARTITION BY customer, app ORDER BY occurred_at, leaves, position)
), episodes AS (
  SELECT customer, app, episode, begun, min(occurred_at) FILTER (WHERE leaves) AS ended,
    (array_agg(code_key ORDER BY occurred_at, position) FILTER (
      WHERE NOT leaves AND code_key <> '' AND occurred_at <= begun + interval '1 minute'))[1] AS code_key
  FROM numbered WHERE episode > 0 GROUP BY customer, app, episode, begun
)
SELECT s.key,
  count(DISTINCT (e.customer, e.app)) FILTER (WHERE e.episode = 1),
  count(DISTINCT (e.customer, e.app)) FILTER (WHERE e.episode > 1),
  count(DISTINCT (e.customer, e.app)) FILTER (WHERE e.episode = 1 AND e.ended <= e.begun + interval '24 hours'),
  count(DISTINCT (e.customer, e.app)) FILTER (WHERE e.episode = 1 AND e.ended <= e.begun + interval '7 days')
FROM episodes e JOIN scans s ON s.customer = e.customer AND s.code_key = e.code_key
  AND s.occurred_at >= e.begun AND s.occurred_at <= e.begun + interval '1 minute'
GROUP BY s.key
"""
)

# Those whose first touch of all is one of these scans, and what they did since.
_ACQUIRED: Final = (
    _SCANS
    + f""", first AS (
  SELECT DISTINCT ON (o.customer) o.customer, b.code_key, b.occurred_at
  FROM nodes o JOIN behaviours b ON b.tenant = {_TENANT} AND b.node = o.node AND b.code_key <> ''
  ORDER BY o.customer, b.occurred_at, b.received_at, b.message_id, b.source_key
), acquired AS MATERIALIZED (
  SELECT DISTINCT s.key, f.customer, f.occurred_at AS since
  FROM first f JOIN scans s ON (s.customer, s.code_key, s.occurred_at) = (f.customer, f.code_key, f.occurred_at)
), paid AS (
  SELECT a.key, a.customer, a.since, o.currency, o.net, o.paid_at
  FROM acquired a JOIN nodes n ON n.customer = a.customer
  JOIN orders o ON o.tenant = {_TENANT} AND o.node = n.node AND o.paid_at IS NOT NULL AND o.net > 0
), bought AS (
  SELECT key, customer FROM paid GROUP BY key, customer, since HAVING min(paid_at) >= since
)
SELECT a.key, count(*), count(*) FILTER (WHERE EXISTS (
    SELECT FROM nodes n JOIN behaviours b ON b.tenant = {_TENANT} AND b.node = n.node AND b.event_type = 'registered'
    WHERE n.customer = a.customer AND b.occurred_at >= a.since)),
  (SELECT count(*) FROM bought WHERE bought.key = a.key),
  (SELECT jsonb_object_agg(currency, net) FROM (
    SELECT currency, sum(net)::bigint AS net FROM paid WHERE paid.key = a.key AND paid_at >= since GROUP BY currency) m)
FROM acquired a GROUP BY a.key
"""
)

_UNKNOWN: Final = sa.text(
    "WITH RECURSIVE keys (code_key) AS ("  # from key to key by the index
    f" (SELECT code_key FROM behaviours WHERE tenant = {_TENANT} AND code_key <> '' ORDER BY code_key LIMIT 1)"
    " UNION ALL SELECT (SELECT b.code_key FROM behaviours b"
    f"  WHERE b.tenant = {_TENANT} AND b.code_key <> '' AND b.code_key > keys.code_key ORDER BY b.code_key LIMIT 1)"
    " FROM keys WHERE keys.code_key IS NOT NULL"
    ") SELECT sum((SELECT count(*) FROM behaviours b"
    f"  WHERE b.tenant = {_TENANT} AND b.code_key = keys.code_key AND b.code_key <> '' AND b.occurred_at >= :start"
    "  AND b.occurred_at < :end AND b.event_type IN ('qr_scanned', 'wecom_friend_added'))) FROM keys"
    " WHERE keys.code_key IS NOT NULL AND NOT EXISTS ("
    f"  SELECT FROM channel_codes c WHERE (c.tenant, c.code_key) = ({_TENANT}, keys.code_key))"
)

_TOUCH: Final = (
    "SELECT b.code_key, b.occurred_at, b.event_type, coalesce(c.channel, '') AS channel,"
    " coalesce(c.campaign, '') AS campaign, coalesce(c.store, '') AS store, b.staff_code AS staff"
    " FROM behaviours b LEFT JOIN channel_codes c ON (c.tenant, c.code_key) = (b.tenant, b.code_key)"
    f" WHERE b.tenant = {_TENANT} AND b.node = ANY(:nodes) AND b.code_key <> ''"
)


@dataclass(frozen=True, slots=True)
class CodesWanted:
    """Scans from `start` to before `end` of codes with these keys (None: any), channel, store and campaign ("": any)."""

    start: datetime
    end: datetime
    keys: Sequence[str] | None = None
    channel: str = ""
    store: str = ""
    campaign: str = ""


@dataclass(slots=True)
class CodeCounts:
    """What came of the codes of one `key`; `revenue` in minor units by currency."""

    key: str
    scans: int = 0
    unique: int = 0
    new_follows: int = 0
    re_follows: int = 0
    left_in_day: int = 0
    left_in_week: int = 0
    acquired: int = 0
    registered: int = 0
    first_orders: int = 0
    revenue: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class TouchFound:
    """How somebody came by a code; what the code is for is empty where nobody made it."""

    code_key: str
    at: datetime
    event_type: str
    channel: str
    campaign: str
    store: str
    staff: str


def code_stats(rows: sa.Connection, wanted: CodesWanted, by: str) -> list[CodeCounts]:
    """By one of DIMENSIONS, in the order of keys."""
    given = {name: getattr(wanted, name) for name in ("start", "end", "channel", "store", "campaign")}
    given["keys"] = None if wanted.keys is None else list(wanted.keys)

    def ask(query: str) -> Sequence[Any]:
        text = sa.text(query.format(key=DIMENSIONS[by])).bindparams(sa.bindparam("keys", type_=sa.ARRAY(sa.Text)))
        return rows.execute(text, given).all()

    found = {key: CodeCounts(key, scans, unique) for key, scans, unique in ask(_COUNTS)}
    for key, new, again, day, week in ask(_FOLLOWS):
        it = found[key]
        it.new_follows, it.re_follows, it.left_in_day, it.left_in_week = new, again, day, week
    for key, acquired, registered, first_orders, revenue in ask(_ACQUIRED):
        it = found[key]
        it.acquired, it.registered, it.first_orders, it.revenue = acquired, registered, first_orders, revenue
    return sorted(found.values(), key=lambda it: it.key)


def unknown_scans(rows: sa.Connection, start: datetime, end: datetime) -> int:
    """Scans of codes that nobody made."""
    return int(rows.scalar(_UNKNOWN, {"start": start, "end": end}) or 0)


def touches_of(rows: sa.Connection, nodes: Sequence[UUID]) -> tuple[TouchFound, TouchFound] | None:
    """The first touch of these nodes and the last one; None where there is none."""
    place = ("occurred_at", "received_at", "message_id", "source_key")
    orders = (", ".join(f"b.{it}" for it in place), ", ".join(f"b.{it} DESC" for it in place))
    found = [
        rows.execute(sa.text(f"{_TOUCH} ORDER BY {it} LIMIT 1"), {"nodes": list(nodes)}).one_or_none() for it in orders
    ]
    if found[0] is None or found[1] is None:
        return None
    return TouchFound(*found[0]), TouchFound(*found[1])
