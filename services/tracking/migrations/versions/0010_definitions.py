"""Events put aside that were accepted after all; what a behaviour is about, and how behaviours are found by it."""

from alembic import op

revision = "0010"
down_revision = "0001"

# That a row of `quarantine` was accepted after all; never updated.
RELEASED = """
CREATE TABLE released (
    tenant text NOT NULL,
    number bigint NOT NULL,
    released_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, number)
)
"""

STATEMENTS = (
    RELEASED,
    "REVOKE ALL ON released FROM scrm_reader",
    "REVOKE UPDATE, DELETE, TRUNCATE ON released FROM scrm_writer",
    "GRANT SELECT, INSERT ON released TO scrm_writer",
    "CREATE INDEX quarantine_by_message ON quarantine (tenant, message_id)",
    "CREATE INDEX quarantine_by_reason ON quarantine (tenant, reason, number)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
