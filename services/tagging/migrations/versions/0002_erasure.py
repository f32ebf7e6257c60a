"""Nodes of people who were erased keep their ordinal and nothing else; what runs of models say of them may be removed."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE nodes ADD COLUMN erased BOOLEAN NOT NULL DEFAULT false")
    op.execute("CREATE INDEX nodes_erased ON nodes (tenant, node) WHERE erased")
    op.execute("CREATE INDEX merges_survivor ON merges (tenant, survivor)")
    op.execute("GRANT DELETE ON rfm_rows TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
