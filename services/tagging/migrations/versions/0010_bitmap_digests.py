"""A digest beside each chunk of a set: who holds a set in memory sees whether it is still the same without reading it."""

from alembic import op

revision = "0010"
down_revision = "0009"

STATEMENTS = ("ALTER TABLE bitmaps ADD COLUMN digest BYTEA NOT NULL GENERATED ALWAYS AS (sha256(members)) STORED",)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
