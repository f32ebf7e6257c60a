"""What people allow and where they can be reached, and by which channel a captured message would have gone."""

from alembic import op

revision = "0004"
down_revision = "0003"

# The last word of each node for a purpose and a channel, "" for all; it counts in place of anything older of `beside`.
CONSENTS = """
CREATE TABLE consents (
    tenant text NOT NULL,
    node uuid NOT NULL,
    purpose text NOT NULL,
    channel text NOT NULL,
    state text NOT NULL,
    made_at timestamptz NOT NULL,
    beside uuid[] NOT NULL,
    PRIMARY KEY (tenant, node, purpose, channel)
)
"""

# What the platform of a channel said last of each node.
REACHABILITY = """
CREATE TABLE reachability (
    tenant text NOT NULL,
    node uuid NOT NULL,
    channel text NOT NULL,
    reachable bool NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (tenant, node, channel)
)
"""

STATEMENTS = (
    CONSENTS,
    # Whose names are to be taken out when they are erased.
    "CREATE INDEX consents_beside ON consents USING gin (beside)",
    REACHABILITY,
    "ALTER TABLE captured_messages ADD COLUMN channel text NOT NULL DEFAULT ''",
)
TABLES = "consents, reachability"


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(f"REVOKE ALL ON {TABLES} FROM scrm_reader")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLES} TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
