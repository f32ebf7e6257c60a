"""Hits on tracked links that wait for the beacon of their page, and the beacons that came."""

from alembic import op

revision = "0006"
down_revision = "0005"

# A row is there from the hit until it is recorded as a behaviour, which is half a minute: nothing of it is about a known person.
HITS = """
CREATE TABLE link_hits (
    tenant text NOT NULL,
    hit_id uuid NOT NULL,
    at timestamptz NOT NULL,
    short_code text NOT NULL,
    kind text NOT NULL,
    staff text NOT NULL,
    robot boolean NOT NULL,
    delivery_id text NOT NULL,
    share_id text NOT NULL,
    code_key text NOT NULL,
    group_id text NOT NULL,
    PRIMARY KEY (tenant, hit_id)
)
"""

# Beside the hits, for a beacon may be written before its hit is. `visitor` is the anonymous id that the page knows.
BEACONS = """
CREATE TABLE link_beacons (
    tenant text NOT NULL,
    hit_id uuid NOT NULL,
    at timestamptz NOT NULL,
    visitor text NOT NULL,
    PRIMARY KEY (tenant, hit_id)
)
"""

STATEMENTS = (
    HITS,
    BEACONS,
    "CREATE INDEX link_hits_at ON link_hits (at)",
    "CREATE INDEX link_beacons_at ON link_beacons (at)",
    "REVOKE ALL ON link_hits, link_beacons FROM scrm_reader",
    "GRANT SELECT, INSERT, DELETE ON link_hits, link_beacons TO scrm_writer",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
