"""Erasures under way, and the right to remove rows of people who are to be forgotten."""

from alembic import op

revision = "0003"
down_revision = "0002"

# `accepted_head` is the last event accepted when the erasure began; `removed` counts rows by table.
ERASURES = """
CREATE TABLE erasures (
    tenant text NOT NULL,
    case_id uuid NOT NULL,
    nodes uuid[] NOT NULL,
    accepted_head bigint NOT NULL,
    removed jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, case_id)
)
"""

REMOVED_FROM = ("accepted", "behaviours", "quarantine", "conflicts")


def upgrade() -> None:
    op.execute(ERASURES)
    op.execute("REVOKE ALL ON erasures FROM scrm_reader")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON erasures TO scrm_writer")
    op.execute(f"GRANT DELETE ON {', '.join(REMOVED_FROM)} TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
