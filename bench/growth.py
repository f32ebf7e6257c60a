"""What an event costs to take in while the messages that are known for ever grow from one million to ten."""

from typing import Final

import psycopg

from bench.alone import Alone, serving_alone
from bench.calls import TENANT
from bench.figures import Figure
from bench.ingest import BATCH, cost_of
from deploy.local.postgres import Database
from deploy.local.stack import LocalStack

MILLIONS: Final = (1, 2, 5, 10)
BATCHES: Final = 40

# By keys, so that the index is read and written from one end to the other and not at random; it is left as full as after random ones.
_FILL: Final = """
INSERT INTO message_keys SELECT gen_random_uuid(), %s, gen_random_uuid() FROM generate_series(1, 1000000) ORDER BY 1
"""


def measure(stack: LocalStack) -> list[Figure]:
    figures: list[Figure] = []
    known = 0
    with serving_alone(stack, "tracking") as alone:
        for millions in MILLIONS:
            while known < millions:
                _fill(alone.database)
                known += 1
            figures += _figures(stack, alone, millions)
    return figures


def _figures(stack: LocalStack, alone: Alone, millions: int) -> list[Figure]:
    _checkpoint(stack)  # a page is logged whole at its first change after it: that is dearest now
    before = _logged(alone.database)
    cost = cost_of(stack, [alone], BATCHES)
    logged = (_logged(alone.database) - before) / (BATCH * (BATCHES + 1))
    said = f"for one event where {millions} million are known"
    return [
        Figure(
            f"ingest_us_at_{millions}m", 1e6 / cost.events_per_s, "µs", f"time {said}, {BATCHES} batches of {BATCH}"
        ),
        Figure(f"ingest_postgres_us_at_{millions}m", cost.postgres_us, "µs", f"processor time of PostgreSQL {said}"),
        Figure(f"ingest_server_us_at_{millions}m", cost.server_us, "µs", f"processor time of our process {said}"),
        Figure(
            f"ingest_wal_bytes_at_{millions}m",
            logged,
            "bytes",
            f"written to the log of PostgreSQL {said}, after a checkpoint",
        ),
    ]


def _fill(database: Database) -> None:
    with psycopg.connect(database.owner_dsn, autocommit=True) as rows:
        rows.execute(_FILL.encode(), [TENANT])


def _checkpoint(stack: LocalStack) -> None:
    with psycopg.connect(stack.postgres.dsn("postgres", "postgres"), autocommit=True) as rows:
        rows.execute("CHECKPOINT")


def _logged(database: Database) -> float:
    """Bytes of the write-ahead log since its beginning."""
    with psycopg.connect(database.owner_dsn) as rows:
        [position] = rows.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone() or (0,)
    return float(position)
