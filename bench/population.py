"""A population of customers for tagging, written straight into its tables: what years of messages would have left there.

Ordinals and nodes are in step, nodes rise as real ids do. Of each customer there are FACTS facts: behaviours of TYPES types over two
years, an order placed and paid, a city and a gender. Who holds a tag is written as the set that audiences are made of. Everything is
a function of the ordinal, so that it is the same in every run.
"""

from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

import numpy as np
import psycopg
from pyroaring import BitMap

from services.tagging.read_models import bitmaps

FACTS: Final = 20
BEHAVIOURS: Final = 16
TYPES: Final = 20
TAGS: Final = 200
CITIES: Final = 50
_AT_ONCE: Final = 50_000

_NODE: Final = "lpad(to_hex(i + 1), 32, '0')::uuid"
_DRAW: Final = "(hashint8(i * 16 + {0}) & 2147483647)"

_NODES: Final = f"""
INSERT INTO nodes (tenant, node, customer, ordinal, known, assignment_key, erased, created_at, known_at)
SELECT %(tenant)s, {_NODE}, {_NODE}, i, i %% 2 = 0, i::text, false, %(now)s - interval '800 days',
    CASE WHEN i %% 2 = 0 THEN %(now)s - interval '800 days' + i %% 700 * interval '1 day' END
FROM generate_series(%(first)s::bigint, %(last)s::bigint) i
"""  # noqa: S608
_BEHAVIOURS: Final = f"""
INSERT INTO behaviours (tenant, node, occurred_at, key, type, category, channel, utc_offset, content, page_view, properties)
SELECT %(tenant)s, {_NODE}, %(now)s - {_DRAW.format("e")} %% 63072000 * interval '1 second', i * 16 + e,
    't_' || {_DRAW.format("e + 5")} %% {TYPES}, 'I', 'h5', NULL, 'H5-' || e, '', jsonb_build_object('n', {_DRAW.format("e")} %% 100)
FROM generate_series(%(first)s::bigint, %(last)s::bigint) i, generate_series(0, {BEHAVIOURS - 1}) e
"""  # noqa: S608
_PLACED: Final = f"""
INSERT INTO placed_orders (tenant, node, order_id, placed_at, lines)
SELECT %(tenant)s, {_NODE}, {_NODE}, %(now)s - {_DRAW.format("1")} %% 63072000 * interval '1 second',
    jsonb_build_array(jsonb_build_array('sku-' || i %% 1000, 'cat-' || i %% 40, '', 1, 9900, 9900))
FROM generate_series(%(first)s::bigint, %(last)s::bigint) i
"""  # noqa: S608
_PAID: Final = f"""
INSERT INTO purchases (tenant, node, order_id, revision, paid_at, currency, net)
SELECT %(tenant)s, {_NODE}, {_NODE}, 0, %(now)s - {_DRAW.format("1")} %% 63072000 * interval '1 second', 'USD',
    {_DRAW.format("2")} %% 100000
FROM generate_series(%(first)s::bigint, %(last)s::bigint) i
"""  # noqa: S608
_SAID: Final = f"""
INSERT INTO attribute_values (tenant, node, key, source, rank, value, cleared, observed_at)
SELECT %(tenant)s, {_NODE}, v.key, 1, 50, v.value, false, %(now)s - interval '700 days'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) i,
    LATERAL (VALUES ('city', 'city ' || {_DRAW.format("3")} %% {CITIES}),
    ('gender', CASE WHEN i %% 3 = 0 THEN 'F' ELSE 'M' END)) v(key, value)
"""  # noqa: S608
_TABLES: Final = ("nodes", "behaviours", "placed_orders", "purchases", "attribute_values")
_LATER: Final[LiteralString] = "behaviours_type"
"""An index that is made when the rows are there, because its order is not theirs."""


def node(ordinal: int) -> UUID:
    """The node, and the customer, with this ordinal."""
    return UUID(int=ordinal + 1)


def type_of(number: int) -> str:
    return f"t_{number % TYPES}"


def tag_key(number: int) -> str:
    return f"tag_{number}"


def holders(number: int, customers: int) -> BitMap:
    """Who has a tag: one in a thousand of the customers to nearly a third, without order among the ordinals."""
    chance = 0.001 * 300 ** (number / (TAGS - 1))
    drawn = np.random.default_rng(number).random(customers) < chance
    return BitMap(np.flatnonzero(drawn).astype(np.uint32))


def fill(rows: psycopg.Connection, tenant: str, customers: int, now: datetime) -> None:
    """Write the population of a tenant that has nobody yet; `rows` are a superuser's, whom no policy of rows stops."""
    [index] = rows.execute("SELECT pg_get_indexdef(%s::regclass)", [_LATER]).fetchone() or ("",)
    rows.execute(f"DROP INDEX {_LATER}".encode())
    for first in range(0, customers, _AT_ONCE):
        span = {"tenant": tenant, "now": now, "first": first, "last": min(first + _AT_ONCE, customers) - 1}
        for statement in (_NODES, _BEHAVIOURS, _PLACED, _PAID, _SAID):
            rows.execute(statement.encode(), span)
    rows.execute(index.encode())
    rows.execute("INSERT INTO intake (tenant, messages, as_of) VALUES (%s, 0, %s)", [tenant, now])
    _fill_sets(rows, tenant, customers)
    for table in (*_TABLES, "bitmaps"):
        rows.execute(f"VACUUM ANALYZE {table}".encode())


def _fill_sets(rows: psycopg.Connection, tenant: str, customers: int) -> None:
    everybody = BitMap(range(customers))
    known = BitMap(range(0, customers, 2))
    _write_set(rows, tenant, bitmaps.KNOWN, known)
    _write_set(rows, tenant, bitmaps.ANONYMOUS, everybody - known)
    for number in range(TAGS):
        _write_set(rows, tenant, bitmaps.of_tag(tag_key(number)), holders(number, customers))


def _write_set(rows: psycopg.Connection, tenant: str, name: str, members: BitMap) -> None:
    chunks = range((members.max() >> 16) + 1 if members else 0)
    parts = [(chunk, members & BitMap(range(chunk << 16, chunk + 1 << 16))) for chunk in chunks]
    with rows.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO bitmaps (tenant, name, chunk, members) VALUES (%s, %s, %s, %s)",
            [(tenant, name, chunk, bitmaps.pack(part)) for chunk, part in parts if part],
        )
