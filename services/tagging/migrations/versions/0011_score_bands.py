"""In which bands the scores of customers are, beside their layers."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("ALTER TABLE current_layers ADD COLUMN bands TEXT")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
